"""Crates that cannot be read: a clear error each, and nothing is written anywhere."""

import json
import os
import shutil
import struct
import zipfile
from pathlib import Path
from threading import Thread

import pytest

from crate_graphs import request_for, write_graph
from crate_records import artifact, chain, example_run, killed, write_results
from parfocal.errors import InputError
from parfocal.provenance import read_crate_files, read_crate_text
from parfocal.provenance.crate import write_crate
from parfocal.provenance.read_crate import read_crate
from parfocal.provenance.verify_places import Places
from verified_runs import METADATA, edit, edit_graph, pack, pack_in_folder

IMAGE = "images/a/image.ome.zarr"
ACTION = "#action/segment_objects/b/0002"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the crate of the example run."""
    folder = tmp_path_factory.mktemp("crate")
    write_graph(folder, example_run())
    return folder / "run-crate"


@pytest.fixture
def crate(made, tmp_path):
    """Return a copy of it."""
    return shutil.copytree(made, tmp_path / "work" / "run-crate")


def refused(path):
    """Read a crate; return the error, which is the user's, and see that nothing was written."""
    base = path.parent
    before = sorted(base.rglob("*"))
    with pytest.raises(InputError) as caught:
        read_crate(path)
    assert sorted(base.rglob("*")) == before
    assert caught.value.exit_code == 2
    return str(caught.value)


def edit_escaped(crate, identifier, properties):
    """Change properties to texts that only the escapes of JSON can hold; None takes one out."""
    document = json.loads((crate / METADATA).read_text(encoding="utf-8"))
    (entity,) = [one for one in document["@graph"] if one["@id"] == identifier]
    entity.update(properties)
    kept = {name: value for name, value in entity.items() if value is not None}
    document["@graph"] = [kept if one is entity else one for one in document["@graph"]]
    (crate / METADATA).write_text(json.dumps(document), encoding="utf-8")


def identifier_of(crate, path):
    document = json.loads((crate / METADATA).read_text(encoding="utf-8"))
    return next(e["@id"] for e in document["@graph"] if e.get("alternateName") == path)


def test_a_crate_says_what_its_records_said(crate):
    read = read_crate(crate)
    assert read.findings == []
    (action,) = [one for one in read.actions if one.identifier.endswith("segment_objects/b/0002")]
    assert (action.step, action.image_id, action.failed) == ("segment-objects", "b", False)
    assert {name for name, _ in map(read.values.get, action.facts)} == {
        "commit",
        "engine",
        "lock_digest",
    }
    settings = dict(read.values[name] for name in action.used if name in read.values)
    assert settings["threshold.window_um"] == "12.5"
    assert sum(one.failed for one in read.actions) == 3
    assert set(read.tools.values()) == {"0.1.0"}
    assert read.data["README.md"].in_crate


def test_what_lay_at_one_address_has_its_name_each_time(tmp_path):
    uri = "https://example.org/data/my image.tif"
    records = [one for name in "ab" for one in chain(name, f"/data/{name}.tif")]
    for number, state in ((1, "old"), (5, "new")):
        inputs = (*records[number].inputs, artifact("more", "file", uri, state))
        records[number] = records[number].model_copy(update={"inputs": inputs})
    write_graph(tmp_path, records)
    crate = read_crate(tmp_path / "run-crate")
    there = [one for one in crate.data.values() if one.identifier.startswith("https://")]
    assert len({one.digest for one in there}) == 2
    assert [one.name for one in there] == ["https://example.org/data/my%20image.tif"] * 2
    places = Places(tmp_path, {"https://example.org/data/my%20image.tif": "/copy.tif"})
    assert {places.of(one.name) for one in there} == {Path("/copy.tif")}


def test_a_zip_file_says_the_same(crate):
    in_folder, in_zip = read_crate(crate), read_crate(pack(crate))
    assert in_zip.data == in_folder.data
    assert in_zip.actions == in_folder.actions


def test_a_zip_file_of_the_folder_will_do(crate):
    packed = read_crate(pack_in_folder(crate))
    assert packed.data == read_crate(crate).data
    assert packed.files.names() == read_crate(crate).files.names()
    assert packed.files.digest("README.md") == read_crate(crate).files.digest("README.md")


def test_a_zip_file_of_several_crates_is_refused(crate):
    shutil.copytree(crate, crate.parent / "all" / "one")
    shutil.copytree(crate, crate.parent / "all" / "other")
    packed = Path(shutil.make_archive(str(crate.parent / "all"), "zip", crate.parent / "all"))
    assert "one ro-crate-metadata.json, at its root or in one folder; found 2" in refused(packed)


def test_the_layout_of_the_document_does_not_matter(crate, monkeypatch):
    before = read_crate(crate)
    edit(crate, lambda document: document.update({"a": [{"x": [1.5e3]}], "~": None}))
    monkeypatch.setattr(read_crate_text, "_CHUNK", 7)
    assert read_crate(crate).actions == before.actions
    path = crate / METADATA
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b" \n")
    assert read_crate(crate).actions == before.actions


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not JSON, or cut off"),
        (b"[1]", "not JSON, or cut off"),
        (b'{"@graph": [', "not JSON, or cut off"),
        (b'{"@graph": [{"@id": "./"}', "not JSON, or cut off"),
        (b'{"@graph": [{"@id": "a}', "not JSON, or cut off"),
        (b'{"@graph": []}', "no entities"),
        (b'{"@context": 1}', "no entities"),
        (b'{"@graph": {"@id": "./"}}', "not JSON, or cut off"),
        (b'{"@graph": [1]}', "has no @id"),
        (b'{"@graph": [{"@id": 5}]}', "has no @id"),
        (b'{"@graph": [{"@id": "\xff"}]}', "not UTF-8"),
        (b'{"@graph": [{"@id": "./"}]} x', "something follows"),
        (b'{"@graph": [' + b"[" * 200_000, "not JSON of a crate"),
        (b'{"@graph": [{"@id": "./", "x": ' + b"1" * 5000 + b"}]}", "not JSON of a crate"),
    ],
)
def test_a_document_that_is_no_metadata_is_refused(crate, content, told):
    (crate / METADATA).write_bytes(content)
    assert told in refused(crate)


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.999])
def test_a_document_that_is_cut_off_is_refused(crate, cut):
    content = (crate / METADATA).read_bytes()
    (crate / METADATA).write_bytes(content[: int(cut * len(content))])
    assert "cut off" in refused(crate)


def test_bounds_are_kept(crate, monkeypatch):
    packed = pack(crate)
    monkeypatch.setattr(read_crate_text, "_MOST_ENTITIES", 10)
    assert "too many entities" in refused(crate)
    monkeypatch.setattr(read_crate_text, "_MOST_ENTITIES", 10**9)
    monkeypatch.setattr(read_crate_text, "_LARGEST_ENTITY", 10)
    monkeypatch.setattr(read_crate_text, "_CHUNK", 100)
    assert "too large" in refused(crate)
    monkeypatch.setattr(read_crate_files, "_LARGEST_METADATA", 1000)
    for path in (crate, packed):
        assert "larger than that of any run" in refused(path)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as pack_:
        pack_.writestr(METADATA, b" " * 1000)
    content = path.read_bytes()
    where = content.index(b"PK\x01\x02") + 24  # the size in the directory of the zip file
    path.write_bytes(content[:where] + struct.pack("<I", 2**32 - 2) + content[where + 4 :])
    assert "larger than that of any run" in refused(path)


def test_something_described_twice_is_refused(crate):
    edit(crate, lambda document: document["@graph"].append(document["@graph"][-1]))
    assert "the same thing twice" in refused(crate)


@pytest.mark.parametrize("name", ["Galaxy", "Nextflow \x1b[31m"])
def test_a_crate_of_another_tool_is_told_by_its_name(tmp_path, name):
    graph = [
        {"@id": METADATA, "@type": "CreativeWork", "about": {"@id": "./"}},
        {"@id": "./", "@type": "Dataset", "hasPart": {"@id": "out.txt"}},
        {"@id": "out.txt", "@type": "File"},
        {"@id": "#1", "@type": "CreateAction", "instrument": {"@id": "#tool"}},
        {"@id": "#tool", "@type": ["SoftwareApplication"], "name": name},
    ]
    (tmp_path / METADATA).write_text(json.dumps({"@context": "x", "@graph": graph}))
    told = refused(tmp_path)
    assert "not made by 'parfocal record-run'" in told
    assert f"a crate of {name.partition(' ')[0]}" in told
    assert told.isprintable()


def test_what_is_no_crate_is_refused(tmp_path):
    (tmp_path / "file").write_text("text")
    assert "no RO-Crate" in refused(tmp_path)
    assert "no zip file" in refused(tmp_path / "file")
    assert "There is no crate" in refused(tmp_path / "nothing")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as pack_:
        pack_.writestr("other", "x")
        pack_.writestr("a/b/" + METADATA, "{}")
    assert "no RO-Crate" in refused(tmp_path / "x.zip")


@pytest.mark.parametrize("keep", [0.2, 0.6, 0.99])
def test_a_truncated_zip_file_is_refused(crate, keep):
    packed = pack(crate)
    packed.write_bytes(packed.read_bytes()[: int(keep * packed.stat().st_size)])
    assert "damaged" in refused(packed)


def test_a_zip_file_with_flipped_bits_is_refused(crate):
    packed = pack(crate)
    content = bytearray(packed.read_bytes())
    start = content.index(METADATA.encode())
    content[start + 2000] ^= 255
    packed.write_bytes(content)
    refused(packed)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil"])
def test_a_zip_file_that_reaches_out_is_refused(crate, name):
    packed = pack(crate)
    with zipfile.ZipFile(packed, "a") as pack_:
        pack_.writestr(name, "x")
    assert "unpacked safely" in refused(packed)


def test_a_link_in_a_zip_file_is_refused(crate):
    packed = pack(crate)
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(packed, "a") as pack_:
        pack_.writestr(info, "/etc/passwd")
    assert "no links" in refused(packed)


def test_links_out_of_a_folder_are_refused(crate, tmp_path):
    (tmp_path / "outside").write_text("x")
    (crate / "README.md").unlink()
    (crate / "README.md").symlink_to(tmp_path / "outside")
    read = read_crate(crate)
    with pytest.raises(InputError, match="link out of it"):
        read.files.digest("README.md")
    shutil.move(crate / METADATA, tmp_path / METADATA)
    (crate / METADATA).symlink_to(tmp_path / METADATA)
    assert "link out of it" in refused(crate)
    (crate / METADATA).unlink()
    (crate / METADATA).symlink_to(METADATA)
    assert "no RO-Crate" in refused(crate)


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_ordinary_file_is_not_opened(crate, kind):
    file = crate / "config" / "config.yaml"
    file.unlink()
    os.mkfifo(file) if kind == "pipe" else file.mkdir()
    files, caught = read_crate(crate).files, []

    def content():
        try:
            files.content("config/config.yaml", 100)
        except InputError as error:
            caught.append(str(error))

    reader = Thread(target=content, daemon=True)
    reader.start()
    reader.join(10)
    if reader.is_alive():  # it waits for the pipe
        file.write_bytes(b"x")
    assert "no ordinary file" in "".join(caught)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "./README2.md", "a//b", "%2e%2e/x"])
def test_files_of_the_crate_lie_in_it(crate, name):
    sha256 = "0" * 64
    entity = {"@id": name, "@type": "File", "sha256": sha256}
    edit(crate, lambda document: document["@graph"].append(entity))
    assert "expected a path" in refused(crate)


@pytest.mark.parametrize(
    ("properties", "told"),
    [
        ({"identifier": "sha256:short"}, "expected a digest"),
        ({"identifier": 7}, "expected a digest"),
        ({"identifier": None}, "expected a digest"),
        ({"contentSize": "many"}, "a number of bytes"),
        ({"contentSize": "9" * 30}, "a number of bytes"),
    ],
)
def test_data_without_digest_or_size_are_refused(crate, properties, told):
    edit_graph(crate, identifier_of(crate, IMAGE), **properties)
    assert told in refused(crate)


@pytest.mark.parametrize("name", ["/data/a\0.tif", "images/a/\ud800.ome.zarr", "\udcff"])
@pytest.mark.parametrize("where", ["alternateName", "contentUrl"])
def test_names_that_no_file_can_have_are_refused(crate, name, where):
    properties = {"alternateName": None, where: name}
    edit_escaped(crate, identifier_of(crate, IMAGE), properties)
    assert "a name that a file can have" in refused(crate)


@pytest.mark.parametrize("moment", ["yesterday", "2026-11-20T10:00:00"])
def test_times_without_zone_are_refused(crate, moment):
    edit_graph(crate, "#action/segment_objects/b/0002", endTime=moment)
    assert "expected a time" in refused(crate)


@pytest.mark.parametrize(
    "image_id", ["%2Ftmp%2Fb", "..%2F..%2Fb", "..", ".", "", "b%00", "b%0A", "-b", "b" * 129]
)
def test_images_whose_names_lead_elsewhere_are_refused(crate, image_id):
    edit_graph(crate, ACTION, **{"@id": f"#action/segment_objects/{image_id}/0002"})
    assert "expected the image_id of a sample sheet" in refused(crate)


def test_what_does_not_hold_together_is_found(crate):
    action = "#action/segment_objects/b/0002"
    edit_graph(crate, action, object={"@id": "#gone"}, result=None, instrument={"@id": "#tool"})
    edit_graph(crate, METADATA, conformsTo=None, about=None)
    edit_graph(crate, "./", conformsTo=None, hasPart=[{"@id": "lost.txt"}])
    assert read_crate(crate).findings == [
        f"{METADATA} does not say that it is an RO-Crate",
        f"{METADATA} is not about ./",
        "./ does not say that it is a Process Run Crate",
        "./ refers to lost.txt, which is not described",
        f"{action} refers to #tool, which is not described",
        f"{action} refers to #gone, which is not described",
        f"{action} has no result",
        f"{action} does not say which version of its step was used",
    ]


def test_of_many_findings_the_number_is_told(crate):
    lost = [{"@id": f"lost{number}.txt"} for number in range(23)]
    edit_graph(crate, "./", hasPart=lost)
    findings = read_crate(crate).findings
    assert (len(findings), findings[-1]) == (21, "and 3 more")


def test_an_attempt_that_never_ended_has_no_end(tmp_path):
    sheet = write_results(tmp_path, [killed("convert-image", "a")])
    write_crate(tmp_path / "run-crate", request_for(tmp_path, sheet, "sheet"))
    (action,) = read_crate(tmp_path / "run-crate").actions
    assert action.ended is None
    assert action.failed
