"""The resource model is fitted to what runs left behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from memory_images import save
from parfocal.cli.main import main
from parfocal.core.publish import write_json
from parfocal.engine.calibration import (
    FEWEST,
    LEAST,
    Observation,
    calibrate,
    fit_step,
    observe,
)
from parfocal.engine.resource_features import memory_features
from parfocal.engine.resource_model import predict, read_model
from parfocal.engine.resource_work import Work
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.outcome import ImageOutcome, Outcome
from parfocal.models.record import Artifact, Engine, Record
from parfocal.models.resources import Fit
from parfocal.provenance.records import claim_attempt, write_record
from unit.resource_works import defaults, image, smoothing


def observations(noise: float, seed: int = 0) -> Iterator[Observation]:
    """Yield runs of a step that takes 100 MB, and 2 or 5 for each MiB of blocks with halos."""
    rng = np.random.default_rng(seed)
    for number in range(60):
        side, threads = int(rng.integers(64, 4096)), int(rng.integers(1, 5))
        size = image(1, 2, int(rng.integers(1, 9)), side, side)
        method = "median" if number % 2 else "gaussian"
        work = Work("filter-image", size, threads, smoothing(int(rng.integers(1, 20)), method))
        memory = (
            100
            + (5 if number % 2 else 2)
            * memory_features(work)["median outer" if number % 2 else "mean outer"]
        )
        factor = rng.uniform(1 - noise, 1 + noise)
        yield Observation(work, memory * factor, 1 + side / 100)


def test_a_fit_finds_what_is_there() -> None:
    fit = fit_step(list(observations(0)))
    assert fit.runs == 60
    assert fit.variants == ("filter.method=gaussian", "filter.method=median")
    assert fit.memory_mb["one"] == pytest.approx(110, rel=0.01)
    assert fit.memory_mb["median outer"] == pytest.approx(5.5, rel=0.03)
    model = read_model().model_copy(update={"steps": {"filter-image": fit}})
    for one in observations(0, seed=1):
        found = predict(model, one.work)
        assert found.memory_bytes / 1e6 == pytest.approx(1.1 * one.memory_mb, rel=0.03)


def test_a_fit_is_hardly_ever_too_low_and_not_far_too_high() -> None:
    fit = fit_step(list(observations(0.1)))
    model = read_model().model_copy(update={"steps": {"filter-image": fit}})
    unseen = list(observations(0.1, seed=1))
    ratios = [predict(model, one.work).memory_bytes / 1e6 / one.memory_mb for one in unseen]
    assert min(ratios) > 0.8
    assert 1 < np.median(ratios) < 1.3


def test_methods_that_did_not_run_keep_what_is_known_of_them() -> None:
    before = Fit(
        memory_mb={"one": 90, "mean outer": 3.3, "median outer": 9, "held": 2.2},
        time_s={"one": 1, "filter.method=median": 4, "filter.method=median image": 5},
        variants=("filter.method=median",),
    )
    size = image(1, 1, 8, 1024, 1024)
    work = Work("filter-image", size, 2, smoothing(3))
    known = memory_features(work)
    held = 3 * known["mean outer"] + 2 * known["held"]
    fit = fit_step([Observation(work, 200 + held, 2.0)] * FEWEST, before)
    # One image tells nothing but the constant: all else is as it was.
    expected = {"mean outer": 3.3, "median outer": 9, "held": 2.2}
    assert {name: fit.memory_mb[name] for name in expected} == pytest.approx(expected)
    assert fit.memory_mb["one"] == pytest.approx(220)
    assert fit.time_s["filter.method=median"] == 4
    assert fit.variants == ("filter.method=gaussian", "filter.method=median")


def leave_run(
    folder: Path, images: int, step: str = "assess-quality", **told: dict[str, object]
) -> Path:
    """Leave the records, images, outcome and benchmark file of a batch."""
    results = folder / "results"
    start = datetime.now(UTC)
    for number in range(images):
        name, side = f"i{number}", 16 * (number + 1)
        target = results / "images" / name / "image.ome.zarr"
        target.parent.mkdir(parents=True)
        save(target, np.zeros((side, side), np.uint16), "YX")
        path, attempt = claim_attempt(results, step.replace("-", "_"), name)
        record = Record(
            step=step,
            step_version="1",
            parfocal_version="0",
            image_id=name,
            attempt=attempt,
            status="done",
            started=start,
            ended=start + timedelta(seconds=2),
            threads=1,
            peak_memory_bytes=200_000_000,
            host="h",
            pid=1,
            engine=Engine(name="shell"),
        )
        write_record(path, record.model_copy(update=told))
    outcomes = tuple(ImageOutcome(image_id=f"i{n}", status="done") for n in range(images))
    outcome = Outcome(step=step, images=outcomes).model_dump(mode="json")
    write_json(results / "outcomes" / step.replace("-", "_") / "0.json", outcome)
    benchmark = results / "benchmarks" / step.replace("-", "_") / "0.jsonl"
    benchmark.parent.mkdir(parents=True)
    used = {"max_rss": 700 * 1e6 / 2**20, "s": 2.0 * images + 700}
    benchmark.write_text(json.dumps(used) + "\n" + json.dumps({"max_rss": "NA", "s": 1}) + "\n")
    return results


def test_runs_are_observed_with_the_shapes_of_their_images(tmp_path) -> None:
    results = leave_run(tmp_path, 2)
    found = sorted(observe(results), key=lambda one: one.work.size.shape)
    assert [one.work.size.shape for one in found] == [(1, 1, 1, 16, 16), (1, 1, 1, 32, 32)]
    assert {(one.memory_mb, one.time_s, one.work.threads) for one in found} == {(200, 2, 1)}
    assert [one.work.chunk_px for one in found] == [16, 32]
    assert {one.work.halve_z for one in found} == {False}
    assert "saturation_level" in found[0].work.params  # a default that the record does not tell


def test_runs_are_observed_with_what_they_read(tmp_path) -> None:
    def artifact(role: str, uri: str) -> Artifact:
        return Artifact(role=role, kind="ome-zarr", uri=uri, digest="sha256:0")

    filtered, labels = "images/i0/filtered.ome.zarr", "images/i0/labels/nuclei.ome.zarr"
    for step, inputs in (
        ("segment-objects", (artifact("image", filtered),)),
        ("score-objects", (artifact("labels", labels), artifact("ground_truth", "truth.tif"))),
        ("convert-image", (artifact("source", "originals/i0.tif"),)),
        ("measure-objects", (artifact("image", "images/i0/gone.ome.zarr"),)),
    ):
        results = leave_run(tmp_path / step, 1, step, inputs=inputs, cpu_s=1.5)
        save(results / filtered, np.zeros((3, 40, 50), np.float32), "ZYX")
        save(results / labels, np.zeros((20, 30), np.uint32), "YX", labels=True)
    found = {one.work.step: one for path in tmp_path.iterdir() for one in observe(path / "results")}
    sizes = {step: (one.work.size.shape, one.work.size.dtype) for step, one in found.items()}
    assert sizes == {
        "segment-objects": ((1, 1, 3, 40, 50), "float32"),
        "score-objects": ((1, 1, 1, 20, 30), "uint32"),
        "convert-image": ((1, 1, 1, 16, 16), "uint16"),
    }
    assert found["segment-objects"].work.chunk_px == 50
    assert found["segment-objects"].cpu_s == 1.5


def test_large_regions_count_though_no_image_had_any() -> None:
    works = [
        Work(
            "segment-objects",
            image(1, 1, 1 + n % 9, 64 * n, 64 * n),
            1 + n % 4,
            defaults("segment-objects"),
        )
        for n in range(1, 30)
    ]
    sparse = [Observation(work, 100 + memory_features(work)["worked"], 1.0) for work in works]
    fitted = fit_step(sparse)
    assert fitted.memory_mb["whole"] == pytest.approx(1.1 * LEAST["whole"])
    # Images like those that a model is fitted to anew may do without.
    assert fit_step(sparse, fitted).memory_mb.get("whole", 0) < fitted.memory_mb["whole"]
    dense = [replace(one, memory_mb=100 + 2 * memory_features(one.work)["whole"]) for one in sparse]
    assert fit_step(dense).memory_mb["whole"] > 1.5 * fitted.memory_mb["whole"]


@pytest.mark.parametrize(
    "change",
    [
        {"status": "failed"},
        {"threads": None},
        {"peak_memory_bytes": None},
        {"details": {"compute": {"engine": "slurm"}}},
        {"parameters": {"of_another_version": 1}},
    ],
)
def test_runs_that_tell_nothing_are_passed_over(tmp_path, change) -> None:
    results = leave_run(tmp_path, 1)
    (path,) = results.glob("records/*/*/*.json")
    write_json(path, json.loads(path.read_text()) | change)
    assert list(observe(results)) == []


def test_the_command_writes_a_model_that_workflows_read(tmp_path, capsys) -> None:
    results = leave_run(tmp_path, FEWEST)
    output = tmp_path / "model.json"
    assert main(["calibrate", str(results), "--output", str(output)]) == 0
    assert "assess-quality" in capsys.readouterr().out
    model = read_model(output)
    assert model.steps["assess-quality"].runs == FEWEST
    found = predict(model, Work("assess-quality", image(1, 1, 1, 64, 64)))
    assert found.memory_bytes == pytest.approx(220e6, rel=0.01)
    assert found.time_s == pytest.approx(2, rel=0.01)
    # What the job took besides, by the benchmark file.
    assert model.job.memory_mb == pytest.approx(500)
    assert model.job.time_s == pytest.approx(700)
    assert model.steps["convert-image"] == read_model().steps["convert-image"]


def test_what_processes_take_besides_is_fitted_by_itself(tmp_path) -> None:
    in_threads = leave_run(tmp_path / "threads", FEWEST)
    spread = {"threads": 4, "peak_memory_bytes": 330_000_000}
    details = {"compute": {"engine": "processes", "workers": 4}}
    in_processes = leave_run(tmp_path / "processes", FEWEST, details=details, **spread)
    assert {(one.work.threads, one.spread) for one in observe(in_processes)} == {(1, True)}
    without = calibrate([in_threads], read_model())
    assert without.job.process_mb == read_model().job.process_mb
    model = calibrate([in_threads, in_processes], read_model())
    assert model.steps == without.steps
    assert model.job.process_mb == pytest.approx(110, abs=1)
    work = Work("assess-quality", image(1, 1, 1, 64, 64))
    found = predict(model, work, spread=True)
    assert found.memory_bytes == pytest.approx(330e6, rel=0.01)


def test_too_few_runs_are_refused(tmp_path) -> None:
    results = leave_run(tmp_path, FEWEST - 1)
    with pytest.raises(InputError, match=rf"assess-quality {FEWEST - 1}"):
        calibrate([results], read_model())


@pytest.mark.parametrize("text", ["{}", "{", '{"format": "parfocal-resource-model-1"}', None])
def test_a_model_that_cannot_be_read_is_refused(tmp_path, text) -> None:
    path = tmp_path / "model.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError, match="resource model"):
        read_model(path)


def test_a_folder_without_a_run_is_told_as_such(tmp_path) -> None:
    with pytest.raises(InputError, match="no results folder of a run"):
        calibrate([tmp_path / "nowhere"], read_model())
