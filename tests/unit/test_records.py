import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from parfocal.errors import InputError
from parfocal.models.record import Artifact, Engine, Failure, Record
from parfocal.provenance.records import (
    claim_attempt,
    iter_attempts,
    iter_records,
    read_record,
    write_record,
)

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "records.md"


def record(**changes):
    values = {
        "step": "make-image",
        "step_version": "1",
        "parfocal_version": "0",
        "image_id": "a",
        "attempt": 1,
        "started": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "host": "here",
        "pid": 1,
        "engine": Engine(name="shell"),
    }
    return Record(**(values | changes))


def test_attempts_are_numbered_from_1(tmp_path) -> None:
    claims = [claim_attempt(tmp_path, "make_image", "a") for _ in range(3)]
    assert [attempt for _, attempt in claims] == [1, 2, 3]
    assert claims[0][0] == tmp_path / "records" / "make_image" / "a" / "0001.json"
    assert claim_attempt(tmp_path, "make_image", "b")[1] == 1


def test_two_processes_never_claim_the_same_attempt(tmp_path) -> None:
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: claim_attempt(tmp_path, "s", "a"), range(60)))
    assert sorted(attempt for _, attempt in claims) == list(range(1, 61))


@pytest.mark.parametrize("image_id", ["../../a", "/tmp/a", "..", "", "a\0", "a/b"])
def test_no_record_lies_elsewhere(tmp_path, image_id) -> None:
    with pytest.raises(InputError, match="outside of its folder"):
        claim_attempt(tmp_path / "results", "s", image_id)
    assert not any(tmp_path.iterdir())


def test_files_of_others_in_the_folder_are_passed_over(tmp_path) -> None:
    path, _ = claim_attempt(tmp_path, "s", "a")
    write_record(path, record())
    (path.parent / "0001 (copy).json").write_text("x")
    (path.parent / "2.json.bak").write_text("x")
    assert claim_attempt(tmp_path, "s", "a")[1] == 2
    assert [r.attempt for r in iter_records(tmp_path)] == [1]
    assert [r.attempt for _, r in iter_attempts(tmp_path, "s", "a")] == [1]


def test_a_record_is_read_as_it_was_written(tmp_path) -> None:
    full = record(
        status="failed",
        inputs=(Artifact(role="image", kind="ome-zarr", uri="a ü$", size_bytes=1, digest="d"),),
        details={"count": 3, "nan": None},
        warnings=("cut",),
        error=Failure(type="InputError", message="x", exit_code=2),
        ended=datetime.now(UTC),
    )
    write_record(tmp_path / "r.json", full)
    assert read_record(tmp_path / "r.json") == full


def test_the_newest_attempt_comes_first_also_beyond_9999(tmp_path) -> None:
    folder = tmp_path / "records" / "s" / "a"
    for number in (1, 2, 9999, 10000):
        write_record(folder / f"{number:04d}.json", record(attempt=number))
    assert [r.attempt for _, r in iter_attempts(tmp_path, "s", "a")] == [10000, 9999, 2, 1]
    assert claim_attempt(tmp_path, "s", "a")[1] == 10001


def test_records_of_killed_processes_that_are_empty_yet_are_passed_over(tmp_path) -> None:
    claim_attempt(tmp_path, "s", "a")
    assert list(iter_records(tmp_path)) == []
    assert list(iter_attempts(tmp_path, "s", "a")) == []


@pytest.mark.parametrize("content", [b"{", b"{}", b"\xff", None])
def test_what_is_no_record_is_refused_by_name(tmp_path, content) -> None:
    path = tmp_path / "r.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(str(path))):
        read_record(path)


def test_the_reference_page_tells_every_field_and_no_other() -> None:
    told = re.findall(r"^\| `([a-z_]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert told == list(Record.model_fields)
