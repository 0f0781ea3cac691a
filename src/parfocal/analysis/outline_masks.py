"""Masks of objects as OMERO keeps them: a bounding box and its bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from parfocal.analysis.exact import Integers
from parfocal.analysis.outline_runs import OutlineRuns
from parfocal.errors import InputError

__all__ = ["MaskPlane", "draw_masks"]

_BATCH_PIXELS = 1 << 24
_MOST_PIXELS = 1 << 28


@dataclass(frozen=True)
class MaskPlane:
    """The pixels of an object in one plane.

    Attributes
    ----------
    z : int
        The plane.
    y, x, height, width : int
        The bounding box in pixels.
    bits : bytes
        One bit a pixel of the box, row after row without padding between them, the most
        significant bit of each byte first; the last byte is filled up with zeros.
    """

    z: int
    y: int
    x: int
    height: int
    width: int
    bits: bytes


@dataclass(frozen=True)
class _Boxes:
    """The bounding box of each piece, and which runs are its."""

    first: Integers
    z: Integers
    y: Integers
    x: Integers
    height: Integers
    width: Integers
    runs: Integers


def draw_masks(runs: OutlineRuns) -> Iterator[MaskPlane]:
    """Yield one mask for each object in each plane, in the order of the runs.

    Parameters
    ----------
    runs : OutlineRuns
        One or more, sorted by object, Z, Y and X.

    Raises
    ------
    InputError
        If the bounding box of an object has more than 2**28 pixels.
    """
    boxes = _boxes(runs)
    sizes = boxes.height * boxes.width
    if sizes.max() > _MOST_PIXELS:
        what = "An object is too large for a mask in OMERO"
        label = runs.ids[boxes.first[np.argmax(sizes)]]
        expected = f"bounding boxes of up to {_MOST_PIXELS} pixels"
        remedy = "Draw polygons, or write label images."
        raise InputError(
            what, where=f"label {label}", expected=expected, found=sizes.max(), remedy=remedy
        )
    ends = np.cumsum(sizes)
    start = 0
    while start < sizes.size:
        before = ends[start] - sizes[start]
        stop = max(start + 1, int(np.searchsorted(ends, before + _BATCH_PIXELS, "right")))
        yield from _paint(runs, boxes, slice(start, stop))
        start = stop


def _boxes(runs: OutlineRuns) -> _Boxes:
    first = runs.pieces
    last = np.append(first[1:], runs.ids.size)
    left = np.minimum.reduceat(runs.start, first)
    return _Boxes(
        first=first,
        z=runs.z[first],
        y=runs.y[first],
        x=left,
        height=runs.y[last - 1] + 1 - runs.y[first],
        width=np.maximum.reduceat(runs.stop, first) - left,
        runs=last - first,
    )


def _paint(runs: OutlineRuns, boxes: _Boxes, chosen: slice) -> Iterator[MaskPlane]:
    """Paint some masks side by side, each from the border of a byte on."""
    height, width = boxes.height[chosen], boxes.width[chosen]
    n_bytes = -(-height * width // 8)
    offsets = np.cumsum(n_bytes) - n_bytes
    counts = boxes.runs[chosen]
    own = slice(boxes.first[chosen][0], boxes.first[chosen][0] + counts.sum())
    row = runs.y[own] - np.repeat(boxes.y[chosen], counts)
    corner = np.repeat(offsets * 8 - boxes.x[chosen], counts) + row * np.repeat(width, counts)
    # A run switches the pixels on where it starts and off where it ends. Where it fills its row
    # and another follows, both fall together.
    switches = np.zeros(int(n_bytes.sum()) * 8 + 1, np.int8)
    np.add.at(switches, corner + runs.start[own], 1)
    np.add.at(switches, corner + runs.stop[own], -1)
    bits = np.packbits(np.cumsum(switches[:-1], dtype=np.int8).view(bool)).tobytes()
    numbers = (boxes.z, boxes.y, boxes.x, boxes.height, boxes.width)
    columns = [*(column[chosen] for column in numbers), offsets, offsets + n_bytes]
    for z, y, x, tall, wide, begin, end in np.stack(columns, axis=1).tolist():
        yield MaskPlane(z, y, x, tall, wide, bits[begin:end])
