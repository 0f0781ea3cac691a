"""Open a finished OME-Zarr as viewers do: by ome-zarr-py, the reference implementation.

napari's plugin and others read by it. What it does not show, a person would not see.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from parfocal.errors import VerificationError

__all__ = ["check_opens"]


def check_opens(path: Path, label_name: str) -> str:
    """Make sure that ome-zarr-py finds the image, all its levels, and its label image.

    Parameters
    ----------
    path : Path
        An OME-Zarr of one image.
    label_name : str
        Name of a label image of it.

    Returns
    -------
    str
        Name and version of the library.

    Raises
    ------
    VerificationError
        If it does not find them, or not with sizes that fit.
    """
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    from parfocal.images.libraries import library

    name = library("ome-zarr", "ome-zarr-py")
    location = parse_url(path)
    nodes = list(Reader(location)()) if location else []
    images = [node for node in nodes if node.data and Path(node.zarr.path) == path.resolve()]
    labels = [node for node in nodes if node.data and Path(node.zarr.path).name == label_name]
    found = f"{len(images)} images and {len(labels)} label images of that name"
    if len(images) != 1 or len(labels) != 1:
        what = f"{name} does not find the image and its label image"
        expected = f"one image, and one label image {label_name}"
        raise VerificationError(what, where=path, expected=expected, found=found)
    sizes = [_sizes_without_channels(images[0]), _sizes_without_channels(labels[0])]
    if sizes[0] != sizes[1]:
        what = f"{name} finds levels of other sizes in the label image"
        raise VerificationError(what, where=path, expected=sizes[0], found=sizes[1])
    return name


def _sizes_without_channels(node: Any) -> list[tuple[int, ...]]:
    axes = [axis["name"] for axis in node.metadata["axes"]]
    kept = [index for index, axis in enumerate(axes) if axis != "c"]
    return [tuple(level.shape[index] for index in kept) for level in node.data]
