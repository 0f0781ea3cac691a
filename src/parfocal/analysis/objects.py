"""From the components of an image to its objects, their numbers and the label image."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.components import Components
from parfocal.analysis.cutting import Box, ComponentSource, Cut, component_box, put_back
from parfocal.analysis.object_boxes import BoxTable, find_boxes
from parfocal.analysis.object_labels import ObjectLabels, turn
from parfocal.analysis.ranking import rank
from parfocal.analysis.scratch_rows import Rows, parts
from parfocal.analysis.stitch import MakeVolume, Stitched
from parfocal.analysis.watershed import SplitSettings, split_component
from parfocal.analysis.windows import Windows, divide_in_windows, needed_bytes
from parfocal.core.blocks import Region, Writable
from parfocal.core.scheduler import Scheduler, Threads

__all__ = [
    "LARGE_COMPONENT",
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


_Kinds = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


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
        Numbers of components, and for each object what `turn` makes of its place in `firsts`.
    boxes : BoxTable
        Sizes and bounding boxes of the objects. Rows of this table lie beside its.
    firsts : Rows
        First pixel of each object, from 1 on: its number in the image, in the order T, Z, Y, X.
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
    firsts: Rows = field(init=False)
    too_small: int = 0
    too_large: int = 0
    large_components: list[int] = field(default_factory=list)
    windowed: list[Stitched] = field(default_factory=list)
    windowed_at: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin with the place of the background."""
        self.firsts = Rows(1, self.boxes.folder)
        self.firsts.append(np.array([-1]))

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.firsts) - 1

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
        least = max(1, math.ceil(limits.least))
        most = sum(int((some.counts[1:] // least).sum()) for _, some in components.pieces())
        if self.labels.dtype.itemsize == 8 or len(components) + len(self) + most <= NARROW:
            return
        wide = make(np.uint64)
        for region in earlier:
            places = turn(self.labels.read(region))
            places[places > len(self)] = 0
            wide.write(region, turn(places.astype(np.uint64)))
        self.labels = wide

    def image(self, dtype: np.dtype[Any]) -> ObjectLabels:
        """Return the label image, with objects numbered by T and first pixel in Z, Y, X."""
        numbers = rank(self.firsts.column(0), self.boxes.folder, dtype)
        return ObjectLabels(self.labels, numbers.column(0))


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
    total, alone, in_windows = 0, [], []
    for before, some in components.pieces():
        kinds = _kinds(some, limits, windows)
        total += _count(table, some, kinds)
        alone.extend(_boxes(before, some, kinds[1], source))
        in_windows.extend(_boxes(before, some, kinds[2], source))

    work = _Divide(source, settings, limits)
    together = itertools.chain.from_iterable(
        _together(before, some, _kinds(some, limits, windows)[0], source)
        for before, some in components.pieces()
    )
    for batches, at_once in ((together, scheduler), (([one] for one in alone), Threads(1))):
        for splits in at_once.map(work, batches):
            _enter(table, source, splits)
            yield from (len(split.objects) / total for split in splits)
    for number, box in in_windows:
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
            folder=table.boxes.folder,
        )
        _enter_windowed(table, source, box, divided)
        yield int(components.counts[number]) / total


def _kinds(components: Components, limits: SizeLimits, windows: Windows) -> _Kinds:
    """Return which components may hold objects: small ones, large ones, and those for windows."""
    numbers = np.flatnonzero(components.counts[:] >= max(1.0, limits.least))
    numbers = numbers[numbers > 0]
    too_much = needed_bytes(components)[numbers] > windows.memory
    alone = components.counts[numbers] > ALONE
    return numbers[~too_much & ~alone], numbers[~too_much & alone], numbers[too_much]


def _count(table: ObjectTable, components: Components, kinds: _Kinds) -> int:
    """Enter how many components are too small, and large ones; return the pixels of all others."""
    table.too_small += len(components) - sum(map(len, kinds))
    large = components.counts[np.concatenate(kinds[:2])]
    table.large_components.extend(large[large > LARGE_COMPONENT].tolist())
    return int(components.counts[np.concatenate(kinds)].sum())


def _boxes(
    before: int, components: Components, numbers: NDArray[np.int64], source: ComponentSource
) -> list[tuple[int, Box]]:
    """Return components, which come after so many others, with their boxes."""
    shape, planar = source.labels.shape5, source.planar
    return [
        (before + number, component_box(components, number, shape, planar=planar))
        for number in numbers.tolist()
    ]


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
        places = np.where(objects > 0, objects + len(self.table), 0)
        own = stored[0, 0] == self.number
        stored[0, 0][own] = turn(places[own].astype(stored.dtype))
        self.table.labels.write(region, stored)


def _enter_windowed(
    table: ObjectTable, source: ComponentSource, box: Box, divided: Stitched
) -> None:
    origin = [part.start for part in box]
    for part in parts(len(divided.sizes)):
        places = (divided.firsts, divided.lower, divided.upper)
        firsts, lower, upper = (column[part] + origin for column in places)
        table.firsts.append(_in_image(source, *firsts.T))
        table.boxes.add(source.time, divided.sizes[part], lower, upper)
    table.windowed.append(divided)
    table.windowed_at.append((source.time, origin[0] if source.planar else 0))


def _together(
    before: int, components: Components, numbers: NDArray[np.int64], source: ComponentSource
) -> Iterator[list[tuple[int, Box]]]:
    """Yield components with their boxes, many small ones at once."""
    groups = np.cumsum(components.counts[numbers]) // TOGETHER
    for some in np.split(numbers, np.flatnonzero(np.diff(groups)) + 1):
        if len(some):
            yield _boxes(before, components, some, source)


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


def _enter(table: ObjectTable, source: ComponentSource, splits: list[_Split]) -> None:
    objects = len(table)
    for split in splits:
        places = split.objects.astype(table.labels.dtype)
        places[places > 0] += places.dtype.type(objects)
        put_back(table.labels, source, split.cut, turn(places))
        objects += len(split.firsts)
        table.too_small += split.too_small
        table.too_large += split.too_large
    table.firsts.append(np.concatenate([split.firsts for split in splits]))
    boxes = zip(*(split.boxes for split in splits), strict=True)
    table.boxes.add(source.time, *(np.concatenate(columns) for columns in boxes))
