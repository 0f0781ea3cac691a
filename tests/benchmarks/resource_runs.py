"""Runs of the analysis on varied images, for the resource model to be fitted to and held against.

Each case is a results folder of its own with one image. What it is like and how it is worked on
is drawn from the values below, each of which occurs in so many cases, and with no regard to the
others. After them come some in which each step has the image that the one before it made, and some
volumes that one region fills.
"""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tifffile
from numpy.typing import NDArray
from tests.benchmarks.stack import planes
from tests.onnx_networks import blur

from parfocal.engine.image_chain import CHAIN, chain_images
from parfocal.models.sheet import Row, write_sheet

__all__ = ["Case", "cases", "run_case"]

Value = TypeVar("Value")
Shape = tuple[int, int, int, int, int]

CASES = 68
IN_PROCESSES = 9
"""How many cases there are, and that each ninth is worked on in processes."""

SHAPES = (
    (1, 1, 1, 256, 256),
    (1, 3, 1, 512, 512),
    (1, 1, 1, 1024, 1024),
    (1, 2, 1, 2048, 2048),
    (1, 1, 1, 3072, 3072),
    (1, 1, 1, 4096, 4096),
    (1, 1, 16, 256, 256),
    (1, 2, 16, 512, 512),
    (1, 1, 40, 512, 512),
    (1, 1, 12, 1024, 1024),
    (1, 1, 24, 640, 768),
    (1, 1, 4, 2048, 2048),
    (8, 1, 1, 512, 512),
    (4, 2, 1, 1024, 1024),
    (3, 1, 8, 512, 512),
    (3, 1, 1, 2048, 2048),
)
"""T, C, Z, Y, X."""
DTYPES = ("uint8", "uint16", "float32")
THREADS = (1, 2, 4)
TISSUE = (False, False, False, False, True)
"""Whether one large region is bright, instead of nuclei only."""
LAYOUTS: tuple[dict[str, Any], ...] = (
    *({}, {}, {}, {"halve_z": True}, {"shard_mib": 4}),
    *({"chunk_px": 128}, {"chunk_px": 256}, {"chunk_px": 1024}, {"chunk_px": 2048}),
)
LAYOUTS_SEED = 217
"""With this one, chunks and halved planes meet images that are large enough for them to matter."""
FILTERS: tuple[dict[str, Any], ...] = (
    *({"method": "gaussian", "sigma_px": sigma} for sigma in (1, 4, 12)),
    *({"method": "median", "radius_px": radius} for radius in (1, 1, 2)),
    *({"method": "difference_of_gaussians", "wide_px": sigma} for sigma in (3, 8, 20)),
    *({"method": "subtract_mean", "sigma_px": sigma} for sigma in (8, 25, 50)),
    *({"method": "top_hat", "radius_px": radius} for radius in (4, 8, 25)),
)
THRESHOLDS: tuple[dict[str, Any], ...] = (
    *({"method": method} for method in ("li", "otsu", "triangle", "isodata")),
    {"method": "manual"},
    *({"method": "local", "offset": 30, "sigma_px": sigma} for sigma in (8, 15, 40)),
)
SEEDS = ("none", "distance", "intensity", "combined", "combined")
WHOLE_MIB = (1024, 1024, 256, 64)
NETWORKS: tuple[dict[str, Any] | None, ...] = (
    *(None, None, None, None, None, None, None, None),
    *({}, {"tile_px": 256}, {"tile_px": 1024}, {"tile_px": 2048}),
)
PROJECTIONS = ("max", "mean", "std", "median", "min", "sum")
PROFILES: tuple[dict[str, Any], ...] = ({"percentile": 50}, {}, {"sigma_px": 20})

_DIFFERENCE = {"filter": {"method": "difference_of_gaussians", "wide_px": 6}}
_GAUSSIAN = {"filter": {"method": "gaussian", "sigma_px": 2}}
CHAINS: tuple[tuple[Shape, str, int, dict[str, dict[str, Any]]], ...] = (
    ((1, 1, 40, 512, 512), "uint8", 4, {"filter-image": _DIFFERENCE}),
    ((1, 1, 1, 2048, 2048), "uint16", 2, {"filter-image": _DIFFERENCE}),
    (
        *((1, 2, 16, 512, 512), "uint16", 2),
        {"project-image": {"method": "sum"}, "filter-image": _GAUSSIAN},
    ),
    (
        *((1, 1, 8, 1024, 1024), "uint8", 2),
        {"project-image": {"method": "mean", "as_float": True}, "filter-image": _DIFFERENCE},
    ),
    (
        *((3, 1, 1, 1024, 1024), "uint16", 1),
        {
            "correct-illumination": {"illumination": {"method": "estimate"}},
            "filter-image": _DIFFERENCE,
        },
    ),
    ((1, 1, 40, 1024, 1024), "uint8", 8, {"filter-image": _DIFFERENCE}),
)
"""Shape, data type, threads and the steps that make images."""


@dataclass(frozen=True)
class Case:
    """One image and how it is worked on."""

    name: str
    shape: Shape
    dtype: str
    threads: int
    tissue: bool
    params: dict[str, dict[str, Any]] = field(default_factory=dict)
    engine: str = "threads"
    left_out: tuple[str, ...] = ()
    chained: bool = False


def cases() -> Iterator[Case]:
    """Yield the cases; always the same."""
    factors = (SHAPES, DTYPES, THREADS, TISSUE, FILTERS, PROJECTIONS, PROFILES)
    drawn = zip(
        *(_draw(values, CASES, seed) for seed, values in enumerate(factors)),
        _draw(LAYOUTS, CASES, LAYOUTS_SEED),
        _segmentations(CASES),
        strict=True,
    )
    for number, values in enumerate(drawn):
        shape, dtype, threads, tissue, chosen, projection, profile, layout, segmentation = values
        yield Case(
            name=f"case_{number:02}",
            shape=shape,
            dtype=dtype,
            threads=threads,
            tissue=tissue,
            params={
                "convert-image": layout,
                "filter-image": {"filter": chosen},
                "segment-objects": segmentation | _manual(segmentation, dtype),
                "project-image": {"method": projection},
                "correct-illumination": {"illumination": {"method": "estimate"} | profile},
            },
            engine="threads" if (number + 1) % IN_PROCESSES else "processes",
            left_out=_left_out(number // 4),
        )
    yield from (*_chained(), *_dense())


def _chained() -> Iterator[Case]:
    """Yield cases in which steps hand their images on."""
    for number, (shape, dtype, threads, params) in enumerate(CHAINS):
        left_out = tuple({"project-image", "correct-illumination", "filter-image"} - set(params))
        left_out += ("assemble-image", "score-objects")
        name = f"chained_{number}"
        yield Case(name, shape, dtype, threads, False, params, left_out=left_out, chained=True)


def _dense() -> Iterator[Case]:
    """Yield volumes of which one region fills one half, or all."""
    left_out = tuple(set(COMMANDS) - {"fetch-image", "convert-image", "segment-objects"})
    half, full = {"method": "otsu"}, {"method": "manual", "value": 1.0}
    for number, (shape, threshold) in enumerate(
        (((1, 1, 40, 512, 512), half), ((1, 1, 24, 512, 512), full))
    ):
        params = {"segment-objects": {"threshold": threshold, "seeds": {"method": "combined"}}}
        yield Case(f"dense_{number}", shape, "uint16", 1, True, params, left_out=left_out)


def _left_out(round_: int) -> tuple[str, ...]:
    """Return the steps that four cases leave out, so that they take less time."""
    return (SELDOM if round_ % 3 else ()) + (PLAIN if round_ % 2 else ())


def _draw(values: Sequence[Value], number: int, seed: int) -> list[Value]:
    """Return each of the values about equally often, by chance in order, always the same."""
    found = list(itertools.islice(itertools.cycle(values), number))
    random.Random(seed).shuffle(found)
    return found


def _segmentations(number: int) -> Iterator[dict[str, Any]]:
    """Yield parameters of segment-objects."""
    for threshold, seeds, whole_mib, network in zip(
        _draw(THRESHOLDS, number, 100),
        _draw(SEEDS, number, 101),
        _draw(WHOLE_MIB, number, 102),
        _draw(NETWORKS, number, 103),
        strict=True,
    ):
        found = {"seeds": {"method": seeds}, "whole_mib": whole_mib}
        if network is None:
            yield found | {"threshold": threshold}
        else:
            model = {"method": "onnx", "normalisation": "percentile"} | network
            yield found | {"model": model}


def _manual(segmentation: dict[str, Any], dtype: str) -> dict[str, Any]:
    """Return the value of a manual threshold, where there is one."""
    if segmentation.get("threshold") != {"method": "manual"}:
        return {}
    return {"threshold": {"method": "manual", "value": 25.0 if dtype == "uint8" else 400.0}}


def _pixels(case: Case, seed: int) -> Iterator[NDArray[Any]]:
    """Yield the planes (Y, X) of all time points and channels."""
    t, c, z, y, x = case.shape
    rows, columns = np.ogrid[-1 : 1 : y * 1j, -1 : 1 : x * 1j]
    tissue = ((rows**2 + columns**2 < 0.7) * (600 if case.tissue else 0)).astype(np.uint16)
    for time in range(t):
        for plane in itertools.islice(planes(z, y, x, seed + time), c * z):
            bright = plane + tissue
            yield (bright // 16 if case.dtype == "uint8" else bright).astype(case.dtype)


COMMANDS = {
    "fetch-image": (),
    "convert-image": ("fetch_image",),
    "correct-illumination": ("convert_image",),
    "project-image": ("convert_image",),
    "filter-image": ("convert_image",),
    "segment-objects": ("convert_image",),
    "measure-objects": ("segment_objects",),
    "assess-quality": ("convert_image",),
    "assemble-image": ("segment_objects",),
    "score-objects": ("segment_objects",),
}
SELDOM = ("correct-illumination", "assemble-image", "score-objects")
"""Steps that one third of the cases do."""
PLAIN = ("measure-objects", "assess-quality")
"""Steps without methods, which half of the cases do."""


def run_case(case: Case, folder: Path, seed: int = 0) -> Path:
    """Make the image of a case and do its steps on it; return the results folder."""
    folder.mkdir(parents=True)
    source = folder / "image.ome.tif"
    tifffile.imwrite(
        source,
        _pixels(case, seed),
        shape=case.shape,
        dtype=case.dtype,
        metadata={
            "axes": "TCZYX",
            "PhysicalSizeX": 0.2,
            "PhysicalSizeY": 0.2,
            "PhysicalSizeZ": 0.6,
        },
        photometric="minisblack",
        bigtiff=True,
    )
    sheet, results = folder / "samples.tsv", folder / "results"
    truth = results / "images" / case.name / "labels" / "nuclei.ome.zarr"  # its own labels
    write_sheet(sheet, [Row(image_id=case.name, source=str(source), ground_truth=str(truth))])
    network = blur(folder / "network.onnx")
    taken = _taken(case)
    for step, after in COMMANDS.items():
        if step in case.left_out:
            continue
        params = case.params.get(step, {})
        if "model" in params:
            params = params | {"model": params["model"] | {"path": str(network)}}
        command = [sys.executable, "-m", "parfocal", step, "--sheet", sheet, "--batch", "0"]
        command += ["--batch-size", "1", "--folder", results, "--threads", case.threads]
        command += ["--params", json.dumps(params)]
        command += ["--compute", json.dumps({"engine": case.engine})]
        if step in taken:
            command += ["--path", f"image={taken[step]}"]
        for name in after:
            command += ["--after", results / "outcomes" / name / "0.json"]
        command += ["--outcome", results / "outcomes" / step.replace("-", "_") / "0.json"]
        subprocess.run([str(part) for part in command], check=True, stderr=subprocess.DEVNULL)
    source.unlink()
    return results


def _taken(case: Case) -> dict[str, str]:
    """Return where the image lies that each step of a chained case has, as in a workflow."""
    chosen = [rule for rule in CHAIN if rule.replace("_", "-") not in case.left_out]
    images = chain_images(chosen).image if case.chained else {}
    return {rule.replace("_", "-"): place for rule, place in images.items()}
