"""Which level of a pyramid a picture is drawn of, and what stands in for one that is not there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Readable, Region, Shape, iter_blocks, region_shape

__all__ = ["Shrunk", "level_of_size", "pick_level", "shrink"]

_TILE_PX = 1024


def pick_level(levels: Sequence[Readable], edge_px: int) -> int:
    """Return the number of the smallest level whose longer edge is at least `edge_px`.

    It is the first one, the full resolution, where all are smaller.

    Parameters
    ----------
    levels : sequence of Readable
        The largest first.
    edge_px : int
        The longer edge of the picture.
    """
    large = [n for n, level in enumerate(levels) if max(level.shape5[3:]) >= edge_px]
    return large[-1] if large else 0


def level_of_size(levels: Sequence[Readable], wanted: Readable, edge_px: int) -> Readable:
    """Return the level of a label image that has the size of a level of its image.

    Parameters
    ----------
    levels : sequence of Readable
        Of the label image, the largest first.
    wanted : Readable
        The level of the image.
    edge_px : int
        Where none has that size, the level is picked by `pick_level`.
    """
    same = [level for level in levels if level.shape5[3:] == wanted.shape5[3:]]
    return same[0] if same else levels[pick_level(levels, edge_px)]


def shrink(
    level: Readable, edge_px: int, block: tuple[int, int], *, labels: bool = False
) -> Readable:
    """Return a level of a size that fits into memory: itself, or a `Shrunk` one.

    Levels that are halved until they are nearest to the picture are never shrunk; one without
    smaller ones may be.

    Parameters
    ----------
    level : Readable
        The level that was picked.
    edge_px : int
        The longer edge of the picture; that of the result is at most twice as long.
    block : (int, int)
        Height and width of what is cheap to read.
    labels : bool
        Whether its numbers must not be mixed.
    """
    factor = -(-max(level.shape5[3:]) // (2 * edge_px))
    return level if factor == 1 else Shrunk(level, factor, block, labels)


@dataclass(frozen=True)
class Shrunk:
    """A smaller level of an image that has none: each pixel is the mean of a square of pixels.

    Pixels that are not finite are left out of means; where there is no other the mean is NaN. Of
    labels the pixel in the middle is taken. Tiles are made of whole squares, so that the numbers
    are the same for any `block`.

    Parameters
    ----------
    source : Readable
        The level.
    factor : int
        The side of the squares; those at the ends are smaller.
    block : (int, int)
        Height and width of what is cheap to read of `source`.
    labels : bool
        Whether the numbers are labels.
    """

    source: Readable
    factor: int
    block: tuple[int, int]
    labels: bool = False

    @property
    def shape5(self) -> Shape:
        """Size along T, C, Z, Y, X."""
        t, c, z, y, x = self.source.shape5
        return t, c, z, -(-y // self.factor), -(-x // self.factor)

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of labels, else float64."""
        return self.source.dtype if self.labels else np.dtype(np.float64)

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X)."""
        result = np.empty(region_shape(region), self.dtype)
        high, wide = (-(-max(side, _TILE_PX) // self.factor) for side in self.block)
        for tile in iter_blocks(region, (1, 1, 1, high, wide)):
            squares = self.source.read(self._enlarged(tile))[0, 0, 0]
            place = tuple(
                slice(part.start - begin.start, part.stop - begin.start)
                for part, begin in zip(tile, region, strict=True)
            )
            result[place] = self._reduced(squares)
        return result

    def _enlarged(self, region: Region) -> Region:
        """Return the region of the source that becomes `region`."""
        t, c, z, *sides = region
        y, x = (
            slice(side.start * self.factor, min(side.stop * self.factor, size))
            for side, size in zip(sides, self.source.shape5[3:], strict=True)
        )
        return t, c, z, y, x

    def _reduced(self, squares: NDArray[Any]) -> NDArray[Any]:
        if not self.labels:
            return _means(squares, self.factor)
        rows, columns = (_middles(size, self.factor) for size in squares.shape)
        return squares[np.ix_(rows, columns)]


def _middles(size: int, factor: int) -> NDArray[np.intp]:
    begins = np.arange(0, size, factor)
    return np.asarray(begins + np.minimum(factor, size - begins) // 2)


def _means(pixels: NDArray[Any], factor: int) -> NDArray[np.float64]:
    values = np.asarray(pixels, np.float64)
    known = np.isfinite(values)
    counts = _sums(known, factor)
    with np.errstate(over="ignore"):
        sums = _sums(np.where(known, values, 0.0), factor)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _sums(values: NDArray[Any], factor: int) -> NDArray[np.float64]:
    """Sum squares of (Y, X), always in the same order: rows, then columns."""
    result = values
    for axis in (0, 1):
        lines = np.moveaxis(result, axis, 0)
        total = np.zeros((-(-len(lines) // factor), lines.shape[1]))
        for offset in range(factor):
            part = lines[offset::factor]
            total[: len(part)] += part
        result = np.moveaxis(total, 0, axis)
    return np.asarray(result, np.float64)
