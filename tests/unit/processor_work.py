"""All that computes, done in a process of its own; prints the digests of what came out.

``python processor_work.py FOLDER``; the images are in ``FOLDER/images``.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from parfocal.analysis import elementary
from parfocal.analysis.gaussian import gaussian_weights
from parfocal.analysis.plane_parts import plane_part
from parfocal.analysis.shape import axis_lengths, crofton_weights, orientation_deg
from parfocal.core.digest import digest_path
from parfocal.core.step import Context, Step
from parfocal.steps import (
    assess_quality,
    correct_illumination,
    filter_image,
    measure_objects,
    preview_image,
    project_image,
    segment_objects,
)

__all__ = ["digests"]

FILTERS = (
    {"method": "gaussian", "sigma_px": 1.3},
    {"method": "median"},
    {"method": "difference_of_gaussians", "narrow_px": 1, "wide_px": 2.5},
    {"method": "subtract_mean", "sigma_px": 8},
    {"method": "top_hat", "radius_px": 4},
)
SEGMENTATIONS: tuple[dict[str, Any], ...] = (
    {"smoothing_px": 1.3},
    {"threshold": {"method": "local", "sigma_px": 6}},
    {"threshold": {"method": "otsu"}, "seeds": {"method": "distance"}},
)


def _of(*arrays: Any) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


def _functions() -> Iterator[tuple[str, str]]:
    """Yield what is computed of many numbers, of which one may be rounded otherwise."""
    rng = np.random.default_rng(3)
    y, x, size = np.ldexp(rng.random((3, 50_000)), rng.integers(-9, 30, (3, 50_000)))
    turned = rng.random((5_000, 3, 3)) - 0.5
    moments = sum(turned[:, :, [axis]] * turned[:, :, [axis]].transpose(0, 2, 1) for axis in (0, 1))
    yield "arc_tangent", _of(elementary.arc_tangent(y, x - 9))
    yield "cube_root", _of(elementary.cube_root(size))
    yield "logarithm", _of([elementary.logarithm(value) for value in size[:5_000]])
    yield "weights", _of(*[gaussian_weights(sigma) for sigma in np.linspace(0.2, 60, 200)])
    yield "axes", _of(axis_lengths(moments), axis_lengths(moments[:, :2, :2]))
    yield "angles", _of(orientation_deg(moments[:, :2, :2]))
    spacings = [(1.0, 0.5), (2.0, 0.3, 0.3), (0.7, 0.2, 0.25)]
    yield "crofton", _of(*[crofton_weights(spacing) for spacing in spacings])
    plane = rng.integers(0, 999, (384, 384)).astype(np.uint16)
    for tile in (16, 32, 64, 128):
        part = plane_part(plane, (slice(None), slice(None)), tile, None)
        yield f"power {tile}", _of(sorted(map(str, part.sums.items())))


def _run(step: Step, folder: Path, inputs: dict[str, Path], **params: Any) -> dict[str, Path]:
    outputs = {port.name: folder / f"{port.name}.ome.zarr" for port in step.outputs}
    folder.mkdir(parents=True)
    step.run(inputs, outputs, step.params(**params), Context(scratch=folder))
    return outputs


def _steps(folder: Path, image: Path) -> Iterator[tuple[str, str]]:
    """Yield the digest of each output of all steps, in all methods that compute."""
    runs: list[tuple[Step, dict[str, Any]]] = [
        (filter_image.STEP, {"filter": chosen}) for chosen in FILTERS
    ]
    runs += [(project_image.STEP, {"method": method}) for method in ("mean", "std")]
    runs.append((correct_illumination.STEP, {"illumination": {"method": "estimate"}}))
    runs.append((assess_quality.STEP, {}))
    runs += [(preview_image.STEP, {"edge_px": edge}) for edge in (32, 300)]
    for number, (step, params) in enumerate(runs):
        outputs = _run(step, folder / f"{number}", {"image": image}, **params)
        for name, path in outputs.items():
            yield f"{step.name} {params} {name}", digest_path(path)
    for number, params in enumerate(SEGMENTATIONS):
        there = folder / f"objects {number}"
        labels = _run(segment_objects.STEP, there, {"image": image}, **params)["labels"]
        yield f"segment-objects {params}", digest_path(labels)
        inputs = {"image": image, "labels": labels}
        for name, path in _run(measure_objects.STEP, there / "measured", inputs).items():
            yield f"measure-objects {params} {name}", digest_path(path)


def digests(folder: Path) -> dict[str, str]:
    """Return the digests of all that computes, and under ``witness`` that of what may differ."""
    found = dict(_functions())
    for image in sorted((folder / "images").iterdir()):
        for name, digest in _steps(folder / image.stem, image):
            found[f"{image.stem}: {name}"] = digest
    pixels = np.random.default_rng(0).random((64, 64), np.float32)
    cv2.setUseOptimized(onoff=True)
    # Of each library one, since on some processors some of them do not differ.
    smoothed = cv2.GaussianBlur(pixels, (0, 0), 2)
    found["witness"] = _of(smoothed, np.exp(pixels), np.sin(pixels), pixels @ pixels)
    return found


if __name__ == "__main__":
    json.dump(digests(Path(sys.argv[1])), sys.stdout)
