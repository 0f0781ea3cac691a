"""The command verify-run: what it finds in the crate itself, its attempts and certificates."""

import json
import shutil
import zipfile
from urllib.parse import unquote

import pytest

from parfocal.core.digest import digest_path
from parfocal.errors import ConfigurationError
from rocrate_cache import seed_cache
from verified_runs import edit, edit_graph, flip, make_crate, make_run, pack, pack_in_folder
from verifying import IMAGE, check, statuses


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with a run: its sources, its results, and its crate in them."""
    folder = tmp_path_factory.mktemp("run")
    make_run(folder)
    return folder


@pytest.fixture
def run(made, tmp_path):
    """Return the results folder of a copy of the run, without the lists that the engine keeps."""
    shutil.copytree(made / "results", tmp_path / "results")
    shutil.rmtree(tmp_path / "results" / "digests")
    return tmp_path / "results"


def test_a_folder_with_the_name_of_a_certificate_is_none(run):
    folder = run / "images/a/x.json"
    folder.mkdir()
    (folder / "file").write_text("x")
    record = run / "records/convert_image/a/0001.json"
    told = json.loads(record.read_text())
    told["inputs"].append(
        told["outputs"][1]
        | {"uri": "images/a/x.json", "digest": digest_path(folder), "size_bytes": 1}
    )
    record.write_text(json.dumps(told))
    code, entries, _ = check(make_crate(run))
    assert (code, entries["images/a/x.json"]["status"]) == (0, "unchanged")


def test_a_certificate_that_is_only_an_input_is_checked_for_itself(run):
    record = run / "records/convert_image/a/0001.json"
    told = json.loads(record.read_text())
    certificate = told["outputs"].pop()
    record.write_text(json.dumps(told))
    segment = run / "records/segment_objects/a/0001.json"
    other = json.loads(segment.read_text())
    other["inputs"] = [certificate]
    segment.write_text(json.dumps(other))
    code, entries, report = check(make_crate(run))
    assert (code, entries[certificate["uri"]]["role"]) == (0, "input")
    assert [one["faults"] for one in report["certificates"]] == [[]]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("a%00b", "unreadable"),
        ("x" * 300, "unreadable"),
        ("\ud800", "unreadable"),
        ("a/\udcff", "missing"),  # so Python names a file whose name is not UTF-8
    ],
)
def test_a_copy_that_no_file_can_be_is_told(run, name, status):
    entity = {"@id": name, "@type": "File", "sha256": "0" * 64}
    path = run / "run-crate" / "ro-crate-metadata.json"
    document = json.loads(path.read_text())
    document["@graph"].append(entity)
    path.write_text(json.dumps(document))
    code, entries, report = check(run / "run-crate")
    assert code == 4
    assert report["counts"] == {"unchanged": 13, status: 1}
    ((found, entry),) = [(n, e) for n, e in entries.items() if e["status"] == status]
    assert found == unquote(name).encode("utf-8", "backslashreplace").decode()
    assert entry["role"] == "copy"
    assert entry["reasons"]


def test_a_copy_that_is_damaged_or_a_link_is_unreadable(run, tmp_path):
    packed = pack(run / "run-crate")
    with zipfile.ZipFile(packed) as pack_:
        info = pack_.getinfo("README.md")
    content = bytearray(packed.read_bytes())
    content[info.header_offset + 30 + len("README.md") + 40] ^= 255
    packed.write_bytes(content)
    (run / "run-crate" / "README.md").unlink()
    (run / "run-crate" / "README.md").symlink_to(tmp_path / "outside")
    for crate in (packed, run / "run-crate"):
        code, entries, report = check(crate)
        assert (code, entries["README.md"]["status"]) == (4, "unreadable")
        assert report["counts"] == {"unchanged": 12, "unreadable": 1}


@pytest.mark.parametrize(
    ("prefix", "told"),
    [
        ("#parameter/", "refers to #parameter/"),
        ("#value/fact/host/", "refers to #value/fact/host/"),
    ],
)
def test_what_is_referred_to_and_was_removed_is_told(run, prefix, told):
    def remove(document):
        graph = document["@graph"]
        graph[:] = [one for one in graph if not one["@id"].startswith(prefix)]

    edit(run / "run-crate", remove)
    code, _, report = check(run / "run-crate")
    assert code == 4
    assert told in report["findings"][0]


def test_a_result_that_is_made_something_else_is_told(run):
    def retype(document):
        (one,) = [one for one in document["@graph"] if one.get("alternateName") == IMAGE]
        one["@type"] = "MediaObject"

    edit(run / "run-crate", retype)
    code, _, report = check(run / "run-crate")
    assert code == 4
    assert any("and no file or folder" in finding for finding in report["findings"])


def test_a_workflow_that_is_not_named_is_told(run):
    profile = {"@id": "https://w3id.org/ro/wfrun/workflow/0.5"}
    process = {"@id": "https://w3id.org/ro/wfrun/process/0.5"}
    edit_graph(run / "run-crate", "./", conformsTo=[process, profile])
    code, _, report = check(run / "run-crate")
    assert code == 4
    assert any("mainEntity" in finding for finding in report["findings"])


def test_a_run_of_which_nothing_is_here_is_not_called_verified(run, capsys):
    def rename(document):
        for one in document["@graph"]:
            if "alternateName" in one:
                one["contentUrl"] = f"s3://bucket/{one.pop('alternateName')}"

    assert check(run / "run-crate")[2]["verified"]
    assert "warning" not in capsys.readouterr().out
    edit(run / "run-crate", rename)
    code, _, report = check(run / "run-crate")
    assert (code, report["verified"]) == (0, False)
    assert "nothing that the run made was verified" in capsys.readouterr().out
    maps = ["--map", f"s3://bucket/records={run / 'records'}"]
    code, entries, report = check(run / "run-crate", *maps)
    assert {e["status"] for e in entries.values() if e["role"] == "record"} == {"unchanged"}
    assert (code, report["verified"]) == (0, False)


def test_what_a_later_attempt_replaced_is_no_difference(run, tmp_path):
    old = run / "records" / "convert_image" / "a"
    record = json.loads((old / "0001.json").read_text())
    (old / "0002.json").write_text(json.dumps(record | {"attempt": 2}))
    for artifact in record["outputs"]:
        artifact["digest"] = artifact["digest"].partition(":")[0] + ":" + "0" * 64
    record |= {"started": "2020-01-01T00:00:00Z", "ended": "2020-01-01T00:00:01Z"}
    (old / "0001.json").write_text(json.dumps(record))
    (segment,) = (run / "records" / "segment_objects" / "a").iterdir()
    first = json.loads(segment.read_text())
    first |= {"attempt": 2, "status": "failed", "outputs": []}
    first |= {"started": "2020-01-01T00:00:02Z", "ended": "2020-01-01T00:00:03Z"}
    first["inputs"][0]["digest"] = "zarr-merkle-sha256:" + "0" * 64
    segment.with_name("0002.json").write_text(json.dumps(first))
    code, _, report = check(make_crate(run))
    states = sorted(e["status"] for e in report["entries"] if e["name"] == IMAGE)
    assert (code, states) == (0, ["replaced", "unchanged"])


def used_once_more(run, **changes):
    """Add an attempt to segment that took in the image as it lies there now."""
    (segment,) = (run / "records" / "segment_objects" / "a").glob("0001.json")
    record = json.loads(segment.read_text()) | {"attempt": 2} | changes
    record |= {"started": "2090-01-01T00:00:00Z", "ended": "2090-01-01T00:00:01Z"}
    record["inputs"][0]["digest"] = digest_path(run / IMAGE)
    segment.with_name("0002.json").write_text(json.dumps(record))


def images_found(report):
    """Return status and reasons of what the crate names at the path of the image."""
    return {
        entry["expected"]: (entry["status"], " ".join(entry["reasons"]))
        for entry in report["entries"]
        if entry["name"] == IMAGE
    }


@pytest.mark.parametrize("changes", [{}, {"status": "failed", "outputs": []}])
def test_damage_that_an_attempt_took_in_is_still_damage(run, changes):
    whole = digest_path(run / IMAGE)
    flip(run / IMAGE / "0/c/1/0/1")
    used_once_more(run, **changes)
    code, _, report = check(make_crate(run))
    found = images_found(report)
    assert (code, found.pop(whole)[0]) == (4, "changed")
    ((status, reasons),) = found.values()
    assert status == "unchanged"
    assert "none made it" in reasons


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({}, (4, "changed")), ({"status": "failed", "outputs": []}, (0, "replaced"))],
)
def test_what_was_restored_after_an_attempt_took_in_damage_is_unchanged(run, changes, expected):
    whole = digest_path(run / IMAGE)
    flip(run / IMAGE / "0/c/1/0/1")
    used_once_more(run, **changes)
    crate = make_crate(run)
    flip(run / IMAGE / "0/c/1/0/1")
    code, _, report = check(crate)
    found = images_found(report)
    assert found.pop(whole) == ("unchanged", "")
    ((status, reasons),) = found.values()
    assert (code, status) == expected
    assert "none made it" in reasons


def test_a_source_that_was_edited_before_an_attempt_that_failed_is_changed(run):
    whole = digest_path(run / IMAGE)
    shutil.rmtree(run / "records" / "convert_image")
    flip(run / IMAGE / "0/c/1/0/1")
    used_once_more(run, status="failed", outputs=[])
    code, _, report = check(make_crate(run))
    found = images_found(report)
    assert (code, found.pop(whole)[0]) == (4, "changed")
    assert list(found.values()) == [("unchanged", "")]


def test_a_certificate_of_something_else_is_told(run):
    (identifier,) = [
        entity["@id"]
        for entity in json.loads((run / "run-crate/ro-crate-metadata.json").read_text())["@graph"]
        if entity.get("alternateName") == IMAGE
    ]
    other = "zarr-merkle-sha256:" + "0" * 64
    edit_graph(run / "run-crate", identifier, identifier=other)
    code, entries, report = check(run / "run-crate")
    assert (code, entries[IMAGE]["status"]) == (4, "changed")
    (certificate,) = report["certificates"]
    assert "which its attempt did not make" in certificate["faults"][0]


def test_a_certificate_that_contradicts_itself_is_told(run):
    path = run / "images/a/image.certificate.json"
    content = json.loads(path.read_text())
    content["planes"][1]["digest"] = content["planes"][0]["digest"]
    content["source"]["independent"] = False
    path.write_text(json.dumps(content, indent=1))
    record = run / "records/convert_image/a/0001.json"
    told = json.loads(record.read_text())

    told["outputs"][1] |= {"digest": digest_path(path), "size_bytes": path.stat().st_size}
    record.write_text(json.dumps(told))
    code, entries, report = check(make_crate(run))
    assert (code, set(statuses(entries).values())) == (4, {"unchanged"})
    assert report["certificates"][0]["faults"] == [
        "The digest of image 0 is not that of its planes",
        "Image 0 is called verified, and no independent library read it",
    ]


def test_the_record_of_a_killed_job_is_missed(run):
    folder = run / "records" / "segment_objects" / "b"
    shutil.copytree(run / "records" / "segment_objects" / "a", folder)
    record = json.loads((folder / "0001.json").read_text())
    record |= {"image_id": "b", "status": "started", "ended": None, "outputs": []}
    (folder / "0001.json").write_text(json.dumps(record))
    crate = make_crate(run, "ab")
    name = "records/segment_objects/b/0001.json"
    code, entries, _ = check(crate)
    assert (code, entries[name]["role"], entries[name]["status"]) == (0, "record", "unchanged")
    (folder / "0001.json").unlink()
    code, entries, _ = check(crate)
    assert (code, entries[name]["status"]) == (4, "missing")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return seed_cache(tmp_path_factory.mktemp("cache") / "contexts")


def test_the_validator_is_asked_without_a_network(run, cache):
    crate = run / "run-crate"
    assert check(crate, f"--validator-cache={cache}")[0] == 0
    assert check(pack(crate), f"--validator-cache={cache}.sqlite")[0] == 0
    assert check(pack_in_folder(crate), f"--validator-cache={cache}")[0] == 0
    edit_graph(crate, "./", license=None)
    code, entries, report = check(crate, f"--validator-cache={cache}")
    assert (code, set(statuses(entries).values())) == (4, {"unchanged"})
    assert [finding for finding in report["findings"] if "license" in finding.lower()]


def test_a_validator_without_its_cache_is_told(run, tmp_path):
    with pytest.raises(ConfigurationError, match="lacks a context in its cache"):
        check(run / "run-crate", f"--validator-cache={tmp_path / 'empty'}")


def test_a_certificate_that_cannot_be_read_is_told(run):
    path = run / "images/a/image.certificate.json"
    path.write_text('{"format": "parfocal-certificate-1"}')
    record = run / "records/convert_image/a/0001.json"
    told = json.loads(record.read_text())
    told["outputs"][1] |= {"digest": digest_path(path), "size_bytes": path.stat().st_size}
    record.write_text(json.dumps(told))
    code, _, report = check(make_crate(run))
    (certificate,) = report["certificates"]
    assert (code, certificate["verdict"]) == (4, "unreadable")
    assert len(certificate["faults"][0]) < 300
