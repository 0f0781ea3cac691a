"""The labels of one tile by themselves, and where those of two tiles are the same object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.tiling import Box, Tiling, inside, sizes

__all__ = ["Infer", "TileLabels", "TileWork", "first_places", "matches"]

Infer = Callable[[Box], NDArray[np.integer[Any]]]
"""``infer(box)`` returns the labels (Z, Y, X) of what is seen in a box; 0 is background."""

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class TileLabels:
    """The objects that have a pixel in the block of a tile, numbered from 1 by first pixel.

    Attributes
    ----------
    labels : (Z, Y, X) int32
        All that the tile sees; without a pixel where there is no object.
    counts : (N,) int64
        Number of pixels of each.
    complete : (N,) bool
        Whether it touches no face beyond which the volume goes on.
    anchored : (N,) bool
        Whether its first pixel in the order Z, Y, X lies in the block.
    spills : (N,) bool
        Whether it has pixels outside the block.
    """

    labels: NDArray[np.int32]
    counts: Integers
    complete: Flags
    anchored: Flags
    spills: Flags

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.counts)


@dataclass(frozen=True)
class TileWork:
    """What is done to each tile: called with its number, it returns its labels.

    Attributes
    ----------
    infer : callable
        Finds the objects.
    tiling : Tiling
        The grid.
    """

    infer: Infer
    tiling: Tiling

    def __call__(self, tile: int) -> TileLabels:
        """Return the objects of a tile.

        Raises
        ------
        ValueError
            If the labels have another shape than the box, or are negative.
        """
        outer = self.tiling.outer(tile)
        found = self.infer(outer)
        if found.shape != sizes(outer) or found.min() < 0:
            msg = f"labels {found.shape} from {found.min()} do not fit the box {sizes(outer)}"
            raise ValueError(msg)
        core = inside(self.tiling.inner(tile), outer)
        if not found[core].any():
            nothing = np.empty(0, bool)
            empty = np.empty((0, 0, 0), np.int32)
            return TileLabels(empty, np.empty(0, np.int64), nothing, nothing, nothing)
        labels, count = _numbered(found, core)
        whole = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        within = np.bincount(labels[core].ravel(), minlength=count + 1)[1:]
        first = np.unravel_index(first_places(labels, count), labels.shape)
        anchored = np.ones(count, bool)
        for places, part in zip(first, core, strict=True):
            anchored &= (places >= part.start) & (places < part.stop)
        complete = ~_cut(labels, count, outer, self.tiling.shape)
        return TileLabels(labels, whole, complete, anchored, whole > within)


def _numbered(found: NDArray[np.integer[Any]], core: Box) -> tuple[NDArray[np.int32], int]:
    """Drop objects without a pixel in `core`, and number the others by their first pixel."""
    if found.max() < found.size:
        dense, count = found, int(found.max())
    else:
        names, dense = np.unique(found, return_inverse=True)
        dense = dense.reshape(found.shape) + int(names[0] > 0)
        count = int(dense.max())
    wanted = np.zeros(count + 1, bool)
    wanted[dense[core].ravel()] = True
    wanted[0] = False
    chosen = np.flatnonzero(wanted)
    first = first_places(dense, count)[chosen - 1]
    numbers = np.zeros(count + 1, np.int32)
    numbers[chosen[np.argsort(first)]] = np.arange(1, len(chosen) + 1)
    return numbers[dense], len(chosen)


def first_places(labels: NDArray[np.integer[Any]], count: int) -> Integers:
    """Return where each label from 1 to `count` first occurs in the flattened array.

    Returns
    -------
    (count,) int64
        The number of pixels for a label that does not occur.
    """
    flat = labels.ravel()
    places = np.flatnonzero(flat)[::-1]
    first = np.full(count + 1, flat.size, np.int64)
    first[flat[places]] = places  # of equal indices the last one stays
    return first[1:]


def _cut(labels: NDArray[np.int32], count: int, outer: Box, shape: tuple[int, ...]) -> Flags:
    """Tell which objects touch a face of the box beyond which the volume goes on."""
    cut = np.zeros(count + 1, bool)
    for axis, (part, size) in enumerate(zip(outer, shape, strict=True)):
        if part.start > 0:
            cut[labels.take(0, axis)] = True
        if part.stop < size:
            cut[labels.take(-1, axis)] = True
    return cut[1:]


def matches(
    one: Flags,
    other: Flags,
    overlap: tuple[NDArray[np.int32], NDArray[np.int32]],
    min_iou: float,
) -> tuple[Integers, Integers]:
    """Find which objects of two tiles are the same.

    They are if their intersection over union is at least `min_iou` in what both tiles see; or
    if one is cut by its tile and most of what the other tile sees of it lies in an object that
    is complete there.

    Parameters
    ----------
    one, other : (N,) bool
        Which objects of each tile are complete.
    overlap : pair of (Z, Y, X) int32
        The labels of both in the box that both see.
    min_iou : float
        Least intersection over union.

    Returns
    -------
    pair of (M,) int64
        Numbers, from 0, of matching objects.
    """
    if not (len(one) and len(other)):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    a, b, shared = _shared(*overlap, len(other) + 1)
    of_a = np.bincount(overlap[0].ravel(), minlength=len(one) + 1)[a]
    of_b = np.bincount(overlap[1].ravel(), minlength=len(other) + 1)[b]
    a, b = a - 1, b - 1
    same = shared >= min_iou * (of_a + of_b - shared)
    same |= ~one[a] & other[b] & (2 * shared > of_a)
    same |= one[a] & ~other[b] & (2 * shared > of_b)
    return a[same], b[same]


def _shared(
    one: NDArray[np.int32], other: NDArray[np.int32], width: int
) -> tuple[Integers, Integers, Integers]:
    """Return the pairs of labels that meet in a pixel, and in how many."""
    both = (one > 0) & (other > 0)
    names = one[both].astype(np.int64) * width + other[both]
    names, shared = np.unique(names, return_counts=True)
    return names // width, names % width, shared
