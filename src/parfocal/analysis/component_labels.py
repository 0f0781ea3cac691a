"""The label image of components that are objects as they are, numbered where it is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.components import Components
from parfocal.analysis.object_boxes import BoxTable
from parfocal.analysis.objects import SizeLimits, label_dtype
from parfocal.core.blocks import Readable, Region, Shape, iter_blocks, region_shape

__all__ = ["ComponentLabels", "ComponentTable"]

_AT_ONCE = 1 << 12
"""Components whose boxes are entered together."""


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
        Sizes and bounding boxes of the objects.
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
    _objects: int = 0
    _numbers: list[NDArray[Any]] = field(default_factory=list)
    _starts: list[NDArray[np.int64]] = field(default_factory=list)

    def __len__(self) -> int:
        """Return the number of objects."""
        return self._objects

    def add(self, components: Components, limits: SizeLimits) -> None:
        """Add the components of the next time point, numbered in the order of first pixels."""
        small, large = limits.drop(components.counts[1:])
        kept = 1 + np.flatnonzero(~small & ~large)
        for start in range(0, len(kept), _AT_ONCE):
            some = kept[start : start + _AT_ONCE]
            found = (components.counts[some], components.lower[some], components.upper[some])
            self.boxes.add(len(self._numbers), *found)
        numbers = np.zeros(len(components) + 1, label_dtype(self._objects + len(kept)))
        ordered = kept[np.argsort(components.firsts[kept])]
        numbers[ordered] = np.arange(1, len(kept) + 1) + self._objects
        self._numbers.append(numbers[components.roots])
        self._starts.append(components.starts)
        self._objects += len(kept)
        self.too_small += int(small.sum())
        self.too_large += int(large.sum())

    def image(self, dtype: np.dtype[Any]) -> ComponentLabels:
        """Return the label image, with objects numbered by T and first pixel in Z, Y, X."""
        ends = np.cumsum([0, *map(len, self._numbers)])
        starts = [one[:-1] + end for one, end in zip(self._starts, ends, strict=False)]
        return ComponentLabels(
            self.labels,
            self.block,
            np.concatenate([np.zeros(0, dtype), *self._numbers], dtype=dtype, casting="unsafe"),
            np.concatenate([np.zeros(0, np.int64), *starts]),
        )


@dataclass(frozen=True)
class ComponentLabels:
    """The label image.

    Attributes
    ----------
    labels : Readable
        Labels that count from 1 in each block; 0 is background.
    block : (1, 1, Z, Y, X)
        Size of its blocks.
    numbers : (N,) integer
        Number of the object, or 0, of each label of each block.
    starts : (blocks,) int64
        Label n of block i has place ``starts[i] + n`` in `numbers`, blocks in the order of
        `iter_blocks`.
    """

    labels: Readable
    block: Shape
    numbers: NDArray[Any]
    starts: NDArray[np.int64]

    @property
    def shape5(self) -> Shape:
        """Size along T, C, Z, Y, X, with one channel."""
        return self.labels.shape5

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the labels."""
        return self.numbers.dtype

    def read(self, region: Region) -> NDArray[Any]:
        """Return the labels of `region` (T, C, Z, Y, X)."""
        result = np.empty(region_shape(region), self.dtype)
        grid = [-(-size // step) for size, step in zip(self.shape5, self.block, strict=True)]
        for part in iter_blocks(region, self.block):
            index = [one.start // step for one, step in zip(part, self.block, strict=True)]
            start = self.starts[np.ravel_multi_index(index, grid)]
            found = self.labels.read(part)
            table = self.numbers[start : start + int(found.max()) + 1].copy()
            table[0] = 0  # the place of background is that of the last label of another block
            inner = tuple(
                slice(one.start - all_.start, one.stop - all_.start)
                for one, all_ in zip(part, region, strict=True)
            )
            np.take(table, found, out=result[inner], mode="clip")
        return result
