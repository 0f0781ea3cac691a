"""From the components of an image to its objects, their numbers and the label image."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.components import Components
from parfocal.analysis.cutting import Box, ComponentSource, Cut, component_box, put_back
from parfocal.analysis.object_boxes import BoxTable, find_boxes
from parfocal.analysis.stitch import MakeVolume, Stitched
from parfocal.analysis.watershed import SplitSettings, split_component
from parfocal.analysis.windows import Windows, divide_in_windows, needed_bytes
from parfocal.core.blocks import Readable, Region, Shape, Writable
from parfocal.core.scheduler import Scheduler, Threads

__all__ = [
    "LARGE_COMPONENT",
    "ObjectLabels",
    "ObjectTable",
    "SizeLimits",
    "label_dtype",
    "split_components",
]

NARROW = (1 << 32) - 1
"""The largest number of 32 bits."""

LARGE_COMPONENT = 1 << 21
"""Pixels above which a component needs noticeably much memory."""

ALONE = 1 << 19
"""Pixels above which a component is divided while no other one is."""

TOGETHER = 1 << 15
"""Pixels above which components are not handed out together."""


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

    def drop(self, sizes: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Tell by their numbers of pixels (N,) which objects are too small, and too large."""
        small = sizes < self.least
        large = sizes > self.most if self.most is not None else np.zeros_like(small)
        return small, large & ~small


def label_dtype(objects: int) -> np.dtype[Any]:
    """Return the data type of a label image: 32 bits, or 64 where there are too many objects."""
    return np.dtype(np.uint32 if objects <= NARROW else np.uint64)


@dataclass
class ObjectTable:
    """The objects found so far.

    Attributes
    ----------
    labels : Writable
        Numbers of components, and for each object what `_place` makes of its place in `firsts`,
        which starts at 1.
    boxes : BoxTable
        Sizes and bounding boxes of the objects.
    firsts : array of int64
        First pixel of each object: its number in the image, in the order T, Z, Y, X.
    too_small, too_large : int
        Numbers of objects that were dropped. Components that are too small to hold an
        object count as one.
    large_components : list of int
        Numbers of pixels of the components that exceed `LARGE_COMPONENT` and were divided whole.
    windowed : list of Stitched
        The components that were divided in windows.
    windowed_at : list of (T, Z)
        The time point of each, and its plane where components are planes.
    """

    labels: Writable
    boxes: BoxTable
    firsts: array[int] = field(default_factory=lambda: array("q"))
    too_small: int = 0
    too_large: int = 0
    large_components: list[int] = field(default_factory=list)
    windowed: list[Stitched] = field(default_factory=list)
    windowed_at: list[tuple[int, int]] = field(default_factory=list)

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.firsts)

    def make_room(
        self,
        components: Components,
        limits: SizeLimits,
        make: Callable[[Any], Writable],
        earlier: Iterable[Region],
    ) -> None:
        """Take labels of 64 bits where 32 may not do for one more time point.

        Parameters
        ----------
        components : Components
            Those of the time point.
        limits : SizeLimits
            The smallest object limits how many there may be.
        make : callable
            ``make(dtype)`` makes a volume for the new labels.
        earlier : iterable of Region
            The blocks of the time points before, whose objects are copied.
        """
        most = int((components.counts // max(1, math.ceil(limits.least))).sum())
        if self.labels.dtype.itemsize == 8 or len(components) + len(self) + most <= NARROW:
            return
        wide = make(np.uint64)
        for region in earlier:
            places = _place(self.labels.read(region))
            places[places > len(self.firsts)] = 0
            wide.write(region, _place(places.astype(np.uint64)))
        self.labels = wide

    def image(self, dtype: np.dtype[Any]) -> ObjectLabels:
        """Return the label image, with objects numbered by T and first pixel in Z, Y, X."""
        numbers = np.zeros(len(self.firsts) + 1, dtype)
        places = np.frombuffer(self.firsts, np.int64)
        numbers[1 + np.argsort(places)] = np.arange(1, len(places) + 1)
        return ObjectLabels(self.labels, numbers)


@dataclass(frozen=True)
class ObjectLabels:
    """The label image, numbered where it is read.

    Attributes
    ----------
    labels : Readable
        Places in `numbers`, counted down from the largest number of their data type.
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
        result = np.empty(places.shape, self.dtype)
        planes = (array.reshape(-1, *array.shape[3:]) for array in (result, places))
        for target, plane in zip(*planes, strict=True):  # to keep intermediate arrays small
            plane[plane >= len(self.numbers)] = 0
            target[...] = self.numbers[plane]
        return result


def _place(stored: NDArray[Any]) -> NDArray[Any]:
    """Turn what is stored of an object into its place, and its place into what is stored.

    Objects are counted down from the top of the range, components up from its bottom.
    """
    places: NDArray[Any] = np.negative(stored)
    return places


@dataclass(frozen=True)
class _Split:
    """One component, divided into objects that are numbered from 1 without gaps.

    The brightness in `cut` is left out.
    """

    cut: Cut
    objects: NDArray[np.integer[Any]]
    firsts: NDArray[np.int64]
    boxes: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
    too_small: int
    too_large: int


def split_components(
    table: ObjectTable,
    components: Components,
    source: ComponentSource,
    settings: SplitSettings,
    limits: SizeLimits,
    windows: Windows,
    *,
    make_volume: MakeVolume,
    scheduler: Scheduler,
) -> Iterator[float]:
    """Divide the components of one time point into objects, and enter them in `table`.

    It goes on as far as it is iterated over.

    Parameters
    ----------
    table : ObjectTable
        Is added to; its labels are written.
    components : Components
        The components.
    source : ComponentSource
        Where they are cut out of.
    settings : SplitSettings
        How to divide. With two distances in `spacing`, components are planes.
    limits : SizeLimits
        Which objects to keep.
    windows : Windows
        Which components are divided in windows.
    make_volume : callable
        Makes scratch volumes.
    scheduler : Scheduler
        Where blocks are worked on.

    Yields
    ------
    float
        Which part of the work was done since, by the number of pixels.
    """
    counts = components.counts
    numbers = np.flatnonzero(counts >= max(1.0, limits.least))
    numbers = numbers[numbers > 0]
    table.too_small += len(components) - len(numbers)
    total = int(counts[numbers].sum())
    too_much = needed_bytes(components)[numbers] > windows.memory
    in_windows, numbers = numbers[too_much], numbers[~too_much]
    large = counts[numbers] > LARGE_COMPONENT
    table.large_components.extend(counts[numbers[large]].tolist())
    alone = counts[numbers] > ALONE

    work = _Divide(source, settings, limits)
    for some, at_once in ((numbers[~alone], scheduler), (numbers[alone], Threads(1))):
        for splits in at_once.map(work, _together(components, some, source)):
            for split in splits:
                _enter(table, source, split)
                yield len(split.objects) / total
    for number in in_windows.tolist():
        box = component_box(components, number, source.labels.shape5, planar=source.planar)
        divided = divide_in_windows(
            source,
            number,
            box,
            settings,
            windows,
            _WriteWindow(table, source, number),
            keep=_Keep(table, limits),
            make_volume=make_volume,
            scheduler=scheduler,
        )
        _enter_windowed(table, source, box, divided)
        yield int(counts[number]) / total


@dataclass(frozen=True)
class _Keep:
    """Tells by their sizes which objects are kept, and counts the others."""

    table: ObjectTable
    limits: SizeLimits

    def __call__(self, sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
        small, large = self.limits.drop(sizes)
        self.table.too_small += int(small.sum())
        self.table.too_large += int(large.sum())
        kept: NDArray[np.bool_] = ~(small | large)
        return kept


@dataclass(frozen=True)
class _WriteWindow:
    """Writes objects, numbered from 1, to those pixels of a box that belong to a component."""

    table: ObjectTable
    source: ComponentSource
    number: int

    def __call__(self, box: Box, objects: NDArray[np.int64]) -> None:
        region = self.source.region(box)
        stored = self.table.labels.read(region)
        places = np.where(objects > 0, objects + len(self.table.firsts), 0)
        own = stored[0, 0] == self.number
        stored[0, 0][own] = _place(places[own].astype(stored.dtype))
        self.table.labels.write(region, stored)


def _enter_windowed(
    table: ObjectTable, source: ComponentSource, box: Box, divided: Stitched
) -> None:
    origin = [part.start for part in box]
    table.firsts.frombytes(_in_image(source, *(divided.firsts + origin).T).tobytes())
    table.boxes.add(source.time, divided.sizes, divided.lower + origin, divided.upper + origin)
    table.windowed.append(divided)
    table.windowed_at.append((source.time, origin[0] if source.planar else 0))


def _together(
    components: Components, numbers: NDArray[np.int64], source: ComponentSource
) -> Iterator[list[tuple[int, Box]]]:
    """Yield components with their boxes, many small ones at once."""
    groups = np.cumsum(components.counts[numbers]) // TOGETHER
    ends = np.append(np.flatnonzero(np.diff(groups)) + 1, len(numbers))
    shape, start = source.labels.shape5, 0
    for end in ends:
        if end > start:
            yield [
                (number, component_box(components, number, shape, planar=source.planar))
                for number in numbers[start:end].tolist()
            ]
        start = end


@dataclass(frozen=True)
class _Divide:
    """Divides components into objects."""

    source: ComponentSource
    settings: SplitSettings
    limits: SizeLimits

    def __call__(self, components: list[tuple[int, Box]]) -> list[_Split]:
        return [self._divide(number, box) for number, box in components]

    def _divide(self, number: int, box: Box) -> _Split:
        cut, limits = self.source.cut(number, box), self.limits
        objects = split_component(cut.voxels, cut.levels, self.source.background, self.settings)
        sizes = np.bincount(objects)
        small, large = limits.drop(sizes)
        small &= sizes > 0
        kept = (sizes > 0) & ~small & ~large
        kept[0] = small[0] = large[0] = False
        objects = (np.cumsum(kept, dtype=np.int32) * kept)[objects]
        firsts = _firsts(cut, objects, self.source)
        sizes, lower, upper = find_boxes(cut.voxels, objects, len(firsts))
        origin = [part.start for part in cut.box]
        cut = replace(cut, levels=cut.levels[:0].copy())
        boxes = (sizes, lower + origin, upper + origin)
        return _Split(cut, objects, firsts, boxes, int(small.sum()), int(large.sum()))


def _firsts(
    cut: Cut, objects: NDArray[np.integer[Any]], source: ComponentSource
) -> NDArray[np.int64]:
    """Find the first pixel of each object."""
    first = np.zeros(int(objects.max(initial=0)) + 1, np.int64)
    first[objects[::-1]] = np.arange(len(objects))[::-1]  # of equal indices the last one stays
    origin = [part.start for part in cut.box]
    indices = cut.voxels.indices(first[1:])
    if len(indices) == 2:
        indices = (np.zeros_like(indices[0]), *indices)
    z, y, x = (index + start for index, start in zip(indices, origin, strict=True))
    return _in_image(source, z, y, x)


def _in_image(
    source: ComponentSource, z: NDArray[np.int64], y: NDArray[np.int64], x: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the numbers of some pixels of the time point, in the order T, Z, Y, X."""
    _, _, depth, height, width = source.labels.shape5
    places: NDArray[np.int64] = ((source.time * depth + z) * height + y) * width + x
    return places


def _enter(table: ObjectTable, source: ComponentSource, split: _Split) -> None:
    places = split.objects.astype(table.labels.dtype)
    places[places > 0] += places.dtype.type(len(table.firsts))
    put_back(table.labels, source, split.cut, _place(places))
    table.firsts.frombytes(split.firsts.tobytes())
    table.boxes.add(source.time, *split.boxes)
    table.too_small += split.too_small
    table.too_large += split.too_large
