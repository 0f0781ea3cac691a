"""Which attempts results are of, and the name of the run that they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from parfocal.models.record import Engine, Record
from parfocal.provenance.run_identity import newest_commit, newest_done, run_id

START = datetime(2026, 1, 1, tzinfo=UTC)


def record(step: str, image_id: str, attempt: int = 1, **changes: Any) -> Record:
    fields: dict[str, Any] = {
        "step_version": "1",
        "parfocal_version": "0",
        "key": f"{step}{image_id}",
        "status": "done",
        "started": START,
        "host": "h",
        "pid": 1,
        "engine": Engine(name="shell"),
    }
    return Record(step=step, image_id=image_id, attempt=attempt, **(fields | changes))


def test_the_newest_attempts_that_ended_well_count() -> None:
    second = record("a-step", "x", 2)
    records = [
        record("b-step", "x"),
        second,
        record("a-step", "x", 3, status="failed"),
        record("a-step", "x", 1),
        record("a-step", "y", status="failed"),
        record("a-step", "z"),
    ]
    found = newest_done(records, {"x", "y"})
    assert list(found) == ["x"]
    assert [(r.step, r.attempt) for r in found["x"]] == [("a-step", 2), ("b-step", 1)]
    assert found["x"][0] is second


def test_the_run_goes_by_steps_images_and_keys_alone() -> None:
    one, two = record("a-step", "x"), record("a-step", "y")
    again = record("a-step", "y", 7, host="other", started=START + timedelta(days=1))
    assert run_id([one, two]) == run_id([again, one])
    others = [[one], [one, record("a-step", "y", key="new")], [one, record("b-step", "y", key="k")]]
    assert len({run_id(each) for each in [[one, two], *others]}) == 4


def test_the_commit_is_that_of_the_last_attempt_that_knew_one() -> None:
    later = START + timedelta(hours=1)
    old, new = record("a-step", "x", commit="old"), record("b-step", "x", commit="new")
    new = new.model_copy(update={"started": later})
    unknown = record("c-step", "x", started=later + timedelta(hours=1))
    assert newest_commit([old, new, unknown]) == "new"
    assert newest_commit([unknown]) is None
    assert newest_commit([]) is None
