"""The test data of the tools for objects: label images, ground truth, and a model.

All fit the image of `galaxy_samples.cells`, or are wrong in a way of their own.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from memory_images import save
from parfocal.images import ZarrOptions

__all__ = ["OBJECT_FILES", "OBJECT_FOLDERS", "USED_FOR_OBJECTS", "discs"]

CENTRES = [(row, column) for row in (8, 22) for column in (7, 20, 33)]
CELLS = "cells.ome.zarr.zip"
USED_FOR_OBJECTS: Mapping[str, tuple[str, ...]] = {
    "segment_objects": (CELLS, "bare.ome.zarr.zip", "blur.onnx"),
    "measure_objects": (CELLS, "cut-labels.ome.zarr.zip", "labels.ome.zarr.zip"),
    "assemble_image": (CELLS, "cut-labels.ome.zarr.zip", "labels.ome.zarr.zip"),
    "preview_image": (
        CELLS,
        "cut-labels.ome.zarr.zip",
        "labels.ome.zarr.zip",
        "stack.ome.zarr.zip",
    ),
    "score_objects": ("labels.ome.zarr.zip", "small-truth.tiff", "truth.tiff"),
}


def discs(radius_px: float) -> NDArray[np.uint32]:
    """Return the six discs as labels 1 to 6 (Y, X), as `galaxy_samples.cells` has them for 4."""
    y, x = np.mgrid[:32, :40]
    labels = np.zeros((32, 40), np.uint32)
    for number, (row, column) in enumerate(CENTRES, 1):
        labels[(y - row) ** 2 + (x - column) ** 2 <= radius_px**2] = number
    return labels


def bare_zarr(folder: Path) -> Path:
    """Write a Zarr group without multiscales."""
    path = folder / "bare.ome.zarr"
    path.mkdir()
    (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    return path


def disc_labels(folder: Path) -> Path:
    """Write the label image of `discs`, as large as they are (C left out)."""
    return _labels(folder / "labels.ome.zarr", discs(4))


def cut_labels(folder: Path) -> Path:
    """Write a label image that lacks a row of pixels."""
    return _labels(folder / "cut-labels.ome.zarr", discs(4)[:-1])


def _labels(path: Path, labels: NDArray[np.uint32]) -> Path:
    sizes = {"y_um": 0.5, "x_um": 0.5}
    return save(path, labels, "YX", labels=True, options=ZarrOptions(codec="none"), **sizes)


def truth_tiff() -> bytes:
    """Return ground truth whose discs are a little smaller, and which has no sixth."""
    truth = discs(3.2)
    truth[truth == 6] = 0
    return _tiff(truth)


def small_truth_tiff() -> bytes:
    """Return ground truth of a part of the image."""
    return _tiff(discs(4)[:16])


def _tiff(labels: NDArray[np.uint32]) -> bytes:
    file = io.BytesIO()
    pixels = labels.astype(np.uint16)
    tifffile.imwrite(file, pixels, metadata={"axes": "YX"}, software=False, compression="deflate")
    return file.getvalue()


def blur_model() -> bytes:
    """Return a network that gives the sigmoid of box means of one channel."""
    from onnx_networks import blur

    with tempfile.TemporaryDirectory() as folder:
        return blur(Path(folder) / "blur.onnx").read_bytes()


OBJECT_FOLDERS: Mapping[str, Callable[[Path], Path]] = {
    "bare.ome.zarr.zip": bare_zarr,
    "cut-labels.ome.zarr.zip": cut_labels,
    "labels.ome.zarr.zip": disc_labels,
}
"""What writes the folders that are zipped."""

OBJECT_FILES: Mapping[str, Callable[[], bytes]] = {
    "blur.onnx": blur_model,
    "small-truth.tiff": small_truth_tiff,
    "truth.tiff": truth_tiff,
}
"""What makes the other files."""
