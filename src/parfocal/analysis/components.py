"""Connected components of a mask that is too large for memory.

Each block is labelled by itself; labels that touch across the faces between blocks are
joined. Which pixels form a component does not depend on the blocks, only the numbers do.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.block_grid import BlockGrid
from parfocal.analysis.groups import Grouping
from parfocal.analysis.label_blocks import find_runs
from parfocal.core.blocks import Readable, Region, Shape, Writable, region_shape, whole
from parfocal.core.scheduler import Scheduler

__all__ = ["BlockMask", "Components", "label_components", "label_mask", "number_block"]

Labels = NDArray[np.uint32]
Pairs = NDArray[np.int64]

_COLUMNS = 8
"""Pixels, the first one along Z, Y, X, the one after the last, and the number of the first."""

_FAR: int = np.iinfo(np.int64).max
_AT_ONCE = 1 << 12


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
    roots : (labels + 1,) int64
        The component of each label of each block, one block after the other; 0 for 0.
    starts : (blocks + 1,) int64
        Label n of block i has place ``starts[i] + n`` in `roots`.
    counts : (components + 1,) int64
        Number of pixels.
    lower, upper : (components + 1, 3) int64
        First pixel along Z, Y, X, and the one after the last.
    firsts : (components + 1,) int64
        Number of the first pixel in the volume, in the order Z, Y, X.
    """

    roots: NDArray[np.int64]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    lower: NDArray[np.int64]
    upper: NDArray[np.int64]
    firsts: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of components."""
        return len(self.counts) - 1

    def tables(self) -> Iterator[NDArray[np.int64]]:
        """Yield for each block the component of each of its labels; 0 for 0."""
        for start, stop in zip(self.starts[:-1], self.starts[1:], strict=True):
            table = self.roots[start : stop + 1].copy()
            table[0] = 0
            yield table


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

    def __call__(self, item: tuple[Region, tuple[int, ...]]) -> list[Pairs]:
        """Return pairs (2, N), the other block's label first, for each axis (2 is Z, 3 Y)."""
        region, axes = item
        return [_touching(*self._faces(region, axis)) for axis in axes]

    def _faces(self, region: Region, axis: int) -> tuple[Labels, Labels]:
        """Read the layers of pixels on both sides of the border where `region` starts."""
        start = region[axis].start
        faces = []
        for part in (slice(start - 1, start), slice(start, start + 1)):
            t, c, z, y, x = (part if i == axis else one for i, one in enumerate(region))
            faces.append(self.volume.read((t, c, z, y, x))[0, 0])
        return faces[0], faces[1]


def _touching(one: Labels, other: Labels) -> Pairs:
    """Return the pairs of labels that touch across a face, each once."""
    both = (one > 0) & (other > 0)
    pairs = np.unique(one[both].astype(np.uint64) << np.uint64(32) | other[both])
    low = pairs & np.uint64(0xFFFFFFFF)
    return np.stack([pairs >> np.uint64(32), low]).astype(np.int64)


class _Tables:
    """What has been found in the blocks so far: 64 bytes a label, 16 a pair, and 8 a block.

    Parameters
    ----------
    first : Region
        The first block, which has the size of all but those at the ends.
    shape5 : (T, C, Z, Y, X)
        Size of the image.
    """

    def __init__(self, first: Region, shape5: Shape) -> None:
        _, _, *volume = whole(shape5)
        z, y, x = volume
        self.grid = BlockGrid((first[0], first[1], z, y, x), region_shape(first))
        self._starts = array("q", [0])
        self._rows = array("q", [0, _FAR, _FAR, _FAR, 0, 0, 0, _FAR])  # that of background
        self._pairs = array("q")

    def add(self, found: _Found) -> None:
        """Enter the components of the next block."""
        self._starts.append(self._starts[-1] + len(found.counts))
        rows = (found.counts[:, None], found.lower, found.upper, found.firsts[:, None])
        self._rows.frombytes(np.hstack(rows).tobytes())

    def join(self, pairs: Pairs, one: int, other: int) -> None:
        """Enter which labels of block `one` touch which of block `other`."""
        offsets = np.array([[self._starts[one]], [self._starts[other]]], np.int64)
        self._pairs.frombytes((pairs + offsets).T.tobytes())

    def borders(self, *, planar: bool) -> Iterator[tuple[int, tuple[int, ...], tuple[int, ...]]]:
        """Yield each block that has labels and such blocks before it along Z or Y.

        With its number come those axes, and the numbers of those blocks.
        """
        _, _, depth, rows, columns = self.grid.counts
        for number in range(depth * rows * columns):
            if self._is_empty(number):
                continue
            inner = []
            if not planar and number >= rows * columns:
                inner.append((2, number - rows * columns))
            if number // columns % rows:
                inner.append((3, number - columns))
            inner = [(axis, one) for axis, one in inner if not self._is_empty(one)]
            if inner:
                yield number, tuple(axis for axis, _ in inner), tuple(one for _, one in inner)

    def _is_empty(self, number: int) -> bool:
        return self._starts[number] == self._starts[number + 1]

    def merged(self) -> Components:
        """Join what touches, and sum up, where the rows lie."""
        rows = np.frombuffer(self._rows, np.int64).reshape(-1, _COLUMNS)
        pairs = np.frombuffer(self._pairs, np.int64).reshape(-1, 2)
        joined, least = _joined(pairs)
        np.add.at(rows[:, 0], least, rows[joined, 0])
        for column in (1, 2, 3, 7):
            np.minimum.at(rows[:, column], least, rows[joined, column])
        for column in (4, 5, 6):
            np.maximum.at(rows[:, column], least, rows[joined, column])
        stays = np.ones(len(rows), bool)
        stays[joined] = False
        roots = np.cumsum(stays, dtype=np.int64)
        roots -= 1
        roots[joined] = roots[least]
        rows = _compacted(rows, stays) if len(joined) else rows
        return Components(
            roots,
            np.frombuffer(self._starts, np.int64),
            counts=rows[:, 0],
            lower=rows[:, 1:4],
            upper=rows[:, 4:7],
            firsts=rows[:, 7],
        )


def _compacted(rows: NDArray[np.int64], stays: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Move the rows that stay to the front, some at a time, and return them."""
    stop = 0
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE][stays[start : start + _AT_ONCE]]
        rows[stop : stop + len(part)] = part
        stop += len(part)
    return rows[:stop]


def _joined(pairs: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which labels are joined to a lesser one, and the least that each is joined to.

    Only labels that are joined to others are nodes of the graph, of which SciPy takes no more than
    31 bits can number.

    Parameters
    ----------
    pairs : (N, 2) int64
        Labels that touch.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names, places = np.unique(pairs, return_inverse=True)
    one, other = places.reshape(-1, 2).T
    shape = (len(names), len(names))
    graph = coo_array((np.ones(len(one), bool), (one, other)), shape=shape)
    groups, of_name = connected_components(graph, directed=False)
    lowest = np.full(groups, _FAR)
    np.minimum.at(lowest, of_name, names)
    least = lowest[of_name]
    lesser = least < names
    return names[lesser], least[lesser]


def label_components(
    masks: Iterable[BlockMask], volume: Writable, *, planar: bool, scheduler: Scheduler
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
    before: _Found | None = None
    for number, found in enumerate(scheduler.map(_LabelBlock(volume), masks)):
        tables = tables or _Tables(found.region, volume.shape5)
        tables.add(found)
        if before is not None and found.region[4].start == before.region[4].stop:
            tables.join(_touching(before.last, found.first), number - 1, number)
        before = found
    if tables is None:
        msg = "there is no block"
        raise ValueError(msg)
    items = (
        (tables.grid.region(number), axes) for number, axes, _ in tables.borders(planar=planar)
    )
    joined = scheduler.map(_JoinBlock(volume), items)
    for (number, _, others), pairs in zip(tables.borders(planar=planar), joined, strict=True):
        for other, touching in zip(others, pairs, strict=True):
            tables.join(touching, other, number)
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
