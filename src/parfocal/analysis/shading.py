"""Estimate the illumination of a field from the image itself.

At each place the mean, or a percentile, of all planes and time points is taken, and smoothed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.block_grid import BlockGrid
from parfocal.analysis.gaussian import gaussian_weights
from parfocal.analysis.illumination import dark_at
from parfocal.analysis.plane_ranks import ranked
from parfocal.analysis.plane_sums import PlaneSum
from parfocal.analysis.stacks import Stack, plan_tile
from parfocal.core.blocks import Readable, Region, Shape, Writable, whole
from parfocal.core.scheduler import Scheduler

__all__ = ["Shading", "estimate_shading"]

STRIP_PIXELS = 1 << 21

MakeVolume = Callable[[Shape, Any, Shape], Writable]
"""``make_volume(shape5, dtype, block5)`` returns scratch storage."""


@dataclass(frozen=True)
class Shading:
    """How the illumination is estimated.

    Parameters
    ----------
    sigma : (Y, X)
        Standard deviations of the Gaussian in pixels.
    percentile : float, optional
        Which percentile of the planes is taken at each place; their mean where None.
    """

    sigma: tuple[float, float]
    percentile: float | None = None


def estimate_shading(
    source: Readable,
    shading: Shading,
    dark: Readable | float = 0.0,
    *,
    block5: Shape,
    make_volume: MakeVolume,
    scheduler: Scheduler,
) -> Readable:
    """Estimate the illumination of each channel.

    Pixels that are not finite are left out. Memory does not depend on the size of the image.

    Parameters
    ----------
    source : Readable
        The image.
    shading : Shading
        How.
    dark : Readable or float
        What the camera gives without light: a field of the image's channels, or one value.
    block5 : (T, C, Z, Y, X)
        The block of `source` that is cheap to read.
    make_volume : callable
        Makes scratch volumes, of which the result is one.
    scheduler : Scheduler
        Where tiles are worked on.

    Returns
    -------
    Readable (1, C, 1, Y, X) float64
        NaN where no place within four standard deviations has a finite pixel.
    """
    _, channels, _, y, x = source.shape5
    shape: Shape = (1, channels, 1, y, x)
    dtype = np.dtype(np.float64)
    block = plan_tile(block5, source.shape5, 2)

    def store(
        work: Callable[[Region], NDArray[np.float64]], tiles: BlockGrid
    ) -> tuple[Writable, bool]:
        """Keep what `work` returns for each of the tiles; tell whether all of it is finite."""
        volume, complete = make_volume(shape, dtype, (1, 1, 1, *block[3:])), True
        for tile, values in zip(tiles, scheduler.map(work, tiles), strict=True):
            complete = complete and bool(np.isfinite(values).all())
            volume.write(tile, values)
        return volume, complete

    def smooth(chosen: Readable) -> Writable:
        sigma_y, sigma_x = shading.sigma
        rows, _ = store(_Smoothed(chosen, 4, sigma_x), _strips(shape, 3))
        return store(_Smoothed(rows, 3, sigma_y), _strips(shape, 4))[0]

    statistic = _Statistic(source, shading.percentile, dark, block)
    level, complete = store(statistic, BlockGrid(whole(shape), (1, 1, 1, *block[3:])))
    if complete:
        return smooth(level)
    return _Ratio(smooth(_Part(level, known=False)), smooth(_Part(level, known=True)))


def _strips(shape: Shape, axis: int) -> BlockGrid:
    """Divide the planes into strips of whole lines, side by side along `axis`."""
    line = shape[7 - axis]
    thick = max(1, STRIP_PIXELS // line)
    block = (1, 1, 1, thick, line) if axis == 3 else (1, 1, 1, line, thick)
    return BlockGrid(whole(shape), block)


@dataclass(frozen=True)
class _Smoothed:
    """Smooths whole lines along one axis; beyond their ends they are mirrored."""

    source: Readable
    axis: int
    sigma: float

    def __call__(self, region: Region) -> NDArray[np.float64]:
        from scipy.ndimage import correlate1d

        lines = self.source.read(region)
        result: NDArray[np.float64] = correlate1d(
            lines, gaussian_weights(self.sigma), self.axis, mode="mirror"
        )
        return result


@dataclass(frozen=True)
class _Part:
    """Where a field is known (1 or 0), or its values with 0 where it is not."""

    source: Readable
    known: bool

    @property
    def shape5(self) -> Shape:
        return self.source.shape5

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.source.dtype

    def read(self, region: Region) -> NDArray[Any]:
        values = self.source.read(region)
        finite = np.isfinite(values)
        return finite.astype(np.float64) if self.known else np.where(finite, values, 0.0)


@dataclass(frozen=True)
class _Ratio:
    """The ratio of two fields, NaN where the second is 0."""

    source: Readable
    weight: Readable

    @property
    def shape5(self) -> Shape:
        return self.source.shape5

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.source.dtype

    def read(self, region: Region) -> NDArray[Any]:
        with np.errstate(all="ignore"):
            return np.asarray(self.source.read(region) / self.weight.read(region))


@dataclass(frozen=True)
class _Finite:
    """An image whose infinite pixels are NaN."""

    source: Readable

    @property
    def shape5(self) -> Shape:
        return self.source.shape5

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.source.dtype

    def read(self, region: Region) -> NDArray[Any]:
        pixels = self.source.read(region)
        return np.where(np.isfinite(pixels), pixels, pixels.dtype.type(np.nan))


@dataclass(frozen=True)
class _Statistic:
    """Takes the mean or a percentile of all planes at each place; NaN where none is finite."""

    source: Readable
    percentile: float | None
    dark: Readable | float
    tile: Shape

    def __call__(self, region: Region) -> NDArray[np.float64]:
        """Return the statistic of `region` (1, 1, 1, Y, X) of a field."""
        t, _, z, _, _ = whole(self.source.shape5)
        floats = self.source.dtype.kind == "f"
        stack = Stack(
            _Finite(self.source) if floats else self.source,
            (t, region[1], z, region[3], region[4]),
            self.tile,
        )
        counts = _count_finite(stack) if floats else np.full(stack.shape, len(stack))
        if self.percentile is None:
            values = _mean(stack, counts)
        else:
            ranks = np.floor(self.percentile / 100 * (counts - 1) + 0.5).astype(np.int64)
            values = ranked(stack, [np.maximum(ranks, 0)])[0].astype(np.float64)
        return np.asarray(values[None, None, None] - dark_at(self.dark, region))


def _count_finite(stack: Stack) -> NDArray[np.int64]:
    counts = np.zeros(stack.shape, np.int64)
    for plane in stack:
        counts += ~np.isnan(plane)
    return counts


def _mean(stack: Stack, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    planes = PlaneSum(stack.shape, stack.dtype)
    for plane in stack:
        planes.add(np.nan_to_num(plane, nan=0.0) if stack.dtype.kind == "f" else plane)
    with np.errstate(all="ignore"):
        return planes.as_float() / counts
