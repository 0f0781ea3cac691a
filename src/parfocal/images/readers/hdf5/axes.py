"""What the axes of a dataset of an HDF5 file are, where it says so."""

from __future__ import annotations

import json
from typing import Any

from parfocal.errors import InputError
from parfocal.images.readers.dimensions import positive

__all__ = ["dataset_axes", "dataset_sizes"]

_WORDS = {"TIME": "T", "CHANNEL": "C"}


def dataset_axes(dataset: Any, where: str, stated: str | None) -> str:
    """Return the axes of a dataset, in its order, of TCZYX.

    The user's word counts; else vigra's ``axistags`` (as ilastik writes them), else the labels of
    the dimensions. A dataset of two dimensions without either is YX.

    Raises
    ------
    InputError
        If it does not say what they are, or they have no meaning here.
    """
    rank = len(dataset.shape)
    axes = stated or _tagged(dataset) or _labelled(dataset) or ("YX" if rank == 2 else "")
    if not axes:
        what = "The dataset does not say what its axes are"
        found = f"{rank} axes of {dataset.shape}"
        remedy = f"State them in their order, such as --set axes={'TCZYX'[-rank:]}."
        raise InputError(what, where=where, found=found, remedy=remedy)
    known = set(axes) <= set("TCZYX") and {"Y", "X"} <= set(axes)
    if len(axes) != rank or not known or len(set(axes)) != rank:
        what = "The axes of the dataset are not supported"
        expected = f"{rank} different letters of TCZYX, with Y and X"
        remedy = f"State what the axes of {dataset.shape} are, such as --set axes=TZYX."
        raise InputError(what, where=where, expected=expected, found=axes, remedy=remedy)
    return axes


def _tagged(dataset: Any) -> str:
    tags = dataset.attrs.get("axistags")
    if tags is None:
        return ""
    text = tags.decode() if isinstance(tags, bytes) else str(tags)
    return "".join(str(axis["key"]).upper() for axis in json.loads(text)["axes"])


def _labelled(dataset: Any) -> str:
    labels = [dimension.label.strip().upper() for dimension in dataset.dims]
    return "".join(_WORDS.get(label, label) for label in labels) if all(labels) else ""


def dataset_sizes(dataset: Any) -> dict[str, float]:
    """Return the sizes of voxels, which some programs write as ``element_size_um`` (Z, Y, X)."""
    sizes = dataset.attrs.get("element_size_um")
    if sizes is None or len(sizes) != 3:
        return {}
    found = zip("zyx", (positive(float(size)) for size in sizes), strict=True)
    return {f"{axis}_um": size for axis, size in found if size is not None}
