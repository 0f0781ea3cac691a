"""What jobs are given: by prediction, and by what became of the last attempt."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from memory_images import save
from parfocal.core.processes import this_process
from parfocal.engine import run_step
from parfocal.engine.image_sizes import read_sizes, source_states
from parfocal.engine.job_attempt import RUN_VARIABLE
from parfocal.engine.resource_inputs import StepInput, chain_inputs, read_input
from parfocal.engine.resource_model import predict, read_model, sized
from parfocal.engine.resource_plan import (
    LEAST_MIB,
    allot,
    plan_resources,
    read_predictions,
    resources_path,
)
from parfocal.engine.resource_work import Work
from parfocal.models.job_attempt import JobAttempt
from parfocal.models.record import Prediction
from parfocal.models.resources import Fit, ImageSize, JobCost, ResourceModel
from parfocal.models.sheet import Row
from parfocal.steps import load_step

JOB = JobCost(memory_mb=2**20 * 300 / 1e6, time_s=600)
STEP = "assess-quality"
PARAMS = {STEP: load_step(STEP).params()}


def model(slope: float = 1.0) -> ResourceModel:
    fit = Fit(memory_mb={"one": 100, "root": slope}, time_s={"one": 1, "image": 2})
    assumed = ImageSize(shape=(1, 1, 1, 1000, 1000), dtype="uint16")
    return ResourceModel(provenance="test", assumed=assumed, other=fit, job=JOB, steps={STEP: fit})


def image(mib: int, seconds: float = 10) -> Prediction:
    return Prediction(memory_bytes=mib * 2**20, time_s=seconds)


def attempt(**fields: object) -> JobAttempt:
    begun = {"run": "run-1", "process": this_process(), "started": datetime.now(UTC)}
    return JobAttempt(**(begun | fields))


@pytest.fixture(autouse=True)
def _run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUN_VARIABLE, "run-1")


def test_the_largest_image_tells_the_memory_and_all_tell_the_time() -> None:
    assert allot([image(500, 60), image(900, 120)], JOB, None, 1) == (1200, 20)
    assert allot([image(10, 0)], JOB, None, 1) == (LEAST_MIB, 10)
    assert allot([image(500, 60)], JOB, None, 1, processes=3) == (1800, 15)


@pytest.mark.parametrize(
    ("cause", "memory", "minutes"),
    [
        ("memory", 2400, 20),
        ("time", 1200, 40),
        ("node", 1200, 20),
        ("killed", 1200, 20),
        ("preempted", 1200, 20),
        (None, 800, 15),
    ],
)
def test_only_what_lacked_is_doubled(cause, memory, minutes) -> None:
    last = attempt(cause=cause, memory_mib=1200, time_min=20)
    assert allot([image(500, 60)], JOB, last, 2) == (memory, minutes)


@pytest.mark.parametrize("cause", ["error", "cancelled"])
def test_an_attempt_that_ends_at_once_waits_for_no_room(cause) -> None:
    last = attempt(cause=cause, memory_mib=3200, time_min=60, exit_code=1)
    assert allot([image(500, 60)], JOB, last, 2) == (LEAST_MIB, 10)
    assert allot([image(500, 60)], JOB, last, 1) == (3200, 60)
    old = last.model_copy(update={"run": "run-0"})  # this run tries it, whatever ended the other
    assert allot([image(500, 60)], JOB, old, 2) == (3200, 60)


def test_what_was_raised_once_stays_so() -> None:
    given = allot([image(500, 60)], JOB, None, 1)
    for number, cause in enumerate(("memory", "time", "memory"), 1):
        last = attempt(attempt=number, cause=cause, memory_mib=given[0], time_min=given[1])
        given = allot([image(500, 60)], JOB, last, number + 1)
    assert given == (800 * 4, 15 * 2)


def test_a_last_attempt_that_leaves_out_what_lacked_memory_needs_no_more() -> None:
    lacked = {"cause": "memory", "memory_mib": 1200, "time_min": 20, "exit_code": 1}
    lacked |= {"attempts": 4, "job_id": "7", "lacked_memory": {"a": "it was killed"}}
    assert allot([image(500, 60)], JOB, attempt(attempt=2, **lacked), 3) == (2400, 20)
    assert allot([image(500, 60)], JOB, attempt(attempt=3, **lacked), 4) == (1200, 20)
    rejected = attempt(attempt=1, **lacked)  # the second and third were more than any node has
    assert allot([image(500, 60)], JOB, rejected, 4) == (1200, 20)


def test_the_next_run_begins_with_what_the_last_attempt_had() -> None:
    last = attempt(run="run-0", cause="memory", memory_mib=3200, time_min=20, exit_code=0)
    assert allot([image(500, 60)], JOB, last, 1) == (3200, 20)


def test_an_attempt_that_left_no_word_calls_for_more_of_both() -> None:
    assert allot([image(500, 60)], JOB, None, 3) == (2400, 40)
    old = attempt(run="run-0", exit_code=0)
    assert allot([image(500, 60)], JOB, old, 2) == (1600, 30)
    running = attempt(attempt=2)  # this very attempt, asked for again
    assert allot([image(500, 60)], JOB, running, 2) == (800, 15)


def write(path: Path, *shape: int) -> Row:
    tifffile.imwrite(path, np.zeros(shape, np.uint16))
    return Row(image_id=path.stem, source=str(path))


def test_sizes_are_read_and_kept_beside_the_sheet(tmp_path, monkeypatch) -> None:
    rows = [write(tmp_path / "a.tif", 50, 40), write(tmp_path / "b.tif", 500, 400)]
    rows.append(Row(image_id="far", source="https://example.org/far.ome.zarr"))
    rows.append(Row(image_id="none", source=str(tmp_path / "none.tif")))
    sheet = tmp_path / "samples.tsv"
    found = plan_resources(sheet, rows, tmp_path / "results", PARAMS, 1, model())
    sizes = {name: found.sizes[number] for name, number in found.images.items()}
    assert sizes["a"].size.shape == (1, 1, 1, 50, 40)
    assert sizes["b"].steps[STEP].memory_bytes == pytest.approx(
        (100 + math.sqrt(0.4e6 / 2**20)) * 1e6, abs=1
    )
    assert sizes["b"].steps[STEP].time_s == pytest.approx(1 + 0.8e6 / 2**20, abs=1e-3)
    assert sizes["far"].assumed
    assert sizes["none"].assumed
    assert sizes["far"].size == model().assumed
    told = read_predictions(resources_path(sheet), STEP)
    assert told["b"] == sizes["b"].steps[STEP]
    assert read_predictions(resources_path(sheet), "other") == {}
    monkeypatch.setenv(RUN_VARIABLE, "run-2")
    assert read_predictions(resources_path(sheet), STEP) == {}


@pytest.mark.parametrize(
    ("more", "shape"),
    [
        ({}, (2, 3, 1, 50, 40)),
        ({"size_z": "0"}, None),
        ({"size_x": "wide"}, None),
        ({"size_t": ""}, None),
        ({"dtype": "text"}, None),
    ],
)
def test_of_remote_images_the_sheet_says_the_size(tmp_path, more, shape) -> None:
    told = {"size_t": "2", "size_c": "3", "size_z": "1", "size_y": "50", "size_x": "40"}
    row = Row(image_id="far", source="omero://h/image/1", **(told | {"dtype": "int8"} | more))
    here = write(tmp_path / "a.tif", 7, 8).model_copy(update=told)
    found = read_sizes([row, here], tmp_path)
    assert found["a"].shape == (1, 1, 1, 7, 8)
    assert found.get("far") == (shape and ImageSize(shape=shape, dtype="int8"))
    changed = row.model_copy(update={"size_x": "41"})
    states, sizes = (
        [function([each], tmp_path).get("far") for each in (row, changed)]
        for function in (source_states, read_sizes)
    )
    assert (states[0] == states[1]) == (sizes[0] == sizes[1])


def test_each_of_several_processes_is_given_what_they_take_besides(tmp_path) -> None:
    rows = [write(tmp_path / "a.tif", 500, 400)]
    sheets = (tmp_path / "one.tsv", tmp_path / "several.tsv")
    one, several = (
        plan_resources(sheet, rows, tmp_path / "results", PARAMS, 1, model(), spread=spread)
        .sizes[0]
        .steps[STEP]
        for sheet, spread in zip(sheets, (False, True), strict=True)
    )
    assert several.memory_bytes - one.memory_bytes == model().job.process_mb * 1e6
    assert several.time_s == one.time_s


def test_a_conversion_tells_the_chunks_of_the_steps_after_it(tmp_path) -> None:
    rows = [write(tmp_path / "a.tif", 2048, 2048)]
    fit = Fit(memory_mb={"block": 1}, time_s={})
    known = model().model_copy(update={"steps": {"measure-objects": fit}})
    measure = {"measure-objects": load_step("measure-objects").params()}
    convert = load_step("convert-image").params
    found = []
    for number, chunk_px in enumerate((512, 300)):
        sheet = tmp_path / f"{number}.tsv"
        steps = measure | {"convert-image": convert(chunk_px=chunk_px)}
        planned = plan_resources(sheet, rows, tmp_path, steps, 1, known)
        found.append(planned.sizes[0].steps["measure-objects"].memory_bytes / 1e6)
    # Whole rows of chunks, of two million pixels at most.
    assert found == pytest.approx([1024 * 2048 * 8 / 2**20, 600 * 2048 * 8 / 2**20])


DIFFERENCE = {"filter": {"method": "difference_of_gaussians", "narrow_px": 1, "wide_px": 4}}


def test_objects_are_predicted_from_the_image_that_they_are_found_in(tmp_path) -> None:
    source = tmp_path / "a.tif"
    tifffile.imwrite(source, np.zeros((40, 1024, 1024), np.uint8), metadata={"axes": "ZYX"})
    rows = [Row(image_id="a", source=str(source))]
    chosen = {"segment-objects": {}, "measure-objects": {}, "assess-quality": {}}
    parsed = {name: load_step(name).params() for name in chosen}
    steps = parsed | {"filter-image": load_step("filter-image").params(**DIFFERENCE)}
    found = plan_resources(tmp_path / "a.tsv", rows, tmp_path, steps, 8, read_model())
    told = found.sizes[0].steps

    def predicted(name: str, dtype: str) -> Prediction:
        size = found.sizes[0].size.model_copy(update={"dtype": dtype})
        params = parsed[name].model_dump(mode="json")
        return predict(read_model(), Work(name, sized(read_model(), size), 8, params))

    assert found.sizes[0].size.dtype == "uint8"
    assert told["segment-objects"] == predicted("segment-objects", "float32")
    assert told["segment-objects"].memory_bytes > 820e6 / 1.2  # what was used, measured
    assert told["segment-objects"].memory_bytes > predicted("segment-objects", "uint8").memory_bytes
    for name in ("measure-objects", "assess-quality"):  # these have the image before the filter
        assert told[name] == predicted(name, "uint8")


def image_input(*shape: int, dtype: str = "uint8", **told: Any) -> StepInput:
    t, c, z, y, x = shape
    size = ImageSize(shape=(t, c, z, y, x), dtype=dtype, pixel_um=(2.0, 0.5, 0.5))
    return StepInput(size, **told)


def test_each_step_is_predicted_from_what_the_one_before_makes() -> None:
    first = image_input(3, 2, 40, 64, 48, chunk_px=128, halve_z=True)
    configured = {
        "convert-image": {},
        "correct-illumination": {},
        "project-image": {"method": "sum", "last": 9},
        "filter-image": DIFFERENCE,
        "segment-objects": {},
        "measure-objects": {},
        "assess-quality": {},
        "preview-image": {},
        "score-objects": {},
    }
    steps = {name: load_step(name).params(**told) for name, told in configured.items()}
    found = chain_inputs(first, steps)
    told = {name: (one.size.shape, one.size.dtype, one.chunk_px) for name, one in found.items()}
    plane = (3, 2, 1, 64, 48)
    assert told == {
        "convert-image": (first.size.shape, "uint8", 128),
        "assess-quality": (first.size.shape, "uint8", 128),
        "correct-illumination": (first.size.shape, "uint8", 128),
        "project-image": (first.size.shape, "uint8", 128),
        "filter-image": (plane, "uint32", 128),
        "segment-objects": (plane, "float64", 128),
        "measure-objects": (plane, "uint32", 128),
        "preview-image": (plane, "uint32", 128),
        "score-objects": ((3, 1, 1, 64, 48), "uint32", 128),
    }
    assert found["segment-objects"].size.pixel_um == (None, 0.5, 0.5)
    assert all(one.halve_z for one in found.values())


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("filter-image", DIFFERENCE),
        ("filter-image", {"filter": {"method": "gaussian", "sigma_px": 1}}),
        ("project-image", {"method": "sum"}),
        ("project-image", {"method": "std", "axis": "T", "first": 1}),
        ("project-image", {"method": "mean", "as_float": True}),
        ("correct-illumination", {"illumination": {"method": "estimate"}}),
    ],
)
def test_images_are_as_the_steps_make_them(tmp_path, step, told, dtype) -> None:
    shape = (2, 1, 3, 16, 16)
    pixels = np.arange(np.prod(shape), dtype=dtype).reshape(shape) % 7 + 1
    save(tmp_path / "image.ome.zarr", pixels.astype(dtype), "TCZYX")
    first = read_input(tmp_path / "image.ome.zarr")
    assert first is not None
    made = tmp_path / "made.ome.zarr"
    chosen = load_step(step)
    run_step(chosen, {"image": tmp_path / "image.ome.zarr"}, {chosen.outputs[0].name: made}, told)
    written = read_input(made)
    assert written is not None
    steps = {step: chosen.params(**told), "segment-objects": load_step("segment-objects").params()}
    expected = chain_inputs(first, steps)["segment-objects"].size
    assert (written.size.shape, written.size.dtype) == (expected.shape, expected.dtype)


def test_an_image_that_is_not_there_is_not_known(tmp_path) -> None:
    assert read_input(tmp_path / "none.ome.zarr") is None


def test_sizes_are_not_read_again_while_sources_stay(tmp_path, monkeypatch) -> None:
    rows = [write(tmp_path / "a.tif", 50, 40), write(tmp_path / "b.tif", 50, 40)]
    sheet = tmp_path / "samples.tsv"
    plan_resources(sheet, rows, tmp_path / "results", PARAMS, 1, model())
    read: list[str] = []

    def spy(rows, results):
        rows = list(rows)
        read.extend(row.image_id for row in rows)
        return read_sizes(rows, results)

    monkeypatch.setattr("parfocal.engine.resource_plan.read_sizes", spy)
    write(tmp_path / "b.tif", 60, 40)
    # The same run asks nothing anew, the next one what has changed, with another model too.
    plan_resources(sheet, rows, tmp_path / "results", PARAMS, 1, model())
    assert read == []
    monkeypatch.setenv(RUN_VARIABLE, "run-2")
    found = plan_resources(sheet, rows, tmp_path / "results", PARAMS, 1, model(2))
    assert read == ["b"]
    assert found.sizes[found.images["b"]].size.shape == (1, 1, 1, 60, 40)


def test_the_processes_of_a_run_take_what_its_first_has_written(tmp_path, monkeypatch) -> None:
    rows = [write(tmp_path / "a.tif", 500, 400)]
    sheet = tmp_path / "samples.tsv"
    one = plan_resources(sheet, rows, tmp_path, PARAMS, 1, model(1))
    assert plan_resources(sheet, rows, tmp_path, PARAMS, 2, model(50)) == one
    monkeypatch.setenv(RUN_VARIABLE, "run-2")
    two = plan_resources(sheet, rows, tmp_path, PARAMS, 2, model(50))
    assert two.sizes[0].steps[STEP].memory_bytes > one.sizes[0].steps[STEP].memory_bytes


def test_a_folder_that_takes_no_file_is_no_obstacle(tmp_path, caplog) -> None:
    rows = [write(tmp_path / "a.tif", 50, 40)]
    sheet = tmp_path / "a.tif" / "samples.tsv"  # below a file
    found = plan_resources(sheet, rows, tmp_path / "results", PARAMS, 1, model())
    assert found.sizes[0].size.shape == (1, 1, 1, 50, 40)
    assert "cannot be kept" in caplog.text


def test_a_file_of_resources_that_is_damaged_is_written_again(tmp_path) -> None:
    rows = [write(tmp_path / "a.tif", 50, 40)]
    sheet = tmp_path / "samples.tsv"
    resources_path(sheet).write_text("{")
    plan_resources(sheet, rows, tmp_path / "results", PARAMS, 1, model())
    assert json.loads(resources_path(sheet).read_text())["images"] == {"a": 0}
