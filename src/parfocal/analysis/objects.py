"""From the components of an image to its objects, their numbers and the label image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.components import Components
from parfocal.analysis.scan import scan
from parfocal.analysis.watershed import SplitSettings, split_component
from parfocal.core.blocks import Readable, Region, Shape, Writable

__all__ = [
    "LARGE_COMPONENT",
    "ComponentSource",
    "ObjectLabels",
    "ObjectTable",
    "SizeLimits",
    "split_components",
]

LARGE_COMPONENT = 1 << 22
"""Pixels of a bounding box above which a component needs noticeably much memory."""

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class SizeLimits:
    """Which objects are kept.

    Attributes
    ----------
    least : float
        Smallest number of pixels.
    most : float or None
        Largest number of pixels; None for no limit.
    """

    least: float
    most: float | None


@dataclass
class ObjectTable:
    """The objects found so far.

    Attributes
    ----------
    labels : Writable
        Provisional labels, and for each object `offset` plus its place in `firsts`.
    offset : int
        Above all provisional labels of the time points so far.
    firsts : list of (T, Z, Y, X)
        First pixel of each object.
    too_small, too_large : int
        Numbers of objects that were dropped. Components that are too small to hold an
        object count as one.
    large_components : int
        Number of components whose bounding box exceeds `LARGE_COMPONENT`.
    """

    labels: Writable
    firsts: list[tuple[int, int, int, int]] = field(default_factory=list)
    too_small: int = 0
    too_large: int = 0
    large_components: int = 0

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.firsts)

    def image(self, dtype: np.dtype[Any]) -> ObjectLabels:
        """Return the label image, with objects numbered by T and first pixel in Z, Y, X."""
        numbers = np.zeros(len(self.firsts) + 1, dtype)
        if self.firsts:
            places = np.array(self.firsts).T
            numbers[1 + np.lexsort(places[::-1])] = np.arange(1, len(self.firsts) + 1)
        return ObjectLabels(self.labels, numbers)


@dataclass(frozen=True)
class ObjectLabels:
    """The label image, numbered where it is read.

    Attributes
    ----------
    labels : Readable
        Places in `numbers`, counted down from the largest uint32.
    numbers : (objects + 1,) integer
        Number of each object.
    """

    labels: Readable
    numbers: NDArray[Any]

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
        places = _place(self.labels.read(region))
        places[places >= len(self.numbers)] = 0
        result: NDArray[Any] = self.numbers[places]
        return result


def _place(stored: NDArray[Any]) -> NDArray[Any]:
    """Turn what is stored of an object into its place, and its place into what is stored.

    Objects are counted down from the top of the range, provisional labels up from its bottom.
    """
    return np.where(stored == 0, np.uint32(0), np.uint32(0) - stored)


@dataclass(frozen=True)
class ComponentSource:
    """The components of one time point, to be cut out one by one.

    Attributes
    ----------
    labels : Readable
        Provisional labels, and objects of components that are done.
    levels : Readable
        Smoothed brightness.
    components : Components
        What the labels belong to.
    time : int
        The time point.
    background : int
        Level of the background.
    """

    labels: Readable
    levels: Readable
    components: Components
    time: int
    background: int

    def box(self, number: int) -> Box:
        """Return the bounding box of a component with a margin of a pixel within the image."""
        lower = np.maximum(self.components.lower[number] - 1, 0).tolist()
        upper = np.minimum(self.components.upper[number] + 1, self.labels.shape5[2:]).tolist()
        z, y, x = (slice(start, stop) for start, stop in zip(lower, upper, strict=True))
        return z, y, x

    def region(self, box: Box) -> Region:
        """Return the region of a box."""
        return slice(self.time, self.time + 1), slice(0, 1), *box

    def mask(self, number: int, stored: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Return which stored labels belong to a component."""
        roots = self.components.roots
        mask = np.empty(stored.shape, bool)
        for own, plane in zip(mask, stored, strict=True):
            own[...] = roots[np.where(plane < len(roots), plane, 0)] == number
        return mask


@dataclass(frozen=True)
class _Split:
    """One component, divided."""

    box: Box
    mask: NDArray[np.bool_]
    objects: NDArray[np.uint32]
    firsts: list[tuple[int, int, int, int]]
    too_small: int
    too_large: int


def split_components(
    table: ObjectTable,
    source: ComponentSource,
    settings: SplitSettings,
    limits: SizeLimits,
    threads: int,
) -> None:
    """Divide the components of one time point into objects, and enter them in `table`.

    Parameters
    ----------
    table : ObjectTable
        Is added to; its labels are written.
    source : ComponentSource
        The components.
    settings : SplitSettings
        How to divide. With two distances in `spacing`, components are planes.
    limits : SizeLimits
        Which objects to keep.
    threads : int
        How many components to divide at once.
    """
    counts = source.components.counts
    numbers = np.flatnonzero(counts >= max(1.0, limits.least))
    numbers = numbers[numbers > 0]
    table.too_small += len(source.components) - len(numbers)
    boxes = source.components.upper[numbers] - source.components.lower[numbers]
    table.large_components += int((boxes.prod(1) > LARGE_COMPONENT).sum())

    def work(number: int) -> _Split:
        return _split(source, number, settings, limits)

    for split in scan(work, numbers.tolist(), threads):
        _enter(table, source, split)


def _split(
    source: ComponentSource, number: int, settings: SplitSettings, limits: SizeLimits
) -> _Split:
    box = source.box(number)
    region = source.region(box)
    mask = source.mask(number, source.labels.read(region)[0, 0])
    levels = source.levels.read(region)[0, 0]
    if len(settings.spacing) == 2:
        plane = 0 if mask[0].any() else 1
        objects = np.zeros(mask.shape, np.uint32)
        objects[plane] = split_component(mask[plane], levels[plane], source.background, settings)
    else:
        objects = split_component(mask, levels, source.background, settings).astype(np.uint32)
    sizes = np.bincount(objects.ravel())
    small = (sizes > 0) & (sizes < limits.least)
    large = sizes > limits.most if limits.most is not None else np.zeros_like(small)
    kept = (sizes > 0) & ~small & ~large
    kept[0] = small[0] = large[0] = False
    table = np.cumsum(kept, dtype=np.uint32) * kept
    objects = table[objects]
    return _Split(
        box, mask, objects, _firsts(objects, box, source.time), int(small.sum()), int(large.sum())
    )


def _firsts(objects: NDArray[np.uint32], box: Box, time: int) -> list[tuple[int, int, int, int]]:
    """Find the first pixel of each object, which are numbered from 1 without gaps."""
    where = np.flatnonzero(objects)
    first = np.full(int(objects.max(initial=0)), objects.size)
    np.minimum.at(first, objects.ravel()[where] - 1, where)
    z, y, x = np.unravel_index(first, objects.shape)
    return [
        (time, int(a + box[0].start), int(b + box[1].start), int(c + box[2].start))
        for a, b, c in zip(z, y, x, strict=True)
    ]


def _enter(table: ObjectTable, source: ComponentSource, split: _Split) -> None:
    region = source.region(split.box)
    stored = table.labels.read(region)
    places = np.where(split.objects > 0, split.objects + np.uint32(len(table.firsts)), 0)
    stored[0, 0][split.mask] = _place(places.astype(np.uint32))[split.mask]
    table.labels.write(region, stored)
    table.firsts.extend(split.firsts)
    table.too_small += split.too_small
    table.too_large += split.too_large
