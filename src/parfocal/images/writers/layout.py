"""The sizes of chunks and shards of each level of an OME-Zarr."""

from __future__ import annotations

import math
from dataclasses import dataclass

from parfocal.core.blocks import Shape
from parfocal.models.zarr_options import ZarrOptions

__all__ = ["LevelLayout", "plan_levels"]

_SHARD_CHUNKS = 4  # at most so many chunks of a shard side by side, along Y and along X


@dataclass(frozen=True)
class LevelLayout:
    """Sizes (T, C, Z, Y, X) of one level, of its chunks, and of its shards.

    `shard` is what is written at once; without sharding a shard holds as many chunks.
    """

    shape: Shape
    chunk: Shape
    shard: Shape

    def feeds(self, smaller: LevelLayout) -> bool:
        """Tell whether each shard halves into exactly one shard of the level after."""
        return self.shard[:3] == smaller.shard[:3] and all(
            self.shard[axis] == 2 * smaller.shard[axis]
            or (self.shard[axis] >= self.shape[axis] and smaller.shard[axis] >= smaller.shape[axis])
            for axis in (3, 4)
        )


def plan_levels(
    shape: Shape, itemsize: int, options: ZarrOptions, *, rgb: bool
) -> list[LevelLayout]:
    """Plan all levels: halve Y and X until both fit into one chunk.

    Parameters
    ----------
    shape : tuple of int
        Size of the full resolution (T, C, Z, Y, X).
    itemsize : int
        Bytes a pixel.
    options : ZarrOptions
        The sides of chunks and the size of shards.
    rgb : bool
        Whether all channels of a pixel are stored together in the source.

    Returns
    -------
    list of LevelLayout
        The full resolution first.
    """
    side = options.chunk_px
    thick = _thickness(shape, itemsize, options, rgb=rgb)
    levels = []
    t, c, z, y, x = shape
    across = _SHARD_CHUNKS
    while True:
        chunk: Shape = (1, 1, 1, min(side, y), min(side, x))
        spans = [_span(size, side, across) for size in (y, x)]
        shard: Shape = (*thick, spans[0], spans[1])
        levels.append(LevelLayout((t, c, z, y, x), chunk, shard))
        if y <= side and x <= side:
            return levels
        y, x = -(-y // 2), -(-x // 2)
        across = max(1, across // 2)


def _span(size: int, side: int, across: int) -> int:
    """Return the length of a shard: whole chunks, a power of two of them, as many as needed."""
    if size <= side:
        return size
    needed = -(-size // side)
    return side * min(across, 1 << (needed - 1).bit_length())


def _thickness(
    shape: Shape, itemsize: int, options: ZarrOptions, *, rgb: bool
) -> tuple[int, int, int]:
    """Return how many T, C and Z a shard holds, so that it is not over the wanted size."""
    t, c, z, y, x = shape
    plane = math.prod(_span(size, options.chunk_px, _SHARD_CHUNKS) for size in (y, x)) * itemsize
    room = max(1, (options.shard_mib or 32) * 2**20 // plane)
    channels = c if rgb else 1
    planes = min(z, max(1, room // channels))
    times = 1
    if planes == z and not rgb:
        channels = min(c, max(1, room // planes))
    if planes == z and channels == c:
        times = min(t, max(1, room // (planes * channels)))
    return times, channels, planes
