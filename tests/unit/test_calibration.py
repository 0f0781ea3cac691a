"""The resource model is fitted to what runs left behind."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memory_images import five, save
from parfocal.analysis.windows import BOX_BYTES, PIXEL_BYTES
from parfocal.cli.main import main
from parfocal.core.blocks import region_shape
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
from parfocal.engine.resource_model import predict, read_model, sized
from parfocal.engine.resource_work import Work, variants
from parfocal.errors import ConfigurationError, InputError
from parfocal.images.pyramid import halve
from parfocal.images.writers.chain import Chain
from parfocal.images.writers.layout import plan_levels
from parfocal.images.writers.shards import LevelWriter
from parfocal.models.outcome import ImageOutcome, Outcome
from parfocal.models.record import Artifact, Engine, Record
from parfocal.models.resources import Fit, ImageSize
from parfocal.models.zarr_options import ZarrOptions
from parfocal.provenance.records import claim_attempt, write_record
from parfocal.steps import load_step


def smoothing(sigma_px: float = 1, method: str = "gaussian") -> dict[str, Any]:
    """Return parameters of filter-image."""
    chosen = {"method": method, "sigma_px": sigma_px, "radius_px": sigma_px}
    return {"filter": chosen, "mode": "auto"}


def image(*shape: int, dtype: str = "uint16") -> ImageSize:
    t, c, z, y, x = shape
    return ImageSize(shape=(t, c, z, y, x), dtype=dtype)


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


def defaults(step: str) -> dict[str, Any]:
    params: dict[str, Any] = load_step(step).params().model_dump(mode="json")
    return params


def memory(step: str, size: ImageSize, threads: int = 1, **told: Any) -> int:
    """Return what the model that comes with Parfocal predicts, in bytes."""
    work = Work(step, size, threads, defaults(step) | told)
    return predict(read_model(), work).memory_bytes


def test_larger_images_and_more_threads_never_take_less() -> None:
    model = read_model()
    assert len(model.steps) == 10
    small, large = image(1, 1, 1, 256, 256), image(2, 3, 8, 2048, 2048)
    for step in model.steps:
        each = [
            memory(step, size, threads) for size, threads in ((small, 1), (large, 1), (large, 8))
        ]
        assert sorted(each) == each
    for step in ("convert-image", "filter-image", "segment-objects", "measure-objects"):
        # A region that is divided takes one thread, and could take more than all blocks.
        told = {"whole_mib": 64} if step == "segment-objects" else {}
        one, most = (memory(step, large, threads, **told) for threads in (1, 8))
        assert most > 1.2 * one > 1.2 * memory(step, small)


def test_filters_that_reach_farther_take_more_memory() -> None:
    size = image(1, 1, 40, 1024, 1024)
    for method in ("gaussian", "median", "top_hat", "subtract_mean"):
        near, far = (memory("filter-image", size, 2, **smoothing(px, method)) for px in (1, 25))
        assert far > near
    wide = {"method": "difference_of_gaussians", "narrow_px": 1}
    near, far = (memory("filter-image", size, 2, filter=wide | {"wide_px": px}) for px in (2, 25))
    assert far > near
    local = {"method": "local", "offset": 1}
    near, far = (
        memory("segment-objects", size, 2, threshold=local | {"sigma_px": px}, whole_mib=64)
        for px in (5, 40)
    )
    assert far > near


def test_lengths_in_micrometres_reach_as_far_as_the_pixels_tell() -> None:
    def features(pixel_um: tuple[float, ...], params: dict[str, Any]) -> dict[str, float]:
        size = image(1, 1, 64, 2048, 2048).model_copy(update={"pixel_um": pixel_um})
        return memory_features(Work("filter-image", size, 1, params))

    gaussian = {"filter": {"method": "gaussian", "sigma_px": 1.0, "sigma_um": 2.0}, "mode": "auto"}
    assert features((0.5, 0.5, 0.5), gaussian) == features((0.5, 0.5, 0.5), smoothing(4))
    thick = features((2.0, 0.5, 0.5), gaussian)["mean outer"]
    # Four standard deviations: 16 pixels along Y and X, and 4 planes, around 512 x 512 x 8.
    # Each pixel is there as it is, and as float32.
    assert thick == pytest.approx((8 + 2 * 4) * (512 + 2 * 16) ** 2 * (2 + 4) / 2**20)
    planar = features((2.0, 0.5, 0.5), gaussian | {"mode": "plane"})["mean outer"]
    assert planar == pytest.approx((512 + 2 * 16) ** 2 * (2 + 4) / 2**20)
    model = read_model()
    unknown = sized(model, image(1, 1, 64, 2048, 2048))
    assert unknown.pixel_um == model.assumed.pixel_um
    assert unknown.pixel_um[2] is not None


def test_tiles_count_and_regions_as_far_as_they_are_divided_whole() -> None:
    size = image(1, 1, 1, 8192, 8192)
    network = {"method": "onnx", "tile_px": None, "tile_planes": None}
    small, large = (
        memory("segment-objects", size, 2, model=network | {"tile_px": px}) for px in (256, 2048)
    )
    assert large > small

    def features(size: ImageSize, **told: Any) -> dict[str, float]:
        work = Work("segment-objects", size, 2, defaults("segment-objects") | told)
        found = memory_features(work)
        if "whole" in found:  # it comes after the blocks, in the memory that they had
            found["whole"] += found["worked"]
        return found

    assert features(size, whole_mib=1000)["whole"] == 1000
    unheld = Work("segment-objects", size, 2, defaults("segment-objects") | {"whole_mib": 64})
    assert memory_features(unheld)["whole"] == 0
    plane, volume = image(3, 2, 1, 1024, 1024), image(1, 1, 8, 1024, 1024)
    assert features(plane)["whole"] == PIXEL_BYTES + BOX_BYTES
    assert features(volume)["whole"] == 8 * (PIXEL_BYTES + BOX_BYTES)
    assert features(volume, mode="plane")["whole"] == PIXEL_BYTES + BOX_BYTES
    assert "whole" not in features(plane, seeds={"method": "none"}, edge_fraction=None)
    volumes = network | {"tile_planes": 16, "tile_px": 128}
    # Two threads have a tile each.
    assert features(volume, model=volumes)["tile"] == 2 * 16 * 128**2 * 4 / 2**20


def test_larger_chunks_and_shards_and_halved_planes_count() -> None:
    size, volume = image(1, 1, 1, 8192, 8192), image(1, 1, 32, 4096, 4096)
    for option in ({"chunk_px": 2048}, {"shard_mib": 64, "chunk_px": 1024}):
        assert memory("convert-image", size, 2, **option) > memory("convert-image", size, 2)
    halved, kept = (memory("convert-image", volume, 2, halve_z=halve) for halve in (True, False))
    assert halved > kept
    work = Work("filter-image", volume, 2, smoothing())
    small, large = (
        predict(read_model(), replace(work, chunk_px=px)).memory_bytes for px in (64, 2048)
    )
    assert large > small


def test_the_part_that_is_written_at_once_is_that_of_the_writer() -> None:
    shape, options = (1, 1, 16, 2048, 2048), ZarrOptions(halve_z=True)
    layouts = plan_levels(shape, 2, options, rgb=False)
    told = {"halve_z": True}
    found = memory_features(Work("convert-image", image(*shape), 1, told))["part"]
    pixels = np.zeros(shape, np.uint16)
    writers = tuple(
        LevelWriter(Path(), layout, "TCZYX", bytes, version="0.5", sharded=True)
        for layout in layouts
    )
    chain = Chain(five(pixels), writers, halve)
    (first, *_) = chain.parts(next(iter(chain.blocks())))
    assert found == math.prod(region_shape(first)) * 2 / 2**20


def test_an_unknown_size_step_or_method_gets_the_generous_values() -> None:
    model = read_model()
    assert sized(model, None) == model.assumed
    size = image(1, 1, 1, 512, 512, dtype="bool")
    known = predict(model, Work("filter-image", size, 1, smoothing(1, "median")))
    for step, params in (("invent-image", {}), ("filter-image", smoothing(1, "new"))):
        assert predict(model, Work(step, size, 1, params)).memory_bytes > known.memory_bytes


def test_methods_are_found_in_parameters() -> None:
    expected = ("seeds.method=combined", "threshold.method=li")
    assert variants(defaults("segment-objects")) == expected
    assert variants(defaults("project-image") | {"method": "std"}) == ("method=std",)


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
