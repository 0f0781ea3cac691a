"""Sizes and bounding boxes of objects, to compare those at borders with others."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.tiling import Tiling
from parfocal.analysis.voxels import CHUNK, Voxels
from parfocal.core.blocks import Shape

__all__ = ["BoxTable", "ObjectBoxes", "find_boxes"]

Integers = NDArray[np.int64]

_COLUMNS = 8
"""Time point, size, the first pixel along Z, Y, X, and the one after the last."""


@dataclass(frozen=True)
class ObjectBoxes:
    """The objects of a volume, or of a plane.

    Attributes
    ----------
    tiling : Tiling
        The blocks or tiles that it was worked on in.
    sizes : (N,) int64
        Number of pixels of each object.
    lower, upper : (N, 3) int64
        First pixel along Z, Y, X, and the one after the last.
    """

    tiling: Tiling
    sizes: Integers
    lower: Integers
    upper: Integers


class BoxTable:
    """The sizes and bounding boxes of all objects of an image: 64 bytes for each.

    Parameters
    ----------
    shape5 : (T, C, Z, Y, X)
        Size of the image.
    block : (1, 1, Z, Y, X)
        Size of the blocks that it is worked on in.
    planar : bool
        Whether planes are segmented each by itself.
    """

    def __init__(self, shape5: Shape, block: Shape, *, planar: bool) -> None:
        self._blocks = Tiling(shape5[2:], block[2:], (0, 0, 0))
        self._planar = planar
        self._rows = array("q")

    def add(self, time: int, sizes: Integers, lower: Integers, upper: Integers) -> None:
        """Add objects of one time point.

        Parameters
        ----------
        time : int
            The time point.
        sizes : (N,) int64
            Number of pixels of each object.
        lower, upper : (N, 3) int64
            First pixel along Z, Y, X, and the one after the last.
        """
        times = np.full(len(sizes), time)
        rows = np.column_stack([times, sizes, lower, upper]).astype(np.int64)
        self._rows.frombytes(rows.tobytes())

    @property
    def pixels(self) -> int:
        """How many pixels all objects have together."""
        return int(np.frombuffer(self._rows, np.int64)[1::_COLUMNS].sum())

    def volumes(self, tiling: Tiling | None = None) -> list[ObjectBoxes]:
        """Return the objects of each time point, or of each plane, that has some.

        Parameters
        ----------
        tiling : Tiling, optional
            The tiles whose borders are asked about; by default the blocks.
        """
        tiling = tiling or self._blocks
        rows = np.frombuffer(self._rows, np.int64).reshape(-1, _COLUMNS)
        volumes = rows[:, 0] * tiling.shape[0] + (rows[:, 2] if self._planar else 0)
        order = np.argsort(volumes, kind="stable")
        starts = np.flatnonzero(np.diff(volumes[order])) + 1
        return [
            ObjectBoxes(tiling, rows[own, 1], rows[own, 2:5], rows[own, 5:])
            for own in np.split(order, starts)
            if len(own)
        ]


def find_boxes(
    voxels: Voxels, objects: NDArray[np.integer[Any]], number: int
) -> tuple[Integers, Integers, Integers]:
    """Find sizes and bounding boxes of objects that consist of listed pixels.

    Parameters
    ----------
    voxels : Voxels
        The pixels; without Z they are those of the first plane.
    objects : (N,) integer
        The object of each, from 1 to `number`; 0 for none.
    number : int
        How many there are.

    Returns
    -------
    sizes : (number,) int64
        Number of pixels.
    lower, upper : (number, 3) int64
        First pixel along Z, Y, X, and the one after the last.
    """
    lower = np.full((3, number + 1), np.iinfo(np.int64).max)
    upper = np.zeros((3, number + 1), np.int64)
    for start in range(0, len(voxels), CHUNK):
        part = slice(start, start + CHUNK)
        indices = voxels.indices(part)
        if len(indices) == 2:
            indices = (np.zeros_like(indices[0]), *indices)
        for least, most, index in zip(lower, upper, indices, strict=True):
            np.minimum.at(least, objects[part], index)
            np.maximum.at(most, objects[part], index + 1)
    sizes = np.bincount(objects, minlength=number + 1)
    return sizes[1:], lower[:, 1:].T, upper[:, 1:].T
