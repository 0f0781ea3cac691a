"""Runs of the analysis on varied images, for the resource model to be fitted to and held against.

Each case is a results folder of its own with one image, whose size, data type, number of time
points and channels, threads and methods are drawn from those below.
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

from parfocal.models.sheet import Row, write_sheet

__all__ = ["Case", "cases", "run_case"]

SHAPES = (
    (1, 1, 1, 256, 256),
    (1, 3, 1, 512, 512),
    (1, 1, 1, 1024, 1024),
    (1, 2, 1, 2048, 2048),
    (1, 1, 1, 4096, 4096),
    (1, 1, 1, 8192, 8192),
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
SEGMENTATIONS: tuple[dict[str, Any], ...] = (
    {},
    {"seeds": {"method": "none"}, "threshold": {"method": "otsu"}},
    {"threshold": {"method": "local", "offset": 30}},
    {"seeds": {"method": "distance"}},
)


@dataclass(frozen=True)
class Case:
    """One image and how it is worked on."""

    name: str
    shape: tuple[int, int, int, int, int]
    dtype: str
    threads: int
    params: dict[str, dict[str, Any]] = field(default_factory=dict)


def cases() -> Iterator[Case]:
    """Yield the cases: every shape in every data type, the rest taken in turns."""
    # The numbers of these have no divisor in common, so that each meets each.
    turns = zip(
        itertools.product(DTYPES, SHAPES),
        itertools.cycle(THREADS),
        itertools.cycle(FILTERS),
        itertools.cycle(SEGMENTATIONS),
        strict=False,
    )
    for number, ((dtype, shape), threads, chosen, segmentation) in enumerate(turns):
        params = {
            "filter-image": {"filter": chosen},
            "segment-objects": segmentation,
        }
        yield Case(f"case_{number:02}", shape, dtype, threads, params)


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
    write_sheet(sheet, [Row(image_id=case.name, source=str(source))])
    for step, after in COMMANDS.items():
        command = [sys.executable, "-m", "parfocal", step, "--sheet", sheet, "--batch", "0"]
        command += ["--batch-size", "1", "--folder", results, "--threads", case.threads]
        command += ["--params", json.dumps(case.params.get(step, {}))]
        for name in after:
            command += ["--after", results / "outcomes" / name / "0.json"]
        command += ["--outcome", results / "outcomes" / step.replace("-", "_") / "0.json"]
        subprocess.run([str(part) for part in command], check=True, stderr=subprocess.DEVNULL)
    source.unlink()
    return results
