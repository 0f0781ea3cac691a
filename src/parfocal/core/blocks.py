"""Regions of five-dimensional images, plans of blocks, and what can be read or written so.

All code works in the axes TCZYX; an axis that an image lacks has size 1.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Readable",
    "Region",
    "Shape",
    "Thick",
    "Writable",
    "expand",
    "iter_blocks",
    "region_shape",
    "whole",
]

Shape = tuple[int, int, int, int, int]
Region = tuple[slice, slice, slice, slice, slice]
"""Five slices in the order TCZYX with whole, non-negative bounds and no step."""


class Readable(Protocol):
    """Something of which regions can be read, from several threads at once."""

    @property
    def shape5(self) -> Shape:
        """Size along T, C, Z, Y, X."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type, in native byte order."""

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X)."""


@runtime_checkable
class Thick(Readable, Protocol):
    """Something that reads planes beside those it is asked for, and so rather several at once."""

    @property
    def planes_at_once(self) -> int:
        """How many planes are best read together."""


class Writable(Readable, Protocol):
    """Something of which regions can be written too."""

    def write(self, region: Region, block: NDArray[Any]) -> None:
        """Store `block` (T, C, Z, Y, X) at `region`."""


class Scratch(Writable, Protocol):
    """Storage for a while."""

    def close(self) -> None:
        """Give it back; it is not read any more."""


def whole(shape: Shape) -> Region:
    """Return the region that covers all of `shape`."""
    t, c, z, y, x = (slice(0, size) for size in shape)
    return t, c, z, y, x


def region_shape(region: Region) -> Shape:
    """Return the shape of the pixels of `region`."""
    t, c, z, y, x = (part.stop - part.start for part in region)
    return t, c, z, y, x


def iter_blocks(extent: Region, block: Shape) -> Iterator[Region]:
    """Divide `extent` into blocks whose borders are multiples of `block`.

    The blocks come in the order of the axes, X fastest; those at the ends are smaller.
    """
    axes = [
        [
            slice(max(start, part.start), min(start + size, part.stop))
            for start in range(part.start - part.start % size, part.stop, size)
        ]
        for part, size in zip(extent, block, strict=True)
    ]
    yield from itertools.product(*axes)


def expand(region: Region, halo: Shape, shape: Shape) -> tuple[Region, Region]:
    """Grow `region` by `halo` on both sides, within `shape`.

    Returns
    -------
    outer : Region
        The grown region.
    inner : Region
        Where `region` lies within it.
    """
    grown = [
        slice(max(0, part.start - margin), min(size, part.stop + margin))
        for part, margin, size in zip(region, halo, shape, strict=True)
    ]
    t, c, z, y, x = grown
    inner = [
        slice(part.start - big.start, part.stop - big.start)
        for part, big in zip(region, grown, strict=True)
    ]
    it, ic, iz, iy, ix = inner
    return (t, c, z, y, x), (it, ic, iz, iy, ix)
