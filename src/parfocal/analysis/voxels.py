"""The pixels of one connected region as a sorted list, which is short where its box is empty."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Voxels"]

CHUNK = 1 << 18
"""How many pixels are worked on at once, to keep intermediate arrays small."""

Places = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Voxels:
    """Some pixels of a box.

    Attributes
    ----------
    places : (N,) int32 or int64
        Where each lies in a box with one more row along each axis but the first, so that the
        neighbours of a place beyond the end of an axis belong to no pixel; sorted.
    shape : tuple of int
        The box, (Z, Y, X) or (Y, X).
    """

    places: Places
    shape: tuple[int, ...]

    @classmethod
    def of_indices(
        cls, indices: tuple[NDArray[np.integer[Any]], ...], shape: tuple[int, ...]
    ) -> Voxels:
        """List pixels by their indices along each axis, which come in the order of the axes."""
        padded = _padded(shape)
        dtype = np.int32 if 2 * math.prod(padded) < np.iinfo(np.int32).max else np.int64
        return cls(np.ravel_multi_index(indices, padded).astype(dtype), shape)

    def __len__(self) -> int:
        """Return the number of pixels."""
        return len(self.places)

    def indices(
        self, part: slice | NDArray[np.int64] = slice(None)
    ) -> tuple[NDArray[np.int64], ...]:
        """Return the indices of some of the pixels, one array (N,) an axis."""
        return np.unravel_index(self.places[part], _padded(self.shape))

    def layers(self, start: int, stop: int) -> slice:
        """Return which pixels have an index from `start` to `stop` along the first axis."""
        step = math.prod(_padded(self.shape)[1:])
        first, last = np.searchsorted(self.places, [start * step, stop * step])
        return slice(int(first), int(last))

    def keep(self, chosen: NDArray[np.bool_]) -> Voxels:
        """Return those that are `chosen`, a mask (N,)."""
        return Voxels(self.places[chosen], self.shape)

    def touching(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield pairs of pixels that share a face, as two arrays of numbers of pixels.

        A pixel occurs at most once in each array.
        """
        for step in np.cumprod((1, *_padded(self.shape)[:0:-1])).tolist():
            for start in range(0, len(self), CHUNK):
                wanted = self.places[start : start + CHUNK] + self.places.dtype.type(step)
                found = start + np.searchsorted(self.places[start:], wanted)
                found[found == len(self)] = 0
                hit = self.places[found] == wanted
                yield start + np.flatnonzero(hit), found[hit]

    def count_neighbours(self) -> NDArray[np.uint8]:
        """Return how many pixels share a face with each one."""
        number = np.zeros(len(self), np.uint8)
        for one, other in self.touching():
            number[one] += np.uint8(1)
            number[other] += np.uint8(1)
        return number


def _padded(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[0], *(size + 1 for size in shape[1:])
