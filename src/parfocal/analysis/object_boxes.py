"""Sizes and bounding boxes of the objects of a label image, block by block."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.groups import Grouping
from parfocal.analysis.label_blocks import find_runs
from parfocal.analysis.tiling import Tiling
from parfocal.core.blocks import Readable, Region
from parfocal.core.scheduler import Scheduler

__all__ = ["ObjectBoxes", "find_boxes"]

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class ObjectBoxes:
    """The objects of a label image.

    Attributes
    ----------
    tiling : Tiling
        The tiles that each of its volumes was worked on in.
    sizes : (N,) int64
        Number of pixels of each object; 0 for a number without one.
    lower, upper : (N, 3) int64
        First pixel along Z, Y, X, and the one after the last.
    """

    tiling: Tiling
    sizes: Integers
    lower: Integers
    upper: Integers


@dataclass(frozen=True)
class _Block:
    """What one block holds of the objects in it."""

    labels: Readable

    def __call__(self, region: Region) -> tuple[Integers, Integers, Integers, Integers]:
        runs = find_runs(self.labels.read(region)[0, 0], region)
        if not runs.ids.size:
            none = np.zeros((0, 3), np.int64)
            return runs.ids, runs.ids, none, none
        grouping = Grouping(runs.ids)
        ends = (runs.z + 1, runs.y + 1, runs.x + runs.lengths)
        lower = [grouping.reduce(np.minimum, part) for part in (runs.z, runs.y, runs.x)]
        upper = [grouping.reduce(np.maximum, part) for part in ends]
        sizes = grouping.reduce(np.add, runs.lengths)
        return grouping.ids, sizes, np.stack(lower, axis=1), np.stack(upper, axis=1)


def find_boxes(
    labels: Readable,
    number: int,
    tiling: Tiling,
    regions: Iterable[Region],
    scheduler: Scheduler,
) -> ObjectBoxes:
    """Find sizes and bounding boxes.

    Parameters
    ----------
    labels : Readable
        (T, 1, Z, Y, X); 0 is background.
    number : int
        The largest label.
    tiling : Tiling
        The tiles that each of its volumes was worked on in.
    regions : iterable of Region
        Blocks of one time point each that cover all.
    scheduler : Scheduler
        Where blocks are worked on.
    """
    sizes = np.zeros(number, np.int64)
    lower = np.full((number, 3), np.iinfo(np.int64).max)
    upper = np.zeros((number, 3), np.int64)
    for ids, pixels, low, high in scheduler.map(_Block(labels), regions):
        sizes[ids - 1] += pixels
        lower[ids - 1] = np.minimum(lower[ids - 1], low)
        upper[ids - 1] = np.maximum(upper[ids - 1], high)
    return ObjectBoxes(tiling, sizes, lower, upper)
