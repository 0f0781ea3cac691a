"""The label image of objects that components were divided in, numbered where it is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.scratch_rows import Column
from parfocal.core.blocks import Readable, Region, Shape

__all__ = ["ObjectLabels", "turn"]

_NEAR = 1 << 20
"""Numbers that are read together."""


@dataclass(frozen=True)
class ObjectLabels:
    """The label image, numbered where it is read.

    Attributes
    ----------
    labels : Readable
        Places in `numbers`, counted down from the largest number of their data type.
    numbers : (objects + 1,) Column
        Number of each object.
    """

    labels: Readable
    numbers: Column

    @property
    def shape5(self) -> Shape:
        """Size along T, C, Z, Y, X, with one channel."""
        return self.labels.shape5

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the labels."""
        dtype: np.dtype[Any] = self.numbers.rows.dtype
        return dtype

    def read(self, region: Region) -> NDArray[Any]:
        """Return the labels of `region` (T, C, Z, Y, X)."""
        places = turn(self.labels.read(region))
        result = np.empty(places.shape, self.dtype)
        planes = (array.reshape(-1, *array.shape[3:]) for array in (result, places))
        for target, plane in zip(*planes, strict=True):  # to keep intermediate arrays small
            plane[plane >= len(self.numbers)] = 0
            target[...] = self._numbers_of(plane)
        return result

    def _numbers_of(self, places: NDArray[Any]) -> NDArray[Any]:
        """Return the numbers of places, which lie near to each other as a rule."""
        least = int(places.min(where=places > 0, initial=len(self.numbers)))
        most = int(places.max(initial=0))
        if most - least < _NEAR:
            table = np.append(self.numbers[least : most + 1], self.dtype.type(0))
            return table[np.where(places > 0, places.astype(np.int64) - least, -1)]
        names, inverse = np.unique(places, return_inverse=True)
        numbers: NDArray[Any] = self.numbers[names.astype(np.int64)]
        return numbers[inverse].reshape(places.shape)


def turn(stored: NDArray[Any]) -> NDArray[Any]:
    """Turn what is stored of an object into its place, and its place into what is stored.

    Objects are counted down from the top of the range, components up from its bottom.
    """
    places: NDArray[Any] = np.negative(stored)
    return places
