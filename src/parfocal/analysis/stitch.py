"""Join the labels of overlapping tiles into objects without seams.

Each tile sees its own block and a halo around it. How objects are told to be the same, and which
tile writes them, is told in ``docs/explanation/segmentation.md``.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.groups import Grouping
from parfocal.analysis.label_blocks import find_runs
from parfocal.analysis.tile_labels import Infer, TileLabels, TileWork, matches
from parfocal.analysis.tiling import Box, Tiling, common, inside, sizes
from parfocal.core.blocks import Readable, Scratch, Shape, Writable
from parfocal.core.scheduler import Scheduler, Threads

__all__ = ["Keep", "MakeVolume", "Stitched", "Tiling", "Write", "join_tiles", "stitch"]

Integers = NDArray[np.int64]
Write = Callable[[Box, Integers], None]
"""``write(box, labels)`` stores the final labels (Z, Y, X) of a box."""

MakeVolume = Callable[[Shape, Any, Shape], Scratch]
"""``make_volume(shape5, dtype, block5)`` returns scratch storage."""

_COLUMNS: dict[str, tuple[str, type[np.generic]]] = {
    "complete": ("b", np.bool_),
    "anchored": ("b", np.bool_),
    "spills": ("b", np.bool_),
    "counts": ("q", np.int64),
}
"""Columns of `TileLabels` that are kept, as what."""

Keep = Callable[[Integers], NDArray[np.bool_]]
"""``keep(sizes)`` tells by their numbers of pixels (N,) which objects are kept."""


@dataclass(frozen=True)
class Stitched:
    """The objects of a volume.

    Attributes
    ----------
    tiling : Tiling
        The tiles.
    sizes : (N,) int64
        Number of pixels of each object, in the order of their numbers.
    firsts : (N, 3) int64
        Their first pixels in the order Z, Y, X, which is the order of their numbers.
    lower, upper : (N, 3) int64
        Their first pixel along Z, Y, X, and the one after the last.
    merged : int
        How many objects no tile saw whole, so that they were made of the pieces of several.
    ambiguous : int
        How many pieces were cut by their tile, while no other tile saw anything like them.
    contested : int
        How many objects lost pixels to another one, because two tiles disagree.
    """

    tiling: Tiling
    sizes: Integers
    firsts: Integers
    lower: Integers
    upper: Integers
    merged: int
    ambiguous: int
    contested: int

    @property
    def objects(self) -> int:
        """Number of objects."""
        return len(self.sizes)


def stitch(
    infer: Infer,
    tiling: Tiling,
    write: Write,
    *,
    make_volume: MakeVolume,
    scheduler: Scheduler,
    min_iou: float = 0.5,
    keep: Keep | None = None,
) -> Stitched:
    """Find objects tile by tile, and write them as those of one volume.

    Parameters
    ----------
    infer : callable
        ``infer(box)`` returns the labels (Z, Y, X) of what it sees in a box: any integers, 0 for
        background. It is called once a tile, where the scheduler works.
    tiling, write, make_volume, scheduler, min_iou, keep
        See `join_tiles`.

    Returns
    -------
    Stitched
        See `join_tiles`.

    Raises
    ------
    ValueError
        If what `infer` returns does not fit the box, or is negative.
    """
    return join_tiles(
        scheduler.map(TileWork(infer, tiling), range(len(tiling))),
        tiling,
        write,
        make_volume=make_volume,
        scheduler=scheduler,
        min_iou=min_iou,
        keep=keep,
    )


def join_tiles(
    tiles: Iterable[TileLabels],
    tiling: Tiling,
    write: Write,
    *,
    make_volume: MakeVolume,
    scheduler: Scheduler,
    min_iou: float,
    keep: Keep | None = None,
) -> Stitched:
    """Write the objects of tiles as those of one volume.

    Neither the numbers nor the pixels depend on the scheduler, or on how the objects of tiles are
    numbered. In memory are a few tiles, a row for each object, and a pair for each two pieces of
    objects that several tiles see.

    Parameters
    ----------
    tiles : iterable of TileLabels
        What `TileWork` returns for each tile, in their order.
    tiling : Tiling
        The tiles. Objects whose extent is at most the halo along each axis are never merged
        from pieces: the tile with their first pixel sees them whole.
    write : callable
        ``write(box, labels)`` stores int64 labels. It is called once for the block of each tile,
        in the order of tiles.
    make_volume : callable
        ``make_volume(shape5, dtype, block5)`` makes scratch storage for the labels of all tiles.
    scheduler : Scheduler
        Where tiles are put together, if in this process.
    min_iou : float
        Least intersection over union of two pieces, where both tiles see them, to be one object.
    keep : callable, optional
        ``keep(sizes)`` tells by their numbers of pixels (N,) which objects are kept.

    Returns
    -------
    Stitched
        Of the objects that are kept, numbered from 1 by their first pixel in the order Z, Y, X.
    """
    pile = _Pile(tiling, _storage(tiling, make_volume), min_iou)
    for tile, found in enumerate(tiles):
        pile.add(tile, found)
    joined = pile.joined()
    local = scheduler if scheduler.local else Threads(1)
    census = _Census(len(joined.owners), tiling.shape)
    for tile, core in enumerate(local.map(joined.core, range(len(tiling)))):
        census.add(tiling.inner(tile), core)
    kept = census.sizes > 0
    if keep is not None:
        kept[kept] = keep(census.sizes[kept])
    chosen = np.flatnonzero(kept)
    chosen = chosen[np.argsort(census.firsts[chosen])]
    numbers = np.zeros(len(kept), np.int64)
    numbers[chosen] = np.arange(1, len(chosen) + 1)
    for tile, core in enumerate(local.map(joined.core, range(len(tiling)))):
        write(tiling.inner(tile), numbers[core.groups][core.labels])
    firsts = np.stack(np.unravel_index(census.firsts[chosen], tiling.shape), axis=1)
    return Stitched(
        tiling=tiling,
        sizes=census.sizes[chosen],
        firsts=firsts.astype(np.int64),
        lower=census.lower[chosen],
        upper=census.upper[chosen],
        merged=int((joined.made_of_pieces & kept).sum()),
        ambiguous=joined.ambiguous,
        contested=int((kept & (joined.owners >= 0) & (census.sizes != joined.expected)).sum()),
    )


def _storage(tiling: Tiling, make_volume: MakeVolume) -> Writable:
    """Make storage with the labels of each tile at a T of its own."""
    outer = tiling.outer_shape
    return make_volume((len(tiling), 1, *outer), np.int32, (1, 1, *outer))


@dataclass
class _Pile:
    """The tiles so far: 8 bytes a tile, 11 an object of each, and 16 a pair."""

    tiling: Tiling
    storage: Writable
    min_iou: float

    def __post_init__(self) -> None:
        """Begin with no object."""
        self._starts = array("q", [0])
        self._columns = {name: array(code) for name, (code, _) in _COLUMNS.items()}
        self._pairs = array("q")

    def add(self, tile: int, found: TileLabels) -> None:
        """Store a tile, and compare it with those before it."""
        before = [near for near in self.tiling.neighbours(tile) if near < tile]
        self._starts.append(self._starts[-1] + len(found))
        if not len(found):
            return
        outer = self.tiling.outer(tile)
        z, y, x = (slice(0, size) for size in sizes(outer))
        region = (slice(tile, tile + 1), slice(0, 1), z, y, x)
        self.storage.write(region, found.labels[None, None])
        for near in before:
            complete = self._complete(near)
            if not len(complete):
                continue
            both = common(outer, self.tiling.outer(near))
            seen = found.labels[inside(both, outer)]
            stored = _read(self.storage, near, inside(both, self.tiling.outer(near)))
            one, other = matches(found.complete, complete, (seen, stored), self.min_iou)
            if len(one):
                pairs = np.stack([one + self._starts[tile], other + self._starts[near]], axis=1)
                self._pairs.frombytes(pairs.tobytes())
        for name, (_, dtype) in _COLUMNS.items():
            self._columns[name].frombytes(getattr(found, name).astype(dtype).tobytes())

    def _complete(self, tile: int) -> NDArray[np.bool_]:
        """Tell which objects of a tile are complete."""
        start, stop = self._starts[tile], self._starts[tile + 1]
        return np.array(self._columns["complete"][start:stop], bool)

    def joined(self) -> _Joined:
        """Join what matches into groups, each of which is one object."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        starts = np.frombuffer(self._starts, np.int64)
        one, other = np.frombuffer(self._pairs, np.int64).reshape(-1, 2).T
        graph = coo_array((np.ones(len(one), bool), (one, other)), shape=(starts[-1], starts[-1]))
        number, of_piece = connected_components(graph, directed=False)
        groups = of_piece.astype(np.int64) + 1
        complete, anchored, spills, counts = (
            np.frombuffer(self._columns[name], dtype) for name, (_, dtype) in _COLUMNS.items()
        )
        tiles = np.repeat(np.arange(len(self.tiling)), np.diff(starts))
        owners = np.full(number + 1, len(self.tiling), np.int64)
        for wanted in (complete & anchored, complete):
            free = wanted & (owners[groups] == len(self.tiling))
            np.minimum.at(owners, groups[free], tiles[free])
        owners[owners == len(self.tiling)] = -1
        own = owners[groups] == tiles
        expected = np.bincount(groups[own], counts[own], number + 1).astype(np.int64)
        pieces = np.bincount(groups, minlength=number + 1)
        alone = pieces[groups] == 1
        return _Joined(
            self.tiling,
            self.storage,
            starts,
            groups,
            np.where(own & spills, groups, 0),
            owners,
            expected,
            (owners < 0) & (pieces > 1),
            int((alone & ~complete).sum()),
        )


@dataclass(frozen=True)
class _Core:
    """The block of one tile: its groups (G,), 0 the first, and the place in them of each pixel."""

    groups: Integers
    labels: NDArray[np.int32]


@dataclass(frozen=True)
class _Joined:
    """Which pieces make one object; pieces are numbered through all tiles.

    Attributes
    ----------
    starts : (tiles + 1,) int64
        Number of the first piece of each tile.
    groups, spilling : (pieces,) int64
        The group of each piece; the same where the group's owner is its tile, and the piece
        leaves the block of it, else 0.
    owners : (groups + 1,) int64
        The tile that writes a group, because it sees it whole; -1 where each writes its piece.
    expected : (groups + 1,) int64
        Number of pixels that the owner sees.
    made_of_pieces : (groups + 1,) bool
        Whether no tile sees it whole, but several a piece.
    ambiguous : int
        Number of pieces that are cut and match nothing.
    """

    tiling: Tiling
    storage: Readable
    starts: Integers
    groups: Integers
    spilling: Integers
    owners: Integers
    expected: Integers
    made_of_pieces: NDArray[np.bool_]
    ambiguous: int

    def core(self, tile: int) -> _Core:
        """Put together the block of a tile from what it and its neighbours see.

        A pixel goes to what its own tile sees there, but what another tile owns to that tile; a
        pixel that is free then goes to what the first of the neighbours that see something owns.
        """
        core = self.tiling.inner(tile)
        own = self._table(self.groups, tile)
        near = [
            (other, common(core, self.tiling.outer(other)), self._table(self.spilling, other))
            for other in self.tiling.neighbours(tile)
        ]
        groups = np.unique(np.concatenate([own, *(table for _, _, table in near)]))
        labels = np.zeros(sizes(core), np.int32)
        if len(own) > 1:
            seen = _read(self.storage, tile, inside(core, self.tiling.outer(tile)))
            labels = np.searchsorted(groups, own).astype(np.int32)[seen]
            for other in set(self.owners[own].tolist()) - {tile, -1}:
                view = labels[inside(common(core, self.tiling.outer(other)), core)]
                view[(self.owners[groups] == other)[view]] = 0
        for other, box, table in near:
            if table.any():
                seen = _read(self.storage, other, inside(box, self.tiling.outer(other)))
                view = labels[inside(box, core)]
                places = np.searchsorted(groups, table).astype(np.int32)
                np.copyto(view, places[seen], where=view == 0)
        return _Core(groups, labels)

    def _table(self, values: Integers, tile: int) -> Integers:
        """Return `values` of the labels of a tile, 0 for 0."""
        table: Integers = np.concatenate(
            [np.zeros(1, np.int64), values[self.starts[tile] : self.starts[tile + 1]]]
        )
        return table


@dataclass
class _Census:
    """Sizes, first pixels and boxes of all groups, from their blocks."""

    groups: int
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        """Begin with no pixel."""
        far = np.iinfo(np.int64).max
        self.sizes = np.zeros(self.groups, np.int64)
        self.firsts = np.full(self.groups, far)
        self.lower = np.full((self.groups, 3), far)
        self.upper = np.zeros((self.groups, 3), np.int64)

    def add(self, box: Box, core: _Core) -> None:
        """Count a block."""
        runs = find_runs(core.labels, (slice(0, 1), slice(0, 1), *box))
        if not runs.ids.size:
            return
        grouping = Grouping(runs.ids)
        present = core.groups[grouping.ids]
        self.sizes[present] += grouping.reduce(np.add, runs.lengths)
        starts = np.stack([runs.z, runs.y, runs.x])
        first = grouping.reduce(np.minimum, np.ravel_multi_index(tuple(starts), self.shape))
        self.firsts[present] = np.minimum(self.firsts[present], first)
        ends = (runs.z + 1, runs.y + 1, runs.x + runs.lengths)
        lower = np.stack([grouping.reduce(np.minimum, part) for part in starts], axis=1)
        upper = np.stack([grouping.reduce(np.maximum, part) for part in ends], axis=1)
        self.lower[present] = np.minimum(self.lower[present], lower)
        self.upper[present] = np.maximum(self.upper[present], upper)


def _read(storage: Readable, tile: int, box: Box) -> NDArray[np.int32]:
    """Read a box of what a tile sees; in whole rows, which lie together."""
    z, y, x = box
    row = slice(0, storage.shape5[4])
    region = (slice(tile, tile + 1), slice(0, 1), z, y, row)
    labels: NDArray[np.int32] = storage.read(region)[0, 0, :, :, x]
    return labels
