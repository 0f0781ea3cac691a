"""Connected components of a mask that is too large for memory.

Each block is labelled by itself; labels that touch across the faces between blocks are
joined. Which pixels form a component does not depend on the blocks, only the numbers do.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.block_grid import BlockGrid
from parfocal.analysis.groups import Grouping
from parfocal.analysis.joining import Joined, join_pairs
from parfocal.analysis.label_blocks import find_runs
from parfocal.analysis.scratch_rows import Column, Rows, parts
from parfocal.core.blocks import Readable, Region, Shape, Writable, region_shape, whole
from parfocal.core.scheduler import Scheduler

__all__ = ["BlockMask", "Components", "label_components", "label_mask", "number_block"]

Labels = NDArray[np.uint32]
Integers = NDArray[np.int64]

_COLUMNS = 8
"""Pixels, the first one along Z, Y, X, the one after the last, and the number of the first."""

_FAR: int = np.iinfo(np.int64).max


class BlockMask(Protocol):
    """The mask of one block, read where it is labelled."""

    @property
    def region(self) -> Region:
        """Where the block lies."""

    def read(self) -> NDArray[np.bool_]:
        """Return the mask (Z, Y, X). It is called once, before the block is written."""


@dataclass(frozen=True)
class Components:
    """The components of one time point, numbered from 1.

    Attributes
    ----------
    joined : Joined
        Which labels of the blocks, counted through all of them, make one component.
    starts : (blocks + 1,) Column
        Label n of block i is number ``starts[i] + n`` of all.
    counts : (components + 1,) int64 or Column
        Number of pixels.
    lower, upper : (components + 1, 3) int64 or Column
        First pixel along Z, Y, X, and the one after the last.
    firsts : (components + 1,) int64 or Column
        Number of the first pixel in the volume, in the order Z, Y, X.
    """

    joined: Joined
    starts: Column
    counts: Integers | Column
    lower: Integers | Column
    upper: Integers | Column
    firsts: Integers | Column

    def __len__(self) -> int:
        """Return the number of components."""
        return len(self.counts) - 1

    def tables(self) -> Iterator[Integers]:
        """Yield for each block the component of each of its labels; 0 for 0."""
        for part in parts(len(self.starts) - 1):
            for start, stop in itertools.pairwise(self.starts[part.start : part.stop + 1]):
                table = self.joined.numbers(start, stop + 1)
                table[0] = 0
                yield table

    def pieces(self) -> Iterator[tuple[int, Components]]:
        """Yield the components some at a time, in memory, and how many come before them.

        They are numbered from 1 again; what stands at 0 means nothing.
        """
        for part in parts(len(self)):
            some = slice(part.start, part.stop + 1)
            yield (
                part.start,
                replace(
                    self,
                    counts=self.counts[some],
                    lower=self.lower[some],
                    upper=self.upper[some],
                    firsts=self.firsts[some],
                ),
            )


def label_mask(mask: NDArray[np.bool_]) -> tuple[Labels, int]:
    """Label the components of a mask in memory; pixels are connected by their faces.

    Parameters
    ----------
    mask : (Z, Y, X) or (Y, X) bool
        What is not background.

    Returns
    -------
    labels : uint32
        As the mask.
    count : int
        Number of components.
    """
    import cc3d

    labels, count = cc3d.connected_components(
        np.ascontiguousarray(mask),
        connectivity=6 if mask.ndim == 3 else 4,
        return_N=True,
        out_dtype=np.uint32,
        binary_image=True,
    )
    return labels, int(count)


@dataclass(frozen=True)
class _Found:
    """The components of one block, numbered from 1: sizes, boxes, first pixels.

    Besides, the first and the last column of the block.
    """

    region: Region
    counts: NDArray[np.int64]
    lower: NDArray[np.int64]
    upper: NDArray[np.int64]
    firsts: NDArray[np.int64]
    first: Labels
    last: Labels


@dataclass(frozen=True)
class _LabelBlock:
    """Labels one block by itself."""

    volume: Writable

    def __call__(self, mask: BlockMask) -> _Found:
        """Write the labels of the block, and return what is to be known of them."""
        labels, count = label_mask(mask.read())
        if count > np.iinfo(self.volume.dtype).max:
            msg = f"{count} components of a block do not fit {self.volume.dtype}"
            raise OverflowError(msg)
        self.volume.write(mask.region, labels[None, None].astype(self.volume.dtype))
        edges = (labels[:, :, 0].copy(), labels[:, :, -1].copy())
        runs = find_runs(labels, mask.region)
        if not runs.ids.size:
            none = np.zeros((0, 3), np.int64)
            return _Found(mask.region, none[:, 0], none, none, none[:, 0], *edges)
        grouping = Grouping(runs.ids)
        ends = (runs.z + 1, runs.y + 1, runs.x + runs.lengths)
        lower = [grouping.reduce(np.minimum, part) for part in (runs.z, runs.y, runs.x)]
        upper = [grouping.reduce(np.maximum, part) for part in ends]
        height, width = self.volume.shape5[3:]
        return _Found(
            mask.region,
            grouping.reduce(np.add, runs.lengths),
            np.stack(lower, axis=1),
            np.stack(upper, axis=1),
            grouping.reduce(np.minimum, (runs.z * height + runs.y) * width + runs.x),
            *edges,
        )


@dataclass(frozen=True)
class _JoinBlock:
    """Finds which labels of a block touch those of the blocks before it along Z and Y."""

    volume: Readable

    def __call__(self, item: tuple[Region, list[tuple[int, int]]]) -> list[Integers]:
        """Return pairs (2, N), the other block's label first, for each axis (2 is Z, 3 Y)."""
        region, near = item
        return [_touching(*self._faces(region, axis)) for axis, _ in near]

    def _faces(self, region: Region, axis: int) -> tuple[Labels, Labels]:
        """Read the layers of pixels on both sides of the border where `region` starts."""
        start = region[axis].start
        faces = []
        for part in (slice(start - 1, start), slice(start, start + 1)):
            t, c, z, y, x = (part if i == axis else one for i, one in enumerate(region))
            faces.append(self.volume.read((t, c, z, y, x))[0, 0])
        return faces[0], faces[1]


def _touching(one: Labels, other: Labels) -> Integers:
    """Return the pairs of labels that touch across a face, each once."""
    both = (one > 0) & (other > 0)
    pairs = np.unique(one[both].astype(np.uint64) << np.uint64(32) | other[both])
    low = pairs & np.uint64(0xFFFFFFFF)
    return np.stack([pairs >> np.uint64(32), low]).astype(np.int64)


class _Tables:
    """What has been found in the blocks so far: 16 bytes in memory for a pair of labels that touch.

    Parameters
    ----------
    first : Region
        The first block, which has the size of all but those at the ends.
    shape5 : (T, C, Z, Y, X)
        Size of the image.
    folder : Path or None
        Where rows lie: 64 bytes a label, and 8 a block.
    """

    def __init__(self, first: Region, shape5: Shape, folder: Path | None) -> None:
        _, _, *volume = whole(shape5)
        z, y, x = volume
        self.grid = BlockGrid((first[0], first[1], z, y, x), region_shape(first))
        self._folder = folder
        self._starts, self._rows = Rows(1, folder), Rows(_COLUMNS, folder)
        self._starts.append(np.zeros(1, np.int64))
        self._rows.append(np.array([[0, _FAR, _FAR, _FAR, 0, 0, 0, _FAR]]))  # that of background
        self._pairs = array("q")
        self._filled = bytearray()
        self._before: _Found | None = None

    def add(self, found: _Found) -> None:
        """Enter the components of the next block, and which touch those of the one before."""
        start, before = len(self._rows) - 1, self._before
        if before is not None and found.region[4].start == before.region[4].stop:
            touching = _touching(before.last, found.first)
            self._enter(touching, start - len(before.counts), start)
        rows = (found.counts[:, None], found.lower, found.upper, found.firsts[:, None])
        self._rows.append(np.hstack(rows))
        self._starts.append(np.array([len(self._rows) - 1]))
        self._filled.append(len(found.counts) > 0)
        self._before = found

    def join(self, volume: Readable, scheduler: Scheduler, *, planar: bool) -> None:
        """Enter which components touch those of blocks before theirs along Z and Y."""
        starts = self._starts.column(0)
        items = ((self.grid.region(block), near) for block, near in self._borders(planar))
        found = scheduler.map(_JoinBlock(volume), items)
        for (block, near), pairs in zip(self._borders(planar), found, strict=True):
            begins = starts[np.array([block, *(other for _, other in near)])]
            for start, touching in zip(begins[1:], pairs, strict=True):
                self._enter(touching, start, begins[0])

    def _enter(self, pairs: Integers, one: int, other: int) -> None:
        """Enter which labels touch, with the places where those of their blocks start."""
        self._pairs.frombytes((pairs + np.array([[one], [other]])).T.tobytes())

    def _borders(self, planar: bool) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """Yield each block that has labels and such blocks before it along Z or Y.

        With its number come those axes, and the numbers of those blocks.
        """
        _, _, depth, rows, columns = self.grid.counts
        for number in range(depth * rows * columns):
            if not self._filled[number]:
                continue
            near = []
            if not planar and number >= rows * columns:
                near.append((2, number - rows * columns))
            if number // columns % rows:
                near.append((3, number - columns))
            near = [(axis, one) for axis, one in near if self._filled[one]]
            if near:
                yield number, near

    def merged(self) -> Components:
        """Join what touches, and sum up."""
        labels, least = join_pairs(np.frombuffer(self._pairs, np.int64).reshape(-1, 2))
        if len(labels):
            self._sum_up(labels, least)
            self._drop(labels)
        joined = Joined.of(labels, least)
        column = self._rows.column
        return Components(
            joined,
            self._starts.column(0),
            counts=column(0),
            lower=column(slice(1, 4)),
            upper=column(slice(4, 7)),
            firsts=column(7),
        )

    def _sum_up(self, labels: Integers, least: Integers) -> None:
        """Add the rows of joined labels to those of the least that each is joined to."""
        leads, groups = np.unique(least, return_inverse=True)
        sums, rows = self._rows.take(leads), self._rows.take(labels)
        np.add.at(sums[:, 0], groups, rows[:, 0])
        for column in (1, 2, 3, 7):
            np.minimum.at(sums[:, column], groups, rows[:, column])
        for column in (4, 5, 6):
            np.maximum.at(sums[:, column], groups, rows[:, column])
        self._rows.put(leads, sums)

    def _drop(self, labels: Integers) -> None:
        """Take the rows of some labels away."""
        all_rows, self._rows = self._rows.column(slice(None)), Rows(_COLUMNS, self._folder)
        for part in parts(len(all_rows)):
            first, last = np.searchsorted(labels, (part.start, part.stop))
            dropped = labels[first:last] - part.start
            self._rows.append(np.delete(all_rows[part], dropped, axis=0))


def label_components(
    masks: Iterable[BlockMask],
    volume: Writable,
    *,
    planar: bool,
    scheduler: Scheduler,
    folder: Path | None = None,
) -> Components:
    """Label the components of one channel of one time point.

    Parameters
    ----------
    masks : iterable of BlockMask
        Of a grid of blocks, in the order of `iter_blocks`.
    volume : Writable
        Where labels (unsigned) go, which count from 1 in each block; 0 is background. What they
        belong to tell `Components.tables`; see `number_block`.
    planar : bool
        Whether planes are labelled each by itself. Blocks must then have one plane.
    scheduler : Scheduler
        Where blocks are worked on.
    folder : Path, optional
        Where rows of what is found lie; see `Rows`.

    Returns
    -------
    Components
        What the labels of the blocks belong to.

    Raises
    ------
    OverflowError
        If a block has more components than the data type of `volume` can number.
    ValueError
        If there is no block.
    """
    tables: _Tables | None = None
    for found in scheduler.map(_LabelBlock(volume), masks):
        tables = tables or _Tables(found.region, volume.shape5, folder)
        tables.add(found)
    if tables is None:
        msg = "there is no block"
        raise ValueError(msg)
    tables.join(volume, scheduler, planar=planar)
    return tables.merged()


def number_block(
    labels: Readable, volume: Writable, region: Region, table: NDArray[np.int64]
) -> None:
    """Write the numbers of the components of a block.

    Parameters
    ----------
    labels : Readable
        What `label_components` wrote.
    volume : Writable
        Where the numbers go; may be `labels`.
    region : Region
        The block.
    table : (labels + 1,) int64
        The component of each label of the block; see `Components.tables`.
    """
    volume.write(region, table.astype(volume.dtype)[labels.read(region)])
