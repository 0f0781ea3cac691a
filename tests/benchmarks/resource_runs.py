"""Runs of the analysis on varied images, for the resource model to be fitted to and held against.

Each case is a results folder of its own with one image, whose size, data type, number of time
points and channels, threads, methods and engine are drawn from those below.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tifffile
from numpy.typing import NDArray
from tests.benchmarks.stack import planes
from tests.onnx_networks import blur

from parfocal.models.sheet import Row, write_sheet

__all__ = ["Case", "cases", "run_case"]

SHAPES = (
    (1, 1, 1, 256, 256),
    (1, 3, 1, 512, 512),
    (1, 1, 1, 1024, 1024),
    (1, 2, 1, 2048, 2048),
    (1, 1, 1, 4096, 4096),
    (1, 1, 1, 6144, 6144),
    (1, 1, 16, 256, 256),
    (1, 2, 16, 512, 512),
    (1, 1, 40, 512, 512),
    (1, 2, 8, 1024, 1024),
    (1, 1, 24, 768, 768),
    (1, 1, 8, 2048, 2048),
    (8, 1, 1, 512, 512),
    (4, 2, 1, 1024, 1024),
    (3, 1, 8, 512, 512),
    (6, 1, 1, 2048, 2048),
)
"""T, C, Z, Y, X."""
DTYPES = ("uint8", "uint16", "float32")
THREADS = (1, 2, 4, 2, 1, 4, 2)
FILTERS: tuple[dict[str, Any], ...] = (
    {"method": "gaussian"},
    {"method": "median"},
    {"method": "difference_of_gaussians", "wide_px": 3},
    {"method": "subtract_mean", "sigma_px": 8},
    {"method": "top_hat", "radius_px": 8},
)
COMPONENTS: dict[str, Any] = {"seeds": {"method": "none"}, "threshold": {"method": "otsu"}}
LOCAL: dict[str, Any] = {"threshold": {"method": "local", "offset": 30}}
DISTANCE: dict[str, Any] = {"seeds": {"method": "distance"}}
NETWORK: dict[str, Any] = {"model": {"method": "onnx", "normalisation": "percentile"}}
SEGMENTATIONS = (
    *({}, COMPONENTS, NETWORK, LOCAL, {}, DISTANCE),
    *(NETWORK, {}, COMPONENTS, LOCAL, NETWORK),
)
PROJECTIONS = ("max", "mean", "std", "median", "min")
IN_PROCESSES = (
    ((1, 1, 1, 256, 256), "uint8", 2),
    ((1, 2, 1, 2048, 2048), "uint16", 2),
    ((1, 1, 16, 256, 256), "float32", 3),
    ((1, 1, 40, 512, 512), "uint16", 3),
    ((4, 2, 1, 1024, 1024), "uint8", 2),
    ((3, 1, 8, 512, 512), "float32", 2),
    ((1, 1, 8, 2048, 2048), "uint16", 2),
)
"""Shape, data type and number of the images that are worked on in processes besides."""


@dataclass(frozen=True)
class Case:
    """One image and how it is worked on."""

    name: str
    shape: tuple[int, int, int, int, int]
    dtype: str
    threads: int
    params: dict[str, dict[str, Any]] = field(default_factory=dict)
    engine: str = "threads"


def cases() -> Iterator[Case]:
    """Yield the cases: every shape in every data type, and some in processes.

    The rest is taken in turns, the numbers of which have hardly a divisor in common.
    """
    every = [
        (shape, dtype, threads, "threads")
        for (dtype, shape), threads in zip(
            itertools.product(DTYPES, SHAPES), itertools.cycle(THREADS), strict=False
        )
    ]
    every += [(*case, "processes") for case in IN_PROCESSES]
    turns = zip(
        every,
        itertools.cycle(FILTERS),
        itertools.cycle(SEGMENTATIONS),
        itertools.cycle(PROJECTIONS),
        strict=False,
    )
    for number, (case, chosen, segmentation, projection) in enumerate(turns):
        shape, dtype, threads, engine = case
        params: dict[str, dict[str, Any]] = {
            "filter-image": {"filter": chosen},
            "segment-objects": segmentation,
            "project-image": {"method": projection},
            "correct-illumination": {
                "illumination": {"method": "estimate", "percentile": 50 if number % 3 else None}
            },
        }
        yield Case(f"case_{number:02}", shape, dtype, threads, params, engine)


def _pixels(case: Case, seed: int) -> Iterator[NDArray[Any]]:
    """Yield the planes (Y, X) of all time points and channels."""
    t, c, z, y, x = case.shape
    for time in range(t):
        for plane in itertools.islice(planes(z, y, x, seed + time), c * z):
            yield (plane // 16 if case.dtype == "uint8" else plane).astype(case.dtype)


COMMANDS = {
    "fetch-image": (),
    "convert-image": ("fetch_image",),
    "filter-image": ("convert_image",),
    "segment-objects": ("convert_image",),
    "measure-objects": ("segment_objects",),
    "assess-quality": ("convert_image",),
    "project-image": ("convert_image",),
    "correct-illumination": ("convert_image",),
    "assemble-image": ("segment_objects",),
    "score-objects": ("segment_objects",),
}


def run_case(case: Case, folder: Path, seed: int = 0) -> Path:
    """Make the image of a case and do all steps on it; return the results folder."""
    folder.mkdir(parents=True)
    source = folder / "image.ome.tif"
    tifffile.imwrite(
        source,
        _pixels(case, seed),
        shape=case.shape,
        dtype=case.dtype,
        metadata={"axes": "TCZYX", "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.2},
        photometric="minisblack",
        bigtiff=True,
    )
    sheet, results = folder / "samples.tsv", folder / "results"
    truth = results / "images" / case.name / "labels" / "nuclei.ome.zarr"  # its own labels
    write_sheet(sheet, [Row(image_id=case.name, source=str(source), ground_truth=str(truth))])
    network = blur(folder / "network.onnx")
    for step, after in COMMANDS.items():
        params = case.params.get(step, {})
        if "model" in params:
            params = params | {"model": params["model"] | {"path": str(network)}}
        command = [sys.executable, "-m", "parfocal", step, "--sheet", sheet, "--batch", "0"]
        command += ["--batch-size", "1", "--folder", results, "--threads", case.threads]
        command += ["--params", json.dumps(params)]
        command += ["--compute", json.dumps({"engine": case.engine})]
        for name in after:
            command += ["--after", results / "outcomes" / name / "0.json"]
        command += ["--outcome", results / "outcomes" / step.replace("-", "_") / "0.json"]
        subprocess.run([str(part) for part in command], check=True, stderr=subprocess.DEVNULL)
    source.unlink()
    return results
