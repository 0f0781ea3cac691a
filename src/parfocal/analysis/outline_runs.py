"""Rows of pixels of objects, in the order in which they are drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.exact import Integers

__all__ = ["OutlineRuns"]


@dataclass(frozen=True)
class OutlineRuns:
    """Pixels of one object that follow each other along X, at one time point.

    Attributes
    ----------
    ids : (N,) int64
        Label of each run.
    z, y : (N,) int64
        Its plane and row.
    start, stop : (N,) int64
        Its first pixel, and the one after the last.
    """

    ids: Integers
    z: Integers
    y: Integers
    start: Integers
    stop: Integers

    @classmethod
    def none(cls) -> Self:
        """Return no runs."""
        nothing = np.zeros(0, np.int64)
        return cls(nothing, nothing, nothing, nothing, nothing)

    @classmethod
    def join(cls, parts: Sequence[OutlineRuns]) -> Self:
        """Return the runs of all parts in their order."""
        columns = zip(*((p.ids, p.z, p.y, p.start, p.stop) for p in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns))

    def where(self, chosen: NDArray[np.bool_ | np.intp] | slice) -> OutlineRuns:
        """Return the runs that a mask, a list of places or a slice names."""
        columns = (self.ids, self.z, self.y, self.start, self.stop)
        return OutlineRuns(*(column[chosen] for column in columns))

    def batches(self, most: int) -> Iterator[OutlineRuns]:
        """Divide sorted runs into parts of whole objects, of `most` runs or one object each."""
        ends = np.append(self._changes(self.ids)[1:], self.ids.size)
        done = 0
        while done < self.ids.size:
            next_one = int(np.searchsorted(ends, done, "right"))
            fitting = int(np.searchsorted(ends, done + most, "right")) - 1
            stop = int(ends[max(fitting, next_one)])
            yield self.where(slice(done, stop))
            done = stop

    @property
    def pieces(self) -> NDArray[np.intp]:
        """Where, in sorted runs, the first run of each object in each plane stands."""
        return self._changes(self.ids, self.z)

    @staticmethod
    def _changes(*columns: Integers) -> NDArray[np.intp]:
        differs = np.ones(columns[0].size, bool)
        differs[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
        return np.flatnonzero(differs)
