"""The resource model is fitted to what runs left behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from memory_images import save
from parfocal.cli.main import main
from parfocal.core.publish import write_json
from parfocal.engine.calibration import FEWEST, Observation, calibrate, fit_step, observe
from parfocal.engine.resource_model import memory_features, predict, read_model, variants
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.outcome import ImageOutcome, Outcome
from parfocal.models.record import Engine, Record
from parfocal.models.resources import ImageSize
from parfocal.provenance.records import claim_attempt, write_record
from parfocal.steps import load_step

MEDIAN = ("filter.method=median",)


def observations(noise: float, seed: int = 0) -> Iterator[Observation]:
    """Yield runs of a step that takes 100 MB, 8 MB a megapixel of its blocks, 24 for medians."""
    rng = np.random.default_rng(seed)
    for number in range(60):
        side, threads = int(rng.integers(64, 4096)), int(rng.integers(1, 5))
        size = ImageSize(shape=(1, 2, int(rng.integers(1, 9)), side, side), dtype="uint16")
        chosen = MEDIAN if number % 2 else ("filter.method=gaussian",)
        known = memory_features(size, threads, chosen)
        memory = 100 + 8 * known["block"] + 16 * known.get(f"{MEDIAN[0]} block", 0)
        factor = rng.uniform(1 - noise, 1 + noise)
        yield Observation("filter-image", size, threads, chosen, memory * factor, 1 + side / 100)


def test_a_fit_finds_what_is_there() -> None:
    fit = fit_step(list(observations(0)))
    assert fit.runs == 60
    assert fit.variants == ("filter.method=gaussian", *MEDIAN)
    assert all(value > 0 for value in fit.memory_mb.values())
    step = read_model().model_copy(update={"steps": {"filter-image": fit}})
    for one in observations(0, seed=1):
        found = predict(step, one.step, one.size, one.threads, one.chosen)
        assert found.memory_bytes / 1e6 == pytest.approx(1.1 * one.memory_mb, rel=0.03)


def test_a_fit_is_hardly_ever_too_low_and_not_far_too_high() -> None:
    fit = fit_step(list(observations(0.1)))
    model = read_model().model_copy(update={"steps": {"filter-image": fit}})
    unseen = list(observations(0.1, seed=1))
    ratios = [
        predict(model, one.step, one.size, one.threads, one.chosen).memory_bytes
        / 1e6
        / one.memory_mb
        for one in unseen
    ]
    assert min(ratios) > 0.8
    assert 1 < np.median(ratios) < 1.3


def test_larger_images_and_more_threads_never_take_less() -> None:
    model = read_model()
    small, large = ((1, 1, 1, 256, 256), (2, 3, 8, 2048, 2048))
    for step in model.steps:
        each = [
            predict(model, step, ImageSize(shape=shape, dtype="uint16"), threads, ())
            for shape, threads in ((small, 1), (large, 1), (large, 8))
        ]
        assert sorted(one.memory_bytes for one in each) == [one.memory_bytes for one in each]


def test_an_unknown_size_step_or_method_gets_the_generous_values() -> None:
    model = read_model()
    assumed = predict(model, "filter-image", None, 1, MEDIAN)
    assert assumed == predict(model, "filter-image", model.assumed, 1, MEDIAN)
    size = ImageSize(shape=(1, 1, 1, 512, 512), dtype="bool")
    known = predict(model, "filter-image", size, 1, MEDIAN)
    for step, chosen in (("invent-image", ()), ("filter-image", ("filter.method=new",))):
        assert predict(model, step, size, 1, chosen).memory_bytes > known.memory_bytes


def test_methods_are_found_in_parameters_and_in_records() -> None:
    params = load_step("segment-objects").params()
    expected = ("seeds.method=combined", "threshold.method=li")
    assert variants(params) == variants(params.model_dump(mode="json")) == expected
    assert variants(load_step("project-image").params(method="std")) == ("method=std",)


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
    found = sorted(observe(results), key=lambda one: one.size.shape)
    assert [one.size.shape for one in found] == [(1, 1, 1, 16, 16), (1, 1, 1, 32, 32)]
    assert {(one.memory_mb, one.time_s, one.threads) for one in found} == {(200, 2, 1)}


@pytest.mark.parametrize(
    "change",
    [
        {"status": "failed"},
        {"threads": None},
        {"peak_memory_bytes": None},
        {"details": {"compute": {"engine": "slurm"}}},
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
    size = ImageSize(shape=(1, 1, 1, 64, 64), dtype="uint16")
    found = predict(model, "assess-quality", size, 1, ())
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
    assert {(one.threads, one.spread) for one in observe(in_processes)} == {(1, True)}
    without = calibrate([in_threads], read_model())
    assert without.job.process_mb == read_model().job.process_mb
    model = calibrate([in_threads, in_processes], read_model())
    assert model.steps == without.steps
    assert model.job.process_mb == pytest.approx(110, abs=1)
    size = ImageSize(shape=(1, 1, 1, 64, 64), dtype="uint16")
    found = predict(model, "assess-quality", size, 1, (), spread=True)
    assert found.memory_bytes == pytest.approx(330e6, rel=0.01)


def test_too_few_runs_are_refused(tmp_path) -> None:
    results = leave_run(tmp_path, FEWEST - 1)
    with pytest.raises(InputError, match=rf"assess-quality {FEWEST - 1}"):
        calibrate([results], read_model())


@pytest.mark.parametrize("text", ["{}", "{", None])
def test_a_model_that_cannot_be_read_is_refused(tmp_path, text) -> None:
    path = tmp_path / "model.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError, match="resource model"):
        read_model(path)


def test_a_folder_without_a_run_is_told_as_such(tmp_path) -> None:
    with pytest.raises(InputError, match="no results folder of a run"):
        calibrate([tmp_path / "nowhere"], read_model())
