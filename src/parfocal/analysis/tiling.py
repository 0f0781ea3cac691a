"""Overlapping tiles of a volume: which pixels each owns, and how far it looks beyond them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from parfocal.errors import ConfigurationError

__all__ = ["Box", "Tiling", "common", "inside", "sizes"]

Box = tuple[slice, slice, slice]
"""Slices along Z, Y, X with whole, non-negative bounds and no step."""

Index = tuple[int, int, int]


@dataclass(frozen=True)
class Tiling:
    """A grid of tiles over one time point. Tiles are numbered in the order Z, Y, X.

    Attributes
    ----------
    shape : (Z, Y, X)
        Size of the volume.
    core : (Z, Y, X)
        Size of the block that a tile owns; smaller at the ends of the volume.
    halo : (Z, Y, X)
        How far it looks beyond its block on each side.

    Raises
    ------
    ConfigurationError
        If a block is empty, or smaller than the halo along an axis that is divided.
    """

    shape: Index
    core: Index
    halo: Index

    def __post_init__(self) -> None:
        """Check the sizes."""
        for size, core, halo in zip(self.shape, self.core, self.halo, strict=True):
            if core < 1 or halo < 0 or core < min(halo, size):
                what = "The block is smaller than its halo"
                raise ConfigurationError(
                    what,
                    expected=f"blocks (Z, Y, X) of at least {self.halo} pixels",
                    found=self.core,
                    remedy="Choose larger blocks or a smaller overlap.",
                )

    @property
    def grid(self) -> Index:
        """Number of tiles along Z, Y, X."""
        z, y, x = (-(-size // core) for size, core in zip(self.shape, self.core, strict=True))
        return z, y, x

    @property
    def outer_shape(self) -> Index:
        """Size of the largest tile with its halo."""
        z, y, x = (
            min(size, core + 2 * halo)
            for size, core, halo in zip(self.shape, self.core, self.halo, strict=True)
        )
        return z, y, x

    def __len__(self) -> int:
        """Return the number of tiles."""
        return math.prod(self.grid)

    def inner(self, tile: int) -> Box:
        """Return the block that a tile owns."""
        z, y, x = (
            slice(i * core, min(size, (i + 1) * core))
            for i, core, size in zip(self._index(tile), self.core, self.shape, strict=True)
        )
        return z, y, x

    def outer(self, tile: int) -> Box:
        """Return all that a tile sees: its block with the halo, within the volume."""
        z, y, x = (
            slice(max(0, part.start - halo), min(size, part.stop + halo))
            for part, halo, size in zip(self.inner(tile), self.halo, self.shape, strict=True)
        )
        return z, y, x

    def neighbours(self, tile: int) -> Iterator[int]:
        """Yield the tiles that share a face, an edge or a corner with one, in their order."""
        index = self._index(tile)
        near = (
            range(max(0, i - 1), min(number, i + 2))
            for i, number in zip(index, self.grid, strict=True)
        )
        _, rows, columns = self.grid
        for z, y, x in itertools.product(*near):
            if (z, y, x) != index:
                yield (z * rows + y) * columns + x

    def _index(self, tile: int) -> Index:
        _, rows, columns = self.grid
        return tile // (rows * columns), tile // columns % rows, tile % columns


def common(one: Box, other: Box) -> Box:
    """Return what two boxes have in common; an axis may be empty."""
    z, y, x = (
        slice(start := max(a.start, b.start), max(start, min(a.stop, b.stop)))
        for a, b in zip(one, other, strict=True)
    )
    return z, y, x


def inside(box: Box, outer: Box) -> Box:
    """Return where `box` lies in the pixels of `outer`."""
    z, y, x = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(box, outer, strict=True))
    return z, y, x


def sizes(box: Box) -> Index:
    """Return the size of a box along Z, Y, X."""
    z, y, x = (part.stop - part.start for part in box)
    return z, y, x
