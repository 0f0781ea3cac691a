"""Every step that works by blocks gives the same bytes over a real dask scheduler as in threads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memory_images import save
from parfocal.compute import Compute
from parfocal.compute.dask_scheduler import DaskScheduler
from parfocal.core.digest import digest_path
from parfocal.core.step import Context, Step
from parfocal.images import ZarrOptions
from parfocal.models.compute import LocalProcesses
from parfocal.steps import (
    assess_quality,
    convert_image,
    correct_illumination,
    filter_image,
    measure_objects,
    project_image,
    score_objects,
    segment_objects,
)

TINY = ZarrOptions(chunk_px=32, shard_mib=0)
NAMED = {"certificate"}
"""Outputs that name the folder of the others."""

WORK: dict[str, tuple[Step, dict[str, str], dict[str, Any]]] = {
    "convert": (
        convert_image.STEP,
        {"source": "image"},
        {"chunk_px": 16, "shard_mib": 0, "second_reader": "none"},
    ),
    "filter": (filter_image.STEP, {"image": "image"}, {}),
    "project": (project_image.STEP, {"image": "image"}, {"method": "median"}),
    "correct": (
        correct_illumination.STEP,
        {"image": "image"},
        {"illumination": {"method": "estimate", "sigma_px": 5}},
    ),
    "segment": (segment_objects.STEP, {"image": "image"}, {}),
    "measure": (measure_objects.STEP, {"image": "image", "labels": "labels"}, {}),
    "assess": (assess_quality.STEP, {"image": "image"}, {}),
    "score": (score_objects.STEP, {"labels": "labels", "ground_truth": "labels"}, {}),
}


@pytest.fixture(scope="module")
def scheduler() -> Iterator[DaskScheduler]:
    with Compute(LocalProcesses(engine="processes", workers=2), 1) as compute:
        opened = compute.scheduler()
        assert opened is not None
        yield opened


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An image of discs that touch each other and the borders of chunks, and its objects."""
    folder = tmp_path_factory.mktemp("inputs")
    rng = np.random.default_rng(11)
    pixels = rng.poisson(50, (2, 2, 3, 130, 140)).astype(np.uint16)
    y, x = np.mgrid[-9:10, -9:10]
    disc = 300 * (y**2 + x**2 <= 81).astype(np.uint16)
    for top, left in rng.integers(0, 110, (25, 2)):
        pixels[..., top : top + 19, left : left + 19] += disc
    sizes = {"z_um": 1.5, "y_um": 0.5, "x_um": 0.5}
    image = save(folder / "image.ome.zarr", pixels, "TCZYX", options=TINY, **sizes)
    run(segment_objects.STEP, folder / "found", {"image": image}, {}, None)
    return {"image": image, "labels": folder / "found" / "labels.ome.zarr"}


def run(
    step: Step,
    folder: Path,
    inputs: dict[str, Path],
    values: dict[str, Any],
    distributed: DaskScheduler | None,
) -> tuple[dict[str, str], dict[str, Any], list[str]]:
    """Run a step, and return the digests of its outputs, what it counted, and its warnings."""
    (folder / "scratch").mkdir(parents=True)
    context = Context(scratch=folder / "scratch", threads=2, distributed=distributed)
    outputs = {port.name: folder / f"{port.name}.ome.zarr" for port in step.outputs}
    step.run(inputs, outputs, step.params.model_validate(values), context)
    assert not list((folder / "scratch").iterdir())
    digests = {n: digest_path(path) for n, path in outputs.items() if n not in NAMED}
    return digests, context.details, context.warnings


@pytest.mark.parametrize("name", WORK)
def test_a_step_gives_the_bytes_of_threads(
    name: str, paths: dict[str, Path], scheduler: DaskScheduler, tmp_path: Path
) -> None:
    step, ports, values = WORK[name]
    inputs = {port: paths[path] for port, path in ports.items()}
    expected = run(step, tmp_path / "threads", inputs, values, None)
    before_s = scheduler.cpu_s
    assert run(step, tmp_path / "processes", inputs, values, scheduler) == expected
    assert scheduler.cpu_s > before_s


def test_the_objects_are_many_and_lie_across_blocks(paths: dict[str, Path]) -> None:
    from parfocal.core.blocks import whole
    from parfocal.images import open_image

    with open_image(paths["labels"]) as labels:
        pixels = labels.read(whole(labels.shape5))[0, 0, 1]
    assert len(np.unique(pixels)) > 10
    assert np.any((pixels[:, 31] != 0) & (pixels[:, 31] == pixels[:, 32]))
