"""Filters of volumes that give the same pixels for any division into blocks.

Every filter depends on a window of known size around a pixel, its `halo`. Beyond the border
of the image the pixels are mirrored at the last one, which is not repeated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.gaussian import WHOLE, Box, radius_of, smooth
from parfocal.analysis.held import PlaneReader
from parfocal.analysis.thick_blocks import plan_thick
from parfocal.core.blocks import Readable, Region, Shape, expand, iter_blocks, region_shape
from parfocal.core.tally import Tally

__all__ = [
    "BackgroundGaussian",
    "DifferenceOfGaussians",
    "Filter",
    "FilteredSource",
    "Gaussian",
    "Halo",
    "Median",
    "Tally",
    "TopHat",
    "Triple",
    "filter_finite",
]

HELD_BYTES = 64 << 20
"""How much of an image is read at once, with what lies around it."""

Volume = NDArray[Any]
Triple = tuple[float, float, float]
Halo = tuple[int, int, int]


class Filter(Protocol):
    """A filter of volumes (Z, Y, X)."""

    @property
    def halo(self) -> Halo:
        """How many pixels it looks away from a pixel, along Z, Y, X."""

    def apply(self, volume: Volume, inner: Box = WHOLE) -> Volume:
        """Return the part `inner` of the filtered `volume` (Z, Y, X).

        All pixels are finite. Means have float32, or float64 where that holds pixels of the
        volume that float32 does not; filters that choose among pixels keep the data type.
        """


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian mean.

    Parameters
    ----------
    sigma : (Z, Y, X)
        Standard deviations in pixels; 0 leaves an axis alone.
    """

    sigma: Triple

    @property
    def halo(self) -> Halo:
        """Four standard deviations, rounded."""
        z, y, x = (radius_of(sigma) for sigma in self.sigma)
        return z, y, x

    def apply(self, volume: Volume, inner: Box = WHOLE) -> Volume:
        """Return the means; see `smooth`."""
        return smooth(volume, self.sigma, inner)


@dataclass(frozen=True)
class Median:
    """The median of a box.

    Parameters
    ----------
    radius : (Z, Y, X) int
        The box reaches so many pixels to each side.
    """

    radius: Halo

    @property
    def halo(self) -> Halo:
        """The radius."""
        return self.radius

    def apply(self, volume: Volume, inner: Box = WHOLE) -> Volume:
        """Return the medians."""
        from scipy.ndimage import median_filter

        size = [2 * radius + 1 for radius in self.radius]
        result: Volume = median_filter(volume, size=size, mode="mirror")
        return result[inner]


@dataclass(frozen=True)
class DifferenceOfGaussians:
    """A narrow Gaussian mean minus a wide one: blobs of a size between become bright.

    Parameters
    ----------
    narrow, wide : (Z, Y, X)
        Standard deviations in pixels.
    """

    narrow: Triple
    wide: Triple

    @property
    def halo(self) -> Halo:
        """The larger of both along each axis."""
        pairs = zip(Gaussian(self.narrow).halo, Gaussian(self.wide).halo, strict=True)
        z, y, x = (max(pair) for pair in pairs)
        return z, y, x

    def apply(self, volume: Volume, inner: Box = WHOLE) -> Volume:
        """Return the differences."""
        narrow = smooth(volume, self.narrow, inner)
        difference: Volume = narrow - smooth(volume, self.wide, inner)
        return difference


@dataclass(frozen=True)
class BackgroundGaussian:
    """What rises above a wide Gaussian mean; what lies below it becomes 0.

    Parameters
    ----------
    sigma : (Z, Y, X)
        Standard deviations in pixels.
    """

    sigma: Triple

    @property
    def halo(self) -> Halo:
        """That of the mean."""
        return Gaussian(self.sigma).halo

    def apply(self, volume: Volume, inner: Box = WHOLE) -> Volume:
        """Return the differences to the mean, at least 0."""
        above: Volume = np.maximum(volume[inner] - smooth(volume, self.sigma, inner), 0)
        return above


@dataclass(frozen=True)
class TopHat:
    """What a box cannot reach from below: the pixels minus their morphological opening.

    Parameters
    ----------
    radius : (Z, Y, X) int
        The box reaches so many pixels to each side.
    """

    radius: Halo

    @property
    def halo(self) -> Halo:
        """Twice the radius, for erosion and dilation."""
        z, y, x = (2 * radius for radius in self.radius)
        return z, y, x

    def apply(self, volume: Volume, inner: Box = WHOLE) -> Volume:
        """Return the white top-hat."""
        from scipy.ndimage import maximum_filter, minimum_filter

        size = [2 * radius + 1 for radius in self.radius]
        eroded = minimum_filter(volume, size=size, mode="mirror")
        opened: Volume = maximum_filter(eroded, size=size, mode="mirror")
        return volume[inner] - opened[inner]


def filter_finite(chosen: Filter, volume: Volume, inner: Box = WHOLE) -> Volume:
    """Filter a volume that may hold NaN or infinite pixels.

    Parameters
    ----------
    chosen : Filter
        The filter.
    volume : (Z, Y, X) float32 or float64
        The pixels.
    inner : tuple of slice
        The part that is wanted.

    Returns
    -------
    (Z, Y, X)
        The part of the result, NaN where the window of a pixel holds one that is not finite.
    """
    from scipy.ndimage import maximum_filter

    bad = ~np.isfinite(volume)
    if not bad.any():
        return chosen.apply(volume, inner)
    result = chosen.apply(np.where(bad, volume.dtype.type(0), volume), inner)
    size = [2 * halo + 1 for halo in chosen.halo]
    result[maximum_filter(bad, size=size, mode="mirror")[inner]] = np.nan
    return result


@dataclass(frozen=True)
class FilteredSource:
    """A filtered image, computed where it is read.

    Parameters
    ----------
    source : Readable
        The image.
    chosen : Filter
        The filter.
    channels : collection of int
        The channels to filter; the others pass unchanged.
    dtype : dtype
        Data type of the result. Integers are rounded half up and clipped.
    block5 : (T, C, Z, Y, X)
        The block of `source` that is cheap to read.
    tally : Tally
        Counts the results that are NaN.
    """

    source: Readable
    chosen: Filter
    channels: frozenset[int]
    dtype: np.dtype[Any]
    block5: Shape
    tally: Tally
    _reader: PlaneReader = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_reader", PlaneReader(self.source))

    @property
    def shape5(self) -> Shape:
        """Size along T, C, Z, Y, X."""
        return self.source.shape5

    @property
    def planes_at_once(self) -> int:
        """As many as are filtered together."""
        return plan_thick(self.block5, self.shape5, planar=self.chosen.halo[0] == 0)[2]

    def read(self, region: Region) -> NDArray[Any]:
        """Return the filtered pixels of `region` (T, C, Z, Y, X)."""
        out = np.empty(region_shape(region), self.dtype)
        block = plan_thick(self.block5, self.shape5, planar=self.chosen.halo[0] == 0)
        for piece in self._pieces(region, block):
            outer, _ = self._expand(piece)
            held = self._reader.hold(outer)
            for part in iter_blocks(piece, block):
                t, c, z, y, x = (
                    slice(inner.start - outer.start, inner.stop - outer.start)
                    for inner, outer in zip(part, region, strict=True)
                )
                out[t, c, z, y, x] = self._block(held, part)
        return out

    def _pieces(self, region: Region, block: Shape) -> Iterator[Region]:
        """Halve `region` until a piece, with what is around it, can be held in memory."""
        outer, _ = self._expand(region)
        axis = 3 if region_shape(region)[3] >= region_shape(region)[4] else 4
        start, stop, step = region[axis].start, region[axis].stop, block[axis]
        middle = -(-(start + stop) // 2 // step) * step
        needed = math.prod(region_shape(outer)) * self.source.dtype.itemsize
        if needed <= HELD_BYTES or not start < middle < stop:
            yield region
            return
        for half in (slice(start, middle), slice(middle, stop)):
            t, c, z, y, x = (half if i == axis else part for i, part in enumerate(region))
            yield from self._pieces((t, c, z, y, x), block)

    def _expand(self, region: Region) -> tuple[Region, Region]:
        return expand(region, (0, 0, *self.chosen.halo), self.shape5)

    def _block(self, held: Readable, part: Region) -> NDArray[Any]:
        if part[1].start not in self.channels:
            return held.read(part).astype(self.dtype)
        outer, inner = self._expand(part)
        volume = held.read(outer)[0, 0]
        if volume.dtype.kind == "f":
            working = np.result_type(volume.dtype, np.float32)
            result = filter_finite(self.chosen, volume.astype(working), inner[2:])
        else:
            result = self.chosen.apply(volume, inner[2:])
        return self._fit(result)[None, None]

    def _fit(self, result: Volume) -> NDArray[Any]:
        if self.dtype.kind == "f":
            self.tally.add(int(np.isnan(result).sum()))
            return result.astype(self.dtype)
        if result.dtype.kind != "f":
            return result.astype(self.dtype)
        whole = np.empty(result.shape, self.dtype)
        for target, plane in zip(whole, result, strict=True):  # small intermediate arrays
            target[...] = _round(plane, self.dtype)
        return whole


def _round(values: Volume, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Round floats half up to integers, giving those beyond their range its nearest end.

    Adding a half, and cutting the fraction off, would take the number just below a half to one;
    adding that number instead is right for all that are not negative and small enough.
    """
    if dtype.kind == "u" and dtype.itemsize <= 2:
        half = np.nextafter(values.dtype.type(0.5), values.dtype.type(0))
        added: Volume = values + half
        return np.clip(added, 0, np.iinfo(dtype).max, out=added).astype(dtype)
    rounded = np.floor(values)
    rounded += values - rounded >= 0.5
    return _clip_to(rounded, dtype)


def _clip_to(rounded: Volume, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Convert whole numbers, giving those beyond the range its nearest end.

    The largest 64-bit integers are no float64, so that the ends are set after conversion.
    """
    limits = np.iinfo(dtype)
    if dtype.itemsize <= 2:
        within: NDArray[Any] = np.clip(rounded, limits.min, limits.max).astype(dtype)
        return within
    low, high = rounded <= limits.min, rounded >= limits.max
    whole: NDArray[Any] = np.where(low | high, 0, rounded).astype(dtype)
    whole[low] = limits.min
    whole[high] = limits.max
    return whole
