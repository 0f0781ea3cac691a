"""The blocks of an image, none of which is kept: a list of them would grow with their number."""

from __future__ import annotations

import math
from collections.abc import Iterator

from parfocal.core.blocks import Region, Shape, iter_blocks

__all__ = ["BlockGrid"]


class BlockGrid:
    """The blocks of a region in the order of `iter_blocks`, made when they are asked for.

    Parameters
    ----------
    extent : Region
        What is divided.
    block : (T, C, Z, Y, X)
        Size of the blocks, whose borders are multiples of it.
    """

    def __init__(self, extent: Region, block: Shape) -> None:
        self._extent, self._block = extent, block

    def __len__(self) -> int:
        """Return the number of blocks."""
        return math.prod(self.counts)

    def __iter__(self) -> Iterator[Region]:
        """Yield the blocks."""
        return iter_blocks(self._extent, self._block)

    @property
    def counts(self) -> Shape:
        """Number of blocks along T, C, Z, Y, X."""
        t, c, z, y, x = (
            -(-part.stop // size) - part.start // size
            for part, size in zip(self._extent, self._block, strict=True)
        )
        return t, c, z, y, x

    def region(self, number: int) -> Region:
        """Return the block that comes after so many others."""
        slices = []
        for part, size, count in zip(
            reversed(self._extent), reversed(self._block), reversed(self.counts), strict=True
        ):
            number, place = divmod(number, count)
            start = part.start - part.start % size + place * size
            slices.append(slice(max(start, part.start), min(start + size, part.stop)))
        x, y, z, c, t = slices
        return t, c, z, y, x

    def at(self, time: int) -> BlockGrid:
        """Return the blocks of one time point."""
        return BlockGrid((slice(time, time + 1), *self._extent[1:]), self._block)
