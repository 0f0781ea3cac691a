import os
import re

import pytest

from parfocal.core.outcomes import current_outcomes, read_outcome
from parfocal.core.publish import write_json
from parfocal.engine.batch import attempts_path
from parfocal.errors import ConfigurationError
from parfocal.models.outcome import ImageOutcome, Outcome


def put(results, step, batch, time_s, **images):
    found = tuple(ImageOutcome(image_id=name, status=status) for name, status in images.items())
    path = results / "outcomes" / step.replace("-", "_") / f"{batch}.json"
    write_json(path, Outcome(step=step, images=found).model_dump(mode="json"))
    os.utime(path, (time_s, time_s))
    return path


def statuses(results, *names):
    found = current_outcomes(results, names)
    return {step: {n: i.status for n, i in images.items()} for step, images in found.items()}


def test_outcomes_are_told_by_step_and_image_in_the_order_asked_for(tmp_path) -> None:
    put(tmp_path, "b-step", 0, 1, x="done")
    put(tmp_path, "a-step", 0, 1, x="done", y="failed")
    put(tmp_path, "a-step", 1, 1, z="skipped")
    found = statuses(tmp_path, "z", "y", "x")
    assert found == {
        "a-step": {"z": "skipped", "y": "failed", "x": "done"},
        "b-step": {"x": "done"},
    }
    assert list(found) == ["a-step", "b-step"]
    assert list(found["a-step"]) == ["z", "y", "x"]


def test_the_newest_file_counts_when_an_image_moved_to_another_batch(tmp_path) -> None:
    put(tmp_path, "s", 0, 20, x="done")
    put(tmp_path, "s", 1, 10, x="failed")
    assert statuses(tmp_path, "x") == {"s": {"x": "done"}}
    put(tmp_path, "s", 1, 30, x="failed")
    assert statuses(tmp_path, "x") == {"s": {"x": "failed"}}


def test_images_that_nobody_asks_for_and_other_files_do_not_count(tmp_path) -> None:
    path = put(tmp_path, "s", 0, 1, x="done", gone="failed")
    attempts_path(path).write_text("2")
    assert statuses(tmp_path, "x") == {"s": {"x": "done"}}
    assert statuses(tmp_path / "none", "x") == {}


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"step": "s", "images": [1]}', None])
def test_what_is_no_outcome_is_refused_by_name(tmp_path, content) -> None:
    path = tmp_path / "0.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=re.escape(str(path))):
        read_outcome(path)
