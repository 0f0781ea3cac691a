"""The command verify-run: the records of attempts."""

import json
import shutil

import pytest

from parfocal.core.digest import digest_path
from parfocal.errors import InputError
from verified_runs import METADATA, edit, edit_graph, make_crate, make_run, pack
from verifying import check

STEPS = ("fetch_image", "convert_image", "segment_objects", "measure_objects")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with a run: its sources, its results, and its crate in them."""
    folder = tmp_path_factory.mktemp("run")
    make_run(folder)
    return folder


@pytest.fixture
def run(made, tmp_path):
    """Return the results folder of a copy of the run."""
    return shutil.copytree(made / "results", tmp_path / "results")


def record_of(step):
    return f"records/{step}/a/0001.json"


def action_of(step):
    return f"#action/{step}/a/0001"


def statuses(entries):
    """Return the status of each entry that is not unchanged, by its role and name."""
    return {
        (entry["role"], name): entry["status"]
        for name, entry in entries.items()
        if entry["status"] != "unchanged"
    }


def entities(crate):
    document = json.loads((crate / METADATA).read_text(encoding="utf-8"))
    return {entity["@id"]: entity for entity in document["@graph"]}


@pytest.mark.parametrize("step", STEPS)
def test_an_edited_record_is_told(run, step):
    path = run / record_of(step)
    record = json.loads(path.read_text(encoding="utf-8"))
    digest = digest_path(path)
    path.write_text(json.dumps(record | {"commit": "b" * 40}, indent=2), encoding="utf-8")
    for crate in (run / "run-crate", pack(run / "run-crate")):
        code, entries, report = check(crate)
        assert (code, report["findings"]) == (4, [])
        assert statuses(entries) == {("record", record_of(step)): "changed"}
        assert entries[record_of(step)]["expected"] == digest


def test_one_other_character_of_a_record_is_told(run):
    path = run / record_of("segment_objects")
    before = path.read_bytes()
    path.write_bytes(before.replace(b"otsu", b"otsv"))
    assert path.stat().st_size == len(before)
    code, entries, _ = check(run / "run-crate")
    assert code == 4
    entry = entries[record_of("segment_objects")]
    assert (entry["status"], entry["found"]) == ("changed", digest_path(path))


def test_a_removed_record_is_told(run):
    (run / record_of("convert_image")).unlink()
    code, entries, _ = check(run / "run-crate")
    assert code == 4
    assert statuses(entries) == {("record", record_of("convert_image")): "missing"}


def test_swapped_records_are_told(run):
    one, other = (run / record_of(step) for step in ("convert_image", "segment_objects"))
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    code, entries, _ = check(run / "run-crate")
    assert code == 4
    assert statuses(entries) == {
        ("record", record_of("convert_image")): "changed",
        ("record", record_of("segment_objects")): "changed",
    }


def test_records_that_are_swapped_in_the_crate_are_told(run):
    graph = entities(run / "run-crate")
    one, other = action_of("convert_image"), action_of("segment_objects")
    edit_graph(run / "run-crate", one, subjectOf=graph[other]["subjectOf"])
    edit_graph(run / "run-crate", other, subjectOf=graph[one]["subjectOf"])
    code, entries, report = check(run / "run-crate")
    assert (code, statuses(entries)) == (4, {})
    assert report["findings"] == [
        f"{one} has the record of something else, {record_of('segment_objects')}",
        f"{other} has the record of something else, {record_of('convert_image')}",
    ]


@pytest.mark.parametrize("before", ["/etc/", "../", "elsewhere/", "file:///etc/"])
def test_a_record_is_one_of_the_results_folder_alone(run, before):
    name = before + record_of("segment_objects")
    identifier = entities(run / "run-crate")[action_of("segment_objects")]["subjectOf"]["@id"]
    edit_graph(run / "run-crate", identifier, alternateName=name)
    code, _, report = check(run / "run-crate")
    assert code == 4
    told = f"{action_of('segment_objects')} has the record of something else, {name}"
    assert report["findings"] == [told]


def test_an_action_that_lost_its_record_is_told(run):
    edit_graph(run / "run-crate", action_of("convert_image"), subjectOf=None)
    code, _, report = check(run / "run-crate")
    assert code == 4
    assert report["findings"] == [f"{action_of('convert_image')} has no record"]


def test_a_record_that_is_not_described_or_no_file_is_told(run):
    identifier = entities(run / "run-crate")[action_of("convert_image")]["subjectOf"]["@id"]
    edit_graph(run / "run-crate", identifier, **{"@type": "MediaObject"})
    code, _, report = check(run / "run-crate")
    assert code == 4
    (told,) = report["findings"]
    assert told == (
        f"{identifier} is a record of {action_of('convert_image')}, and no file or folder"
    )

    def remove(document):
        graph = document["@graph"]
        graph[:] = [one for one in graph if one["@id"] != identifier]

    edit(run / "run-crate", remove)
    code, _, report = check(run / "run-crate")
    assert code == 4
    assert report["findings"] == [
        f"{action_of('convert_image')} refers to {identifier}, which is not described"
    ]


def before_records(document):
    """Make a crate what it was before crates named the records of all attempts."""
    graph = document["@graph"]
    records = {one["subjectOf"]["@id"] for one in graph if "subjectOf" in one}
    kept = {one["result"]["@id"] for one in graph if one.get("error")}
    graph[:] = [one for one in graph if one["@id"] not in records - kept]
    for one in graph:
        one.pop("subjectOf", None)


def fail_once(run):
    """Add an attempt to segment that failed."""
    first = run / record_of("segment_objects")
    told = json.loads(first.read_text(encoding="utf-8")) | {"attempt": 2, "outputs": []}
    told |= {"status": "failed", "error": {"type": "X", "message": "no", "exit_code": 2}}
    first.with_name("0002.json").write_text(json.dumps(told), encoding="utf-8")


def test_of_an_older_crate_is_told_that_records_were_not_verified(run, capsys):
    fail_once(run)
    crate = make_crate(run)
    assert check(crate)[2]["records_told"]
    assert "warning" not in capsys.readouterr().out
    edit(crate, before_records)
    (run / record_of("convert_image")).write_text("{}", encoding="utf-8")
    code, entries, report = check(crate)
    assert (code, report["findings"], report["records_told"]) == (0, [], False)
    records = [name for name, entry in entries.items() if entry["role"] == "record"]
    assert records == ["records/segment_objects/a/0002.json"]
    assert "warning    records of attempts that ended well were not verif" in (
        capsys.readouterr().out
    )


def test_a_run_that_only_failed_has_all_of_its_records_in_crates_of_any_age(run):
    shutil.rmtree(run / "records" / "fetch_image")
    shutil.rmtree(run / "records" / "convert_image")
    shutil.rmtree(run / "records" / "measure_objects")
    fail_once(run)
    (run / record_of("segment_objects")).unlink()
    crate = make_crate(run)
    for _ in range(2):
        code, entries, report = check(crate)
        assert (code, report["records_told"], report["verified"]) == (0, True, True)
        assert entries["records/segment_objects/a/0002.json"]["role"] == "record"
        edit(crate, before_records)


def test_a_record_that_lies_elsewhere_than_it_says_is_refused(run):
    record = run / record_of("convert_image")
    shutil.copy(record, record.with_name("0002.json"))
    with pytest.raises(InputError, match=r"where that of another attempt belongs.*0001\.json"):
        make_crate(run)
