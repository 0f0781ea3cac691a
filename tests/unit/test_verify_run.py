"""The command verify-run: what became of the data of a run."""

import json
import os
import shutil

import numcodecs
import numpy as np
import pytest
import zarr

from parfocal.cli.verify_run import verify_run
from parfocal.core.digest import digest_path
from parfocal.engine.changed_zarr import signs_of_change
from parfocal.errors import ConfigurationError, InputError, VerificationError
from verified_runs import edit_graph, flip, make_crate, make_run, pack
from verifying import IMAGE, LABELS, check, statuses


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with a run: its sources, its results, and its crate in them."""
    folder = tmp_path_factory.mktemp("run")
    make_run(folder)
    return folder


@pytest.fixture
def run_with_lists(made, tmp_path):
    """Return the results folder of a copy of the run; its sources stay where they were."""
    return shutil.copytree(made / "results", tmp_path / "results")


@pytest.fixture
def run(run_with_lists):
    """Return such a copy without the lists of digests that the engine keeps."""
    shutil.rmtree(run_with_lists / "digests")
    return run_with_lists


def test_an_unchanged_run_is_verified(run, made, capsys):
    code, entries, report = check(run / "run-crate")
    assert code == 0
    assert report["verified"]
    assert report["findings"] == []
    assert set(statuses(entries).values()) == {"unchanged"}
    roles = {name: entry["role"] for name, entry in entries.items()}
    assert roles == {
        "README.md": "copy",
        "sheet/sheet.tsv": "copy",
        "originals/a": "output",
        IMAGE: "output",
        "images/a/image.certificate.json": "output",
        LABELS: "output",
        "images/a/tables/nuclei.parquet": "output",
        "images/a/tables/nuclei.tsv": "output",
        str(made / "data" / "a.tif"): "input",
        "records/fetch_image/a/0001.json": "record",
        "records/convert_image/a/0001.json": "record",
        "records/segment_objects/a/0001.json": "record",
        "records/measure_objects/a/0001.json": "record",
    }
    (certificate,) = report["certificates"]
    assert certificate == {
        "name": "images/a/image.certificate.json",
        "verdict": "verified",
        "faults": [],
    }
    lines = capsys.readouterr().out.splitlines()
    assert f"unchanged  output  {IMAGE}" in lines
    assert "verified   certificate images/a/image.certificate.json" in lines
    assert lines[-1] == "13 unchanged"


def test_one_fault_is_told_in_the_singular(run):
    flip(run / "run-crate" / "README.md")
    with pytest.raises(VerificationError, match="1 thing is not what the crate says"):
        verify_run([str(run / "run-crate")])


def test_a_zip_file_is_verified_as_it_is(run):
    packed = pack(run / "run-crate")
    shutil.rmtree(run / "run-crate")
    before = sorted(run.rglob("*"))
    assert check(packed)[0] == 0
    assert sorted(run.rglob("*")) == before


@pytest.mark.parametrize(("name", "chunk"), [(IMAGE, "0/c/1/0/1"), (LABELS, "0/c/0/0/0")])
def test_one_flipped_bit_in_one_chunk_is_named_by_the_list(run, tmp_path, name, chunk):
    lists = tmp_path / "lists"
    assert check(run / "run-crate", "--digest-lists", lists)[0] == 0
    kept = {path.name: path.read_bytes() for path in lists.iterdir()}
    assert len(kept) == 2
    flip(run / name / chunk)
    code, entries, _ = check(run / "run-crate", "--digest-lists", lists)
    assert code == 4
    assert {n for n, s in statuses(entries).items() if s != "unchanged"} == {name}
    assert entries[name]["reasons"] == [f"{chunk} is changed"]
    assert entries[name]["expected"] != entries[name]["found"]
    assert {path.name: path.read_bytes() for path in lists.iterdir()} == kept


@pytest.mark.parametrize(("name", "chunk"), [(IMAGE, "0/c/1/0/1"), (LABELS, "0/c/0/0/0")])
def test_one_flipped_bit_in_one_chunk_is_named_by_what_the_engine_kept(run_with_lists, name, chunk):
    run = run_with_lists
    before = sorted(run.rglob("*"))
    flip(run / name / chunk)
    code, entries, _ = check(run / "run-crate")
    assert code == 4
    assert {n for n, s in statuses(entries).items() if s != "unchanged"} == {name}
    assert entries[name]["reasons"][0] == f"{chunk} is changed"
    assert sorted(run.rglob("*")) == before


def test_lists_are_kept_of_what_the_steps_made_alone(made):
    names = {path.name for path in (made / "results" / "digests").iterdir()}
    digests = {digest_path(made / "results" / name) for name in (IMAGE, LABELS)}
    assert names == {f"{digest.replace(':', '-')}.txt" for digest in digests}


def test_files_that_are_missing_or_new_are_named_by_the_list(run, tmp_path):
    lists = tmp_path / "lists"
    check(run / "run-crate", "--digest-lists", lists)
    shutil.move(run / IMAGE / "0/c/1/0/1", run / IMAGE / "0/c/1/0/9")
    reasons = check(run / "run-crate", "--digest-lists", lists)[1][IMAGE]["reasons"]
    assert reasons == ["0/c/1/0/1 is missing", "0/c/1/0/9 is new"]


def test_a_list_that_was_changed_is_not_believed(run, tmp_path):
    lists = tmp_path / "lists"
    check(run / "run-crate", "--digest-lists", lists)
    for path in lists.iterdir():
        flip(path)
    flip(run / LABELS / "zarr.json", 0.9)
    reasons = check(run / "run-crate", "--digest-lists", lists)[1][LABELS]["reasons"]
    assert not [reason for reason in reasons if reason.endswith("is changed")]


def test_without_a_list_the_certificate_names_the_plane(run):
    flip(run / IMAGE / "0/c/1/0/1")
    code, entries, _ = check(run / "run-crate")
    assert code == 4
    told = " ".join(entries[IMAGE]["reasons"])
    assert "0/c/1/0/1 cannot be read" in told or "t=0 c=0 z=1" in told
    assert "0/c/0" not in told
    assert "z=0" not in told


def test_a_chunk_that_was_written_later_is_named(run):
    chunk = run / LABELS / "0/c/0/0/0"
    os.utime(chunk, (4e9, 4e9))
    chunk.write_bytes(chunk.read_bytes() + b"x")
    os.utime(chunk, (4e9, 4e9))
    reasons = check(run / "run-crate")[1][LABELS]["reasons"]
    assert "0/c/0/0/0 was written later, at 2096-10-02 07:06:40 UTC" in reasons
    assert not [reason for reason in reasons if reason.startswith("0/zarr.json")]


def test_a_document_that_cannot_be_read_is_named(run):
    (run / LABELS / "0" / "zarr.json").write_text("{")
    reasons = check(run / "run-crate")[1][LABELS]["reasons"]
    assert [reason for reason in reasons if reason.startswith("0/zarr.json cannot be read")]


@pytest.mark.parametrize("codec", [numcodecs.GZip(), numcodecs.LZMA()])
def test_a_chunk_that_does_not_decompress_is_named(tmp_path, codec):
    group = zarr.create_group(tmp_path / "x.ome.zarr", zarr_format=2)
    array = group.create_array("0", shape=(64, 64), chunks=(64, 64), dtype="u2", compressors=codec)
    array[...] = np.random.default_rng(1).integers(0, 99, (64, 64))
    chunk = tmp_path / "x.ome.zarr" / "0/0.0"
    content = bytearray(chunk.read_bytes())
    for at in range(20, 40):
        content[at] ^= 255
    chunk.write_bytes(content)
    (sign,) = signs_of_change(tmp_path / "x.ome.zarr", None)
    assert sign.startswith("0/0.0 cannot be read: ")
    chunk.write_bytes(content[:12])
    (sign,) = signs_of_change(tmp_path / "x.ome.zarr", None)
    assert sign.startswith("0/0.0 cannot be read: ")


def test_of_many_damaged_chunks_the_first_are_named(tmp_path):
    array = zarr.create_array(tmp_path / "0", shape=(25,), chunks=(1,), dtype="u1", fill_value=9)
    array[...] = 1
    for number in range(25):
        (tmp_path / "0" / "c" / str(number)).write_bytes(b"x")
    signs = signs_of_change(tmp_path / "0", None)
    assert (len(signs), signs[-1]) == (21, "and more that cannot be read")


def test_an_image_without_its_root_document_is_told(run, tmp_path):
    lists = tmp_path / "lists"
    check(run / "run-crate", "--digest-lists", lists)
    (run / IMAGE / "zarr.json").unlink()
    (run / IMAGE / "notes.txt").write_text("x")
    code, entries, _ = check(run / "run-crate", "--digest-lists", lists)
    assert (code, entries[IMAGE]["status"]) == (4, "changed")
    reasons = entries[IMAGE]["reasons"]
    assert "It is no Zarr any more" in reasons[0]
    assert reasons[1:] == ["zarr.json is missing"]


def test_what_is_missing_or_of_another_size_is_told(run):
    shutil.rmtree(run / LABELS)
    table = run / "images/a/tables/nuclei.tsv"
    size = table.stat().st_size
    table.write_bytes(table.read_bytes() + b"\n")
    (run / "run-crate" / "README.md").write_text("other")
    code, entries, report = check(run / "run-crate")
    assert code == 4
    assert entries[LABELS]["status"] == "missing"
    (remedy,) = entries[LABELS]["reasons"]
    assert "--map OLD=NEW" in remedy
    assert "--results" in remedy
    assert entries["images/a/tables/nuclei.tsv"]["reasons"] == [
        f"{size} bytes expected, {size + 1} found"
    ]
    assert entries["README.md"]["status"] == "changed"
    assert report["counts"] == {"changed": 2, "missing": 1, "unchanged": 10}


def test_a_file_of_the_originals_is_named(run, made, tmp_path):
    data = shutil.copytree(made / "data", tmp_path / "data")
    flip(data / "a.tif")
    options = ["--map", f"{made / 'data'}={data}"]
    code, entries, _ = check(run / "run-crate", *options)
    assert code == 4
    source = str(made / "data" / "a.tif")
    assert {n for n, s in statuses(entries).items() if s != "unchanged"} == {source, "originals/a"}
    assert entries["originals/a"]["reasons"] == [f"{source} is changed"]


@pytest.mark.parametrize("carried", [True, False])
def test_originals_whose_files_are_gone_are_carried_or_missing(run, made, tmp_path, carried):
    crate = make_crate(run, include_inputs=carried)
    source, nowhere = str(made / "data" / "a.tif"), tmp_path / "nowhere"
    code, entries, _ = check(crate, "--map", f"{made / 'data'}={nowhere}")
    state = "carried" if carried else "missing"
    assert code == (0 if carried else 4)
    assert statuses(entries)["originals/a"] == statuses(entries)[source] == state
    reasons = entries["originals/a"]["reasons"]
    assert reasons[0] == f"{source} is {state}"
    assert ["--map OLD=NEW" in reason for reason in reasons[1:]] == ([] if carried else [True])


def test_what_moved_is_found_by_map(run, tmp_path):
    crate = shutil.move(run / "run-crate", tmp_path / "elsewhere" / "run-crate")
    shutil.move(run / "images", tmp_path / "moved")
    code, entries, _ = check(crate)
    assert code == 4
    assert statuses(entries)[IMAGE] == "missing"
    code, entries, _ = check(crate, "--results", run, "--map", f"images={tmp_path / 'moved'}")
    assert (code, set(statuses(entries).values())) == (0, {"unchanged"})


@pytest.mark.parametrize(
    ("maps", "told"),
    [(["x"], "not valid"), (["=x"], "not valid"), (["a=b", "a=c"], "given twice")],
)
def test_wrong_maps_are_refused(run, maps, told):
    with pytest.raises(ConfigurationError, match=told):
        check(run / "run-crate", *(f"--map={text}" for text in maps))


def test_what_is_remote_is_not_fetched_and_a_copy_will_do(run, made):
    source = str(made / "data" / "a.tif")
    (identifier,) = [
        entity["@id"]
        for entity in json.loads((run / "run-crate/ro-crate-metadata.json").read_text())["@graph"]
        if entity.get("alternateName") == source
    ]
    there = "s3://bucket/my%20data"
    properties = {"alternateName": None, "contentUrl": f"{there}/a.tif"}
    edit_graph(run / "run-crate", identifier, **properties)
    code, entries, _ = check(run / "run-crate")
    assert (code, entries[f"{there}/a.tif"]["status"]) == (0, "remote")
    assert entries[f"{there}/a.tif"]["reasons"]
    mapped = check(run / "run-crate", "--map", f"{there}={made / 'data'}")[1]
    assert mapped[f"{there}/a.tif"]["status"] == "unchanged"


def test_pipes_devices_and_loops_are_not_waited_for(run, tmp_path):
    (run / "images/a/tables/nuclei.tsv").unlink()
    os.mkfifo(run / "images/a/tables/nuclei.tsv")
    (run / LABELS / "0/c/0/0/0").unlink()
    os.mkfifo(run / LABELS / "0/c/0/0/0")
    shutil.rmtree(run / IMAGE)
    (run / IMAGE).symlink_to(run / IMAGE)
    code, entries, _ = check(run / "run-crate")
    found = statuses(entries)
    assert code == 4
    assert found["images/a/tables/nuclei.tsv"] == "unreadable"
    assert found[LABELS] == "unreadable"
    assert found[IMAGE] in ("missing", "unreadable")


def test_files_of_the_system_are_not_read(run, made):
    options = ["--map", f"{made / 'data' / 'a.tif'}=/proc/self/maps"]
    entry = check(run / "run-crate", *options)[1][str(made / "data" / "a.tif")]
    assert entry["status"] == "unreadable"
    assert "file of the system" in entry["reasons"][0]


def test_a_report_that_cannot_be_written_is_told(run):
    with pytest.raises(InputError, match="cannot be written"):
        verify_run([str(run / "run-crate"), f"--json={run / 'sheet.tsv' / 'x.json'}"])


@pytest.mark.parametrize("start", ["/", ""])
def test_paths_out_of_the_results_are_read_as_they_are_named(run, made, start):
    source = made / "data" / "a.tif"
    (identifier,) = [
        entity["@id"]
        for entity in json.loads((run / "run-crate/ro-crate-metadata.json").read_text())["@graph"]
        if entity.get("alternateName") == str(source)
    ]
    relative = os.path.relpath(source, run)
    name = f"{run}/{relative}" if start else relative
    edit_graph(run / "run-crate", identifier, alternateName=name)
    code, entries, _ = check(run / "run-crate")
    assert ".." in name
    assert (code, entries[name]["status"]) == (0, "unchanged")
    mapped = check(run / "run-crate", "--map", f"{name.partition('..')[0] or '..'}={run}")[1]
    assert mapped[name]["status"] == "remote"


def test_a_crate_beside_the_results_is_verified(run, tmp_path):
    beside = pack(run / "run-crate").rename(tmp_path / "run.crate.zip")
    assert run == tmp_path / "results"
    code, entries, _ = check(beside)
    assert (code, set(statuses(entries).values())) == (0, {"unchanged"})


def test_how_to_find_what_is_missing_is_told_once(run, capsys):
    (run / IMAGE).rename(run / "elsewhere")
    (run / LABELS).rename(run / "elsewhere2")
    with pytest.raises(VerificationError):
        verify_run([str(run / "run-crate")])
    told = capsys.readouterr().out
    assert told.count("missing    ") == 2
    assert told.count("--map OLD=NEW") == 1
