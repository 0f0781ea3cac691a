"""Sizes and bounding boxes of objects, to compare those at borders with others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.ranking import rank, reorder
from parfocal.analysis.scratch_rows import Column, Rows, parts
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
    sizes : (N,) Column
        Number of pixels of each object.
    lower, upper : (N, 3) Column
        First pixel along Z, Y, X, and the one after the last.
    """

    tiling: Tiling
    sizes: Column
    lower: Column
    upper: Column


class BoxTable:
    """The sizes and bounding boxes of all objects of an image: 64 bytes for each, in a file.

    Parameters
    ----------
    shape5 : (T, C, Z, Y, X)
        Size of the image.
    block : (1, 1, Z, Y, X)
        Size of the blocks that it is worked on in.
    planar : bool
        Whether planes are segmented each by itself.
    folder : Path, optional
        Where it lies; see `Rows`.
    """

    def __init__(
        self, shape5: Shape, block: Shape, *, planar: bool, folder: Path | None = None
    ) -> None:
        self._blocks = Tiling(shape5[2:], block[2:], (0, 0, 0))
        self._planar = planar
        self.folder = folder
        self.pixels = 0
        """How many pixels all objects have together."""
        self._rows = Rows(_COLUMNS, folder)
        self._volumes = Counter[int]()
        self._last, self._in_order = 0, True

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
        rows = np.column_stack([np.full(len(sizes), time), sizes, lower, upper])
        self._rows.append(rows)
        self.pixels += int(sizes.sum())
        numbers = self._volumes_of(rows)
        self._in_order &= bool((np.diff(numbers, prepend=self._last) >= 0).all())
        self._last = int(numbers[-1]) if len(numbers) else self._last
        found, times = np.unique(numbers, return_counts=True)
        self._volumes.update(dict(zip(found.tolist(), times.tolist(), strict=True)))

    def _volumes_of(self, rows: Integers) -> Integers:
        """Return the number of each object's time point, or plane."""
        numbers: Integers = rows[:, 0] * self._blocks.shape[0] + (rows[:, 2] if self._planar else 0)
        return numbers

    def volumes(self, tiling: Tiling | None = None) -> list[ObjectBoxes]:
        """Return the objects of each time point, or of each plane, that has some.

        Parameters
        ----------
        tiling : Tiling, optional
            The tiles whose borders are asked about; by default the blocks.
        """
        if not self._in_order:
            self._rows, self._in_order = self._ordered(), True
        volumes, stop = [], 0
        for _, count in sorted(self._volumes.items()):
            part = slice(stop, stop := stop + count)
            columns = (self._rows.column(one, part) for one in (1, slice(2, 5), slice(5, 8)))
            volumes.append(ObjectBoxes(tiling or self._blocks, *columns))
        return volumes

    def _ordered(self) -> Rows:
        """Return the rows in the order of volumes, and else in that in which they were added."""
        rows, keys = self._rows.column(slice(None)), Rows(1, self.folder)
        for part in parts(len(rows)):
            keys.append(self._volumes_of(rows[part]) * len(rows) + np.arange(part.start, part.stop))
        ordered, ranks = Rows(_COLUMNS, self.folder), rank(keys.column(0), self.folder)
        pieces = (rows[part] for part in parts(len(rows)))
        reorder(pieces, ranks.column(0), ordered, len(rows))
        return ordered


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
