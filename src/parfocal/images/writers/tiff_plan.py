"""The levels of an OME-TIFF, their tiles, and the blocks in which they are made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from parfocal.core.blocks import Shape

__all__ = ["TileGrid", "plan_block", "plan_grids"]

_STEP = 16  # sides of tiles are multiples of it
_BLOCK_BYTES = 16 * 2**20
_ACROSS = 4  # at most so many tiles of a block side by side


@dataclass(frozen=True)
class TileGrid:
    """One level: its size (T, C, Z, Y, X), and the height and width of its tiles."""

    shape: Shape
    tile: tuple[int, int]

    @property
    def across(self) -> int:
        """How many tiles lie side by side."""
        return -(-self.shape[4] // self.tile[1])

    @property
    def count(self) -> int:
        """How many tiles a page has."""
        return -(-self.shape[3] // self.tile[0]) * self.across

    @property
    def values(self) -> int:
        """How many values the level holds."""
        return math.prod(self.shape)

    @property
    def padded(self) -> int:
        """How many values all tiles hold, those beyond the edges of the image included."""
        return math.prod(self.shape[:3]) * self.count * math.prod(self.tile)


def plan_grids(shape: Shape, side: int) -> list[TileGrid]:
    """Plan all levels: halve Y and X until both fit into one tile.

    Parameters
    ----------
    shape : tuple of int
        Size of the full resolution (T, C, Z, Y, X).
    side : int
        Height and width of a tile, which is smaller where a level is.

    Returns
    -------
    list of TileGrid
        The full resolution first.
    """
    t, c, z, y, x = shape
    grids = []
    while True:
        tile = (min(side, -(-y // _STEP) * _STEP), min(side, -(-x // _STEP) * _STEP))
        grids.append(TileGrid((t, c, z, y, x), tile))
        if y <= side and x <= side:
            return grids
        y, x = -(-y // 2), -(-x // 2)


def plan_block(
    grids: Sequence[TileGrid], itemsize: int, *, samples: int, depth: int
) -> tuple[Shape, int]:
    """Plan what one thread takes at once: whole tiles, and planes that the source stores together.

    Parameters
    ----------
    grids : sequence of TileGrid
        The level that is cut into blocks, and those after it.
    itemsize : int
        Bytes a value.
    samples : int
        How many channels are written together.
    depth : int
        How many planes along Z the source stores together.

    Returns
    -------
    block : tuple of int
        Sizes (T, C, Z, Y, X).
    levels : int
        How many levels have whole tiles in a block, the first included.
    """
    _, _, z, height, width = grids[0].shape
    tile_bytes = math.prod(grids[0].tile) * samples * itemsize
    depth = min(z, depth, max(1, _BLOCK_BYTES // tile_bytes))
    across, levels = 1, 1
    while 2 * across <= _ACROSS and (2 * across) ** 2 * tile_bytes * depth <= _BLOCK_BYTES:
        across, levels = 2 * across, levels + 1
    y, x = (
        min(across * side, size) for side, size in zip(grids[0].tile, (height, width), strict=True)
    )
    if (y, x) == (height, width):
        levels = len(grids)
    depth *= max(1, _BLOCK_BYTES // (y * x * samples * itemsize * depth))
    return (1, samples, min(z, depth), y, x), min(levels, len(grids))
