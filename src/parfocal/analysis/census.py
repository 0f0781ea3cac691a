"""Sizes, first pixels and boxes of objects, summed up from the blocks of tiles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.groups import Grouping
from parfocal.analysis.label_blocks import find_runs
from parfocal.analysis.ranking import rank, reorder
from parfocal.analysis.scratch_rows import Rows, parts
from parfocal.analysis.tiling import Box

__all__ = ["Census", "Keep"]

Integers = NDArray[np.int64]

Keep = Callable[[Integers], NDArray[np.bool_]]
"""``keep(sizes)`` tells by their numbers of pixels (N,) which objects are kept."""

_FAR = np.iinfo(np.int64).max
_NOTHING = np.array([0, _FAR, _FAR, _FAR, _FAR, 0, 0, 0])
_COLUMNS = 10
"""Size, number of the first pixel, the first one along Z, Y, X, the one after the last; then what
was expected of the size, and whether the object was made of pieces."""


class Census:
    """All objects, in rows that lie in a file.

    Parameters
    ----------
    shape : (Z, Y, X)
        Size of the volume.
    folder : Path or None
        Where they lie; see `Rows`.
    """

    def __init__(self, shape: tuple[int, int, int], folder: Path | None) -> None:
        self._shape, self._folder = shape, folder
        self._rows = Rows(_COLUMNS, folder)

    def begin(self, expected: Integers) -> None:
        """Add objects without a pixel so far; the first of all is the background.

        Parameters
        ----------
        expected : (N, 2) int64
            Their expected sizes, -1 for unknown, and whether they are made of pieces.
        """
        nothing = np.tile(_NOTHING, (len(expected), 1))
        self._rows.append(np.hstack([nothing, expected]))

    def add(self, box: Box, objects: Integers, labels: NDArray[np.int32]) -> None:
        """Count a block.

        Parameters
        ----------
        box : Box
            Where it lies.
        objects : (N,) int64
            The objects in it, in their order.
        labels : (Z, Y, X) int32
            Places in `objects`.
        """
        runs = find_runs(labels, (slice(0, 1), slice(0, 1), *box))
        if not runs.ids.size:
            return
        grouping = Grouping(runs.ids)
        starts = np.stack([runs.z, runs.y, runs.x])
        first = np.ravel_multi_index(tuple(starts), self._shape)
        ends = (runs.z + 1, runs.y + 1, runs.x + runs.lengths)
        least = [grouping.reduce(np.minimum, part) for part in (first, *starts)]
        most = [grouping.reduce(np.maximum, part) for part in ends]
        present = objects[grouping.ids]
        some = self._rows.take(present)
        some[:, 0] += grouping.reduce(np.add, runs.lengths)
        some[:, 1:5] = np.minimum(some[:, 1:5], np.stack(least, axis=1))
        some[:, 5:8] = np.maximum(some[:, 5:8], np.stack(most, axis=1))
        self._rows.put(present, some)

    def number(self, keep: Keep | None) -> tuple[Rows, int]:
        """Give the objects that have pixels and are kept numbers, in the order of first pixels.

        Returns
        -------
        numbers : Rows
            The number of each, from 1; 0 where it is not kept.
        count : int
            How many are kept.
        """
        rows, firsts, count = self._rows.column(slice(0, 2)), Rows(1, self._folder), 0
        for part in parts(len(rows)):
            pixels, first = rows[part].T
            kept = pixels > 0
            if keep is not None:
                kept[kept] = keep(pixels[kept])
            firsts.append(np.where(kept, first, -1))
            count += int(kept.sum())
        return rank(firsts.column(0), self._folder), count

    def ordered(self, numbers: Rows, count: int) -> Rows:
        """Return the rows of those that are kept in the order of their numbers.

        The first pixel has three columns there, along Z, Y, X.
        """
        rows, ordered = self._rows.column(slice(None)), Rows(_COLUMNS + 2, self._folder)
        pieces = (self._with_places(rows[part]) for part in parts(len(rows)))
        reorder(pieces, numbers.column(0), ordered, count)
        return ordered

    def _with_places(self, rows: Integers) -> Integers:
        _, height, width = self._shape
        lines, x = np.divmod(rows[:, 1], width)
        return np.column_stack([rows[:, 0], *np.divmod(lines, height), x, rows[:, 2:]])
