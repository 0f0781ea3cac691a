"""The planes of a stack, one after the other, for one tile of its columns at a time.

Every plane comes in the order T, then Z, whatever the tile: what is summed up plane by plane
has the same bits for any division into tiles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Readable, Region, Shape, iter_blocks, region_shape

__all__ = ["Stack", "plan_tile"]

BLOCK_PIXELS = 1 << 21
BLOCK_SIDE = 512


def plan_tile(block5: Shape, shape: Shape, axis: int) -> Shape:
    """Choose what is read at once of a stack along `axis`: about two million pixels.

    A tile is whole blocks that are cheap to read, as far as they are not larger than that.

    Parameters
    ----------
    block5 : (T, C, Z, Y, X)
        The block that is cheap to read.
    shape : (T, C, Z, Y, X)
        Size of the image.
    axis : {0, 2}
        The axis of the planes, T or Z.

    Returns
    -------
    (T, C, Z, Y, X)
        One along the other axes.
    """
    deep = min(block5[axis], shape[axis])
    sides = [min(size, part) for size, part in zip(shape[3:], block5[3:], strict=True)]
    across = [max(1, BLOCK_SIDE // side) for side in sides]
    while math.prod(sides) * math.prod(across) * deep > BLOCK_PIXELS and max(across) > 1:
        across = [max(1, number // 2) for number in across]
    grown = [side * number for side, number in zip(sides, across, strict=True)]
    y, x = min(shape[3], grown[0]), min(shape[4], grown[1])
    while y * x > BLOCK_PIXELS:
        y, x = (-(-y // 2), x) if y > x else (y, -(-x // 2))
    fitting = max(1, BLOCK_PIXELS // (y * x))
    deep = fitting if fitting < deep else deep * (fitting // deep)
    deep = min(deep, shape[axis])
    return (deep, 1, 1, y, x) if axis == 0 else (1, 1, deep, y, x)


@dataclass(frozen=True)
class Stack:
    """Planes (Y, X) of one channel, which can be gone through any number of times.

    Parameters
    ----------
    source : Readable
        The image.
    extent : Region
        The time points, the one channel, the planes, and the tile along Y and X.
    tile : (T, C, Z, Y, X)
        What is read at once, as `plan_tile` says.
    """

    source: Readable
    extent: Region
    tile: Shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the planes."""
        return self.source.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """Size of a plane along Y and X."""
        return region_shape(self.extent)[3:]

    def __len__(self) -> int:
        """Return the number of planes."""
        return math.prod(region_shape(self.extent)[:3])

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield each plane (Y, X)."""
        for part in iter_blocks(self.extent, (*self.tile[:3], *self.source.shape5[3:])):
            yield from self.source.read(part).reshape(-1, *self.shape)
