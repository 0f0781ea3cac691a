"""The sizes of chunks and shards of each level of an OME-Zarr."""

from __future__ import annotations

import math
from dataclasses import dataclass

from parfocal.core.blocks import Region, Shape
from parfocal.models.zarr_options import ZarrOptions

__all__ = ["LevelLayout", "plan_levels"]

_SHARD_CHUNKS = 4  # at most so many chunks of a shard side by side, along Y and along X
_DEFAULT_MIB = 32


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
        return self.shard[:2] == smaller.shard[:2] and all(
            self.shard[axis] == smaller.shard[axis] * (2 if axis in self.halved(smaller) else 1)
            or (self.shard[axis] >= self.shape[axis] and smaller.shard[axis] >= smaller.shape[axis])
            for axis in (2, 3, 4)
        )

    def halved(self, smaller: LevelLayout) -> tuple[int, ...]:
        """Return the axes (numbers in TCZYX) along which the level after is halved."""
        along_z = self.shape[2] != smaller.shape[2]
        return (2, 3, 4) if along_z else (3, 4)

    def halve(self, region: Region, smaller: LevelLayout) -> Region:
        """Return the region of the level after that follows from `region` of this one."""
        axes = self.halved(smaller)
        t, c, z, y, x = (
            slice(part.start // 2, -(-part.stop // 2)) if axis in axes else part
            for axis, part in enumerate(region)
        )
        return t, c, z, y, x

    def double(self, region: Region, smaller: LevelLayout) -> Region:
        """Return the region of this level that `region` of the level after follows from."""
        axes = self.halved(smaller)
        t, c, z, y, x = (
            slice(2 * part.start, min(2 * part.stop, self.shape[axis])) if axis in axes else part
            for axis, part in enumerate(region)
        )
        return t, c, z, y, x


def plan_levels(
    shape: Shape, itemsize: int, options: ZarrOptions, *, rgb: bool
) -> list[LevelLayout]:
    """Plan all levels: halve Y and X, and Z where asked, until Y and X fit into one chunk.

    Parameters
    ----------
    shape : tuple of int
        Size of the full resolution (T, C, Z, Y, X).
    itemsize : int
        Bytes a pixel.
    options : ZarrOptions
        The sides of chunks, the size of shards, and whether Z is halved.
    rgb : bool
        Whether all channels of a pixel are stored together in the source.

    Returns
    -------
    list of LevelLayout
        The full resolution first.
    """
    side = options.chunk_px
    across = _across(shape, itemsize, options)
    times, channels, thick = _thickness(shape, itemsize, options, rgb=rgb)
    levels = []
    t, c, z, y, x = shape
    while True:
        chunk: Shape = (1, 1, 1, min(side, y), min(side, x))
        height, width = (_span(size, side, across) for size in (y, x))
        shard: Shape = (times, channels, min(thick, z), height, width)
        levels.append(LevelLayout((t, c, z, y, x), chunk, shard))
        if y <= side and x <= side:
            return levels
        if options.halve_z:
            z, thick = -(-z // 2), -(-thick // 2)
        y, x = -(-y // 2), -(-x // 2)
        across = max(1, across // 2)


def _most_bytes(options: ZarrOptions) -> int:
    return (options.shard_mib or _DEFAULT_MIB) * 2**20


def _across(shape: Shape, itemsize: int, options: ZarrOptions) -> int:
    """Return how many chunks a shard has side by side at most, so that a plane of it fits."""
    across = _SHARD_CHUNKS
    while across > 1:
        spans = [_span(size, options.chunk_px, across) for size in shape[3:]]
        if math.prod(spans) * itemsize <= _most_bytes(options):
            break
        across //= 2
    return across


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
    across = _across(shape, itemsize, options)
    plane = math.prod(_span(size, options.chunk_px, across) for size in (y, x)) * itemsize
    room = max(1, _most_bytes(options) // plane)
    channels = c if rgb else 1
    planes = min(z, max(1, room // channels))
    if options.halve_z and planes < z:
        planes = 1 << (planes.bit_length() - 1)
    times = 1
    if planes == z and not rgb:
        channels = min(c, max(1, room // planes))
    if planes == z and channels == c:
        times = min(t, max(1, room // (planes * channels)))
    return times, channels, planes
