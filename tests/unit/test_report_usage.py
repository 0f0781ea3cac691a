"""What steps used, against what was predicted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from parfocal.models.record import Engine, Prediction, Record
from parfocal.report.usage import tell_usage

START = datetime(2026, 1, 1, tzinfo=UTC)


def record(step: str, used_mb: int, predicted_mb: int | None, seconds: int, **fields) -> Record:
    told = {
        "step": step,
        "step_version": "1",
        "parfocal_version": "0",
        "image_id": "a",
        "attempt": 1,
        "status": "done",
        "started": START,
        "ended": START + timedelta(seconds=seconds),
        "peak_memory_bytes": used_mb * 10**6,
        "host": "h",
        "pid": 1,
        "engine": Engine(name="shell"),
    }
    if predicted_mb is not None:
        told["predicted"] = Prediction(memory_bytes=predicted_mb * 10**6, time_s=10)
    return Record(**(told | fields))


def test_median_and_most_are_told_of_each_step() -> None:
    records = [record("b", used, 200, used // 10) for used in (100, 150, 300)]
    records += [record("a", 50, 100, 20)]
    second, first = tell_usage(("a", "b"), records)[::-1]
    assert (first.step, second.step) == ("a", "b")
    assert (second.images, second.memory_mb) == (3, 300)
    assert (second.memory_share, second.most_memory_share) == (0.75, 1.5)
    assert second.time_s == pytest.approx(10 + 15 + 30)
    assert (second.time_share, second.most_time_share) == (1.5, 3.0)
    assert first.time_share == 2.0


def test_images_without_a_prediction_and_failures_are_left_out() -> None:
    records = [record("a", 50, None, 1), record("a", 50, 100, 1, status="failed")]
    assert tell_usage(("a",), records) == ()
