"""Join the labels of overlapping tiles into objects without seams.

Each tile sees its own block and a halo around it. How objects are told to be the same, and which
tile writes them, is told in ``docs/explanation/segmentation.md``.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.census import Census, Keep
from parfocal.analysis.joining import Joined, join_pairs
from parfocal.analysis.scratch_rows import Column, Rows, parts
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


@dataclass(frozen=True)
class Stitched:
    """The objects of a volume.

    Attributes
    ----------
    tiling : Tiling
        The tiles.
    sizes : (N,) int64 or Column
        Number of pixels of each object, in the order of their numbers.
    firsts : (N, 3) int64 or Column
        Their first pixels in the order Z, Y, X, which is the order of their numbers.
    lower, upper : (N, 3) int64 or Column
        Their first pixel along Z, Y, X, and the one after the last.
    merged : int
        How many objects no tile saw whole, so that they were made of the pieces of several.
    ambiguous : int
        How many pieces were cut by their tile, while no other tile saw anything like them.
    contested : int
        How many objects lost pixels to another one, because two tiles disagree.
    """

    tiling: Tiling
    sizes: Integers | Column
    firsts: Integers | Column
    lower: Integers | Column
    upper: Integers | Column
    merged: int
    ambiguous: int
    contested: int

    @property
    def objects(self) -> int:
        """Number of objects."""
        return len(self.sizes)

    @property
    def pixels(self) -> int:
        """Number of pixels of all objects."""
        return sum(int(self.sizes[part].sum()) for part in parts(len(self.sizes)))


def stitch(
    infer: Infer,
    tiling: Tiling,
    write: Write,
    *,
    make_volume: MakeVolume,
    scheduler: Scheduler,
    min_iou: float = 0.5,
    keep: Keep | None = None,
    folder: Path | None = None,
) -> Stitched:
    """Find objects tile by tile, and write them as those of one volume.

    Parameters
    ----------
    infer : callable
        ``infer(box)`` returns the labels (Z, Y, X) of what it sees in a box: any integers, 0 for
        background. It is called once a tile, where the scheduler works.
    tiling, write, make_volume, scheduler, min_iou, keep, folder
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
        folder=folder,
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
    folder: Path | None = None,
) -> Stitched:
    """Write the objects of tiles as those of one volume.

    Neither the numbers nor the pixels depend on the scheduler, or on how the objects of tiles are
    numbered. In memory are a few tiles, and a pair for each two pieces of objects that several
    tiles see; rows of objects lie in files.

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
        ``keep(sizes)`` tells by their numbers of pixels (N,) which objects are kept. It is asked
        about some at a time.
    folder : Path, optional
        Where rows of objects lie; see `Rows`.

    Returns
    -------
    Stitched
        Of the objects that are kept, numbered from 1 by their first pixel in the order Z, Y, X.
    """
    pile = _Pile(tiling, _storage(tiling, make_volume), min_iou, folder)
    for tile, found in enumerate(tiles):
        pile.add(tile, found)
    joined, census = pile.joined()
    local = scheduler if scheduler.local else Threads(1)
    for tile, core in enumerate(local.map(joined.core, range(len(tiling)))):
        census.add(tiling.inner(tile), core.groups, core.labels)
    numbers, kept = census.number(keep)
    table = numbers.column(0)
    for tile, core in enumerate(local.map(joined.core, range(len(tiling)))):
        write(tiling.inner(tile), table[core.groups][core.labels])
    return _stitched(tiling, census.ordered(numbers, kept), joined.ambiguous)


def _stitched(tiling: Tiling, rows: Rows, ambiguous: int) -> Stitched:
    merged = contested = 0
    told = rows.column(slice(None))
    for part in parts(len(rows)):
        pixels, *_, expected, of_pieces = told[part].T
        merged += int(of_pieces.sum())
        contested += int(((expected >= 0) & (expected != pixels)).sum())
    return Stitched(
        tiling=tiling,
        sizes=rows.column(0),
        firsts=rows.column(slice(1, 4)),
        lower=rows.column(slice(4, 7)),
        upper=rows.column(slice(7, 10)),
        merged=merged,
        ambiguous=ambiguous,
        contested=contested,
    )


def _storage(tiling: Tiling, make_volume: MakeVolume) -> Writable:
    """Make storage with the labels of each tile at a T of its own."""
    outer = tiling.outer_shape
    return make_volume((len(tiling), 1, *outer), np.int32, (1, 1, *outer))


@dataclass
class _Pile:
    """The tiles so far: 16 bytes a pair in memory; in files 8 a tile, and 32 an object of each."""

    tiling: Tiling
    storage: Writable
    min_iou: float
    folder: Path | None

    def __post_init__(self) -> None:
        """Begin with the background; pieces are numbered from 1 through all tiles."""
        self._starts, self._pieces = Rows(1, self.folder), Rows(4, self.folder)
        self._starts.append(np.zeros(1, np.int64))
        self._pieces.append(np.array([[1, 0, 0, 0]]))
        self._pairs = array("q")

    def add(self, tile: int, found: TileLabels) -> None:
        """Store a tile, and compare it with those before it."""
        first = len(self._pieces)
        self._starts.append(np.array([first - 1 + len(found)]))
        if not len(found):
            return
        outer = self.tiling.outer(tile)
        z, y, x = (slice(0, size) for size in sizes(outer))
        region = (slice(tile, tile + 1), slice(0, 1), z, y, x)
        self.storage.write(region, found.labels[None, None])
        for near in self.tiling.neighbours(tile):
            if near > tile:
                continue
            start, stop = (self._starts.read(slice(near, near + 2))[:, 0] + 1).tolist()
            if start == stop:
                continue
            complete = self._pieces.read(slice(start, stop))[:, 0] > 0
            both = common(outer, self.tiling.outer(near))
            seen = found.labels[inside(both, outer)]
            stored = _read(self.storage, near, inside(both, self.tiling.outer(near)))
            one, other = matches(found.complete, complete, (seen, stored), self.min_iou)
            if len(one):
                pairs = np.stack([one + first, other + start], axis=1)
                self._pairs.frombytes(pairs.tobytes())
        columns = (found.complete, found.anchored, found.spills, found.counts)
        self._pieces.append(np.stack(columns, axis=1).astype(np.int64))

    def joined(self) -> tuple[_Joined, Census]:
        """Join what matches into groups, each of which is one object."""
        labels, least = join_pairs(np.frombuffer(self._pairs, np.int64).reshape(-1, 2))
        members = np.union1d(labels, least)
        several = self._several(members, labels, least)
        pieces, owners = self._pieces.column(slice(None)), Rows(2, self.folder)
        census, ambiguous = Census(self.tiling.shape, self.folder), 0
        for part in parts(len(pieces)):
            complete, _, spills, counts = pieces[part].T
            tiles = self._tiles(np.arange(part.start, part.stop))
            own, alone = np.where(complete, [tiles, counts], -1), complete == 0
            told = np.stack([own[0], spills * complete, own[1], np.zeros_like(tiles)], axis=1)
            first, last = np.searchsorted(members, (part.start, part.stop))
            told[members[first:last] - part.start] = several[first:last]
            alone[members[first:last] - part.start] = False
            ambiguous += int(alone.sum())
            owners.append(told[:, :2])
            first, last = np.searchsorted(labels, (part.start, part.stop))
            census.begin(np.delete(told[:, 2:], labels[first:last] - part.start, axis=0))
        groups, starts = Joined.of(labels, least), self._starts.column(0)
        owned = owners.column(slice(None))
        return _Joined(self.tiling, self.storage, starts, groups, owned, ambiguous), census

    def _tiles(self, pieces: Integers) -> Integers:
        """Return the tile of each piece."""
        tiles: Integers = np.searchsorted(self._starts.column(0)[:], pieces) - 1
        return tiles

    def _several(self, members: Integers, labels: Integers, least: Integers) -> Integers:
        """Tell of the pieces that match others what `joined` tells of all.

        Returns
        -------
        (members, 4) int64
            The tile that writes their group, or -1; whether the piece is of that tile and leaves
            its block; the number of pixels that it sees, or -1; whether each writes its piece.
        """
        leads = members.copy()
        leads[np.searchsorted(members, labels)] = least
        names, groups = np.unique(leads, return_inverse=True)
        complete, anchored, spills, counts = self._pieces.take(members).T
        tiles, none = self._tiles(members), len(self.tiling)
        owners = np.full(len(names), none)
        for wanted in (complete & anchored, complete):
            free = (wanted > 0) & (owners[groups] == none)
            np.minimum.at(owners, groups[free], tiles[free])
        own = owners[groups] == tiles
        expected = np.bincount(groups[own], counts[own], len(names)).astype(np.int64)
        expected[owners == none], owners[owners == none] = -1, -1
        owners, expected = owners[groups], expected[groups]
        return np.stack([owners, own & (spills > 0), expected, owners < 0], axis=1)


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
    starts : (tiles + 1,) Column
        Piece n of tile i is number ``starts[i] + n`` of all.
    groups : Joined
        The group of each piece.
    owners : (pieces + 1, 2) Column
        The tile that writes its group, because it sees it whole, or -1 where each writes its piece;
        and whether that is the tile of the piece, and the piece leaves the block of it.
    ambiguous : int
        Number of pieces that are cut and match nothing.
    """

    tiling: Tiling
    storage: Readable
    starts: Column
    groups: Joined
    owners: Column
    ambiguous: int

    def core(self, tile: int) -> _Core:
        """Put together the block of a tile from what it and its neighbours see.

        A pixel goes to what its own tile sees there, but what another tile owns to that tile; a
        pixel that is free then goes to what the first of the neighbours that see something owns.
        """
        core = self.tiling.inner(tile)

        def tables(one: int) -> tuple[Integers, Integers, Integers]:
            """Return groups, owners and groups that spill of the labels of a tile; for 0 none."""
            start, stop = self.starts[one : one + 2].tolist()
            groups = self.groups.numbers(start, stop + 1)
            owners, spills = self.owners[start : stop + 1].T.copy()
            groups[0], owners[0] = 0, -1
            return groups, owners, groups * spills

        own, owners, _ = tables(tile)
        near = [
            (other, common(core, self.tiling.outer(other)), tables(other)[2])
            for other in self.tiling.neighbours(tile)
        ]
        groups = np.unique(np.concatenate([own, *(table for _, _, table in near)]))
        labels = np.zeros(sizes(core), np.int32)
        if len(own) > 1:
            seen = _read(self.storage, tile, inside(core, self.tiling.outer(tile)))
            places = np.searchsorted(groups, own).astype(np.int32)
            owned_by = np.full(len(groups), -1)
            owned_by[places] = owners
            labels = places[seen]
            for other in set(owners.tolist()) - {tile, -1}:
                view = labels[inside(common(core, self.tiling.outer(other)), core)]
                view[(owned_by == other)[view]] = 0
        for other, box, table in near:
            if table.any():
                seen = _read(self.storage, other, inside(box, self.tiling.outer(other)))
                view = labels[inside(box, core)]
                places = np.searchsorted(groups, table).astype(np.int32)
                np.copyto(view, places[seen], where=view == 0)
        return _Core(groups, labels)


def _read(storage: Readable, tile: int, box: Box) -> NDArray[np.int32]:
    """Read a box of what a tile sees; in whole rows, which lie together."""
    z, y, x = box
    row = slice(0, storage.shape5[4])
    region = (slice(tile, tile + 1), slice(0, 1), z, y, row)
    labels: NDArray[np.int32] = storage.read(region)[0, 0, :, :, x]
    return labels
