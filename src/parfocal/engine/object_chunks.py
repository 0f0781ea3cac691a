"""The files of a label image that hold an object."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from parfocal.engine.changed_zarr import DAMAGE
from parfocal.engine.measured_object import MeasuredObject
from parfocal.errors import InputError, VerificationError

__all__ = ["chunks_of"]

_REMEDY = "'parfocal verify-run' tells whether it was changed."


def chunks_of(labels: Path, wanted: MeasuredObject) -> tuple[str, ...]:
    """Return the files of the full resolution of a label image that hold an object.

    Parameters
    ----------
    labels : Path
        An OME-Zarr.
    wanted : MeasuredObject
        It is looked for where its bounding box is.

    Raises
    ------
    InputError
        If the label image cannot be read.
    VerificationError
        If the object is not in it.
    """
    import zarr

    try:
        group = zarr.open_group(labels, mode="r")
        attributes: Any = group.attrs.asdict()
        multiscale = attributes.get("ome", attributes)["multiscales"][0]
        path = multiscale["datasets"][0]["path"]
        axes = [axis["name"].lower() for axis in multiscale["axes"]]
        array: Any = group[path]
        found = tuple(f"{path}/{key}" for key in _holding(array, axes, wanted))
    except DAMAGE as error:
        what = "The label image cannot be read"
        raise InputError(what, where=labels, found=error, remedy=_REMEDY) from error
    except VerificationError as error:
        error.where = labels
        raise
    if not found:
        what = "The object is not in the label image"
        told = f"label {wanted.label}, t {wanted.t}"
        raise VerificationError(what, where=labels, expected=told, remedy=_REMEDY)
    return found


def _holding(array: Any, axes: list[str], wanted: MeasuredObject) -> Iterator[str]:
    """Yield the keys of the chunks, or shards, that hold the label, one in memory at a time."""
    lengths = dict.fromkeys("tzyx", 1) | dict(zip(axes, array.shape, strict=True))
    inside_of = {axis: _bounds(axis, wanted, length) for axis, length in lengths.items()}
    bounds = [inside_of[axis] for axis in axes]
    sizes = array.shards or array.chunks
    places = [
        range(first // size, -(-end // size))
        for (first, end), size in zip(bounds, sizes, strict=True)
    ]
    for place in itertools.product(*places):
        inside = tuple(
            slice(max(first, at * size), min(end, (at + 1) * size))
            for at, size, (first, end) in zip(place, sizes, bounds, strict=True)
        )
        if np.any(array[inside] == wanted.label):
            yield array.metadata.encode_chunk_key(place)


def _bounds(axis: str, wanted: MeasuredObject, length: int) -> tuple[int, int]:
    first, end = wanted.bounds(axis) or (0, length)
    if end > length:
        what = "The object lies outside of the label image"
        expected, found = f"{axis} below {length}", f"{axis} {first} to {end - 1}"
        raise VerificationError(what, expected=expected, found=found, remedy=_REMEDY)
    return first, end
