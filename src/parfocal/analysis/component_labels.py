"""The label image of components that are objects as they are, numbered where it is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.components import Components
from parfocal.analysis.object_boxes import BoxTable
from parfocal.analysis.objects import SizeLimits
from parfocal.analysis.ranking import rank
from parfocal.analysis.scratch_rows import Column, Rows, parts
from parfocal.core.blocks import Readable, Region, Shape, iter_blocks, region_shape

__all__ = ["ComponentLabels", "ComponentTable"]


@dataclass
class ComponentTable:
    """The components found so far, each an object.

    Attributes
    ----------
    labels : Readable
        What `label_components` wrote, for all time points.
    block : (1, 1, Z, Y, X)
        Size of its blocks.
    boxes : BoxTable
        Sizes and bounding boxes of the objects. Rows of this table lie beside its.
    too_small, too_large : int
        Numbers of components that were dropped.
    large_components : list of int
        Empty: no component is divided, so that none needs much memory.
    """

    labels: Readable
    block: Shape
    boxes: BoxTable
    too_small: int = 0
    too_large: int = 0
    large_components: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin with no component."""
        self._times = self._objects = 0
        self._numbers, self._starts = (Rows(1, self.boxes.folder) for _ in range(2))

    def __len__(self) -> int:
        """Return the number of objects."""
        return self._objects

    def add(self, components: Components, limits: SizeLimits) -> None:
        """Add the components of the next time point, numbered in the order of first pixels."""
        firsts, kept = Rows(1, self.boxes.folder), 0
        firsts.append(np.array([-1]))
        for _, some in components.pieces():
            small, large = limits.drop(some.counts[1:])
            own = 1 + np.flatnonzero(~small & ~large)
            self.boxes.add(self._times, some.counts[own], some.lower[own], some.upper[own])
            firsts.append(np.where(small | large, -1, some.firsts[1:]))
            self.too_small += int(small.sum())
            self.too_large += int(large.sum())
            kept += len(own)
        ranks = rank(firsts.column(0), self.boxes.folder).column(0)
        for part in parts(len(components.starts) - 1):
            self._starts.append(components.starts[part] + len(self._numbers))
        for part in parts(int(components.starts[-1]) + 1):
            own = ranks[components.joined.numbers(part.start, part.stop)]
            self._numbers.append(np.where(own > 0, own + self._objects, 0))
        self._objects += kept
        self._times += 1

    def image(self, dtype: np.dtype[Any]) -> ComponentLabels:
        """Return the label image, with objects numbered by T and first pixel in Z, Y, X."""
        tables = (self._numbers.column(0), self._starts.column(0))
        return ComponentLabels(self.labels, self.block, *tables, dtype)


@dataclass(frozen=True)
class ComponentLabels:
    """The label image.

    Attributes
    ----------
    labels : Readable
        Labels that count from 1 in each block; 0 is background.
    block : (1, 1, Z, Y, X)
        Size of its blocks.
    numbers : (N,) Column
        Number of the object, or 0, of each label of each block.
    starts : (blocks,) Column
        Label n of block i has place ``starts[i] + n`` in `numbers`, blocks in the order of
        `iter_blocks`.
    dtype : dtype
        Data type of the labels.
    """

    labels: Readable
    block: Shape
    numbers: Column
    starts: Column
    dtype: np.dtype[Any]

    @property
    def shape5(self) -> Shape:
        """Size along T, C, Z, Y, X, with one channel."""
        return self.labels.shape5

    def read(self, region: Region) -> NDArray[Any]:
        """Return the labels of `region` (T, C, Z, Y, X)."""
        result = np.empty(region_shape(region), self.dtype)
        grid = [-(-size // step) for size, step in zip(self.shape5, self.block, strict=True)]
        for part in iter_blocks(region, self.block):
            index = [one.start // step for one, step in zip(part, self.block, strict=True)]
            start = int(self.starts[np.ravel_multi_index(index, grid)])
            found = self.labels.read(part)
            table = self.numbers[start : start + int(found.max()) + 1].astype(self.dtype)
            table[0] = 0  # the place of background is that of the last label of another block
            inner = tuple(
                slice(one.start - all_.start, one.stop - all_.start)
                for one, all_ in zip(part, region, strict=True)
            )
            np.take(table, found, out=result[inner], mode="clip")
        return result
