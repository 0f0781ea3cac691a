"""Even out the illumination: divide by the brightness that each place of the field has.

A *field* is one plane (1, C, 1, Y, X) for each channel, or one plane for all. The *gain* is
the field that pixels are divided by, as a fraction of its mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.exact import limbs, ratio, total_of
from parfocal.analysis.thick_blocks import plan_thick
from parfocal.core.blocks import Readable, Region, Shape, iter_blocks, region_shape, whole
from parfocal.core.scheduler import Scheduler
from parfocal.core.tally import Tally

__all__ = [
    "CorrectedSource",
    "Field",
    "GainRange",
    "Offset",
    "dark_at",
    "survey_gain",
]


@dataclass(frozen=True)
class Field:
    """A field as float64, with one plane for each channel.

    Parameters
    ----------
    source : Readable
        One plane for each channel, or one for all.
    channels : int
        Number of channels.
    """

    source: Readable
    channels: int

    @property
    def shape5(self) -> Shape:
        """Size along T, C, Z, Y, X."""
        return 1, self.channels, 1, *self.source.shape5[3:]

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64."""
        return np.dtype(np.float64)

    def read(self, region: Region) -> NDArray[np.float64]:
        """Return `region` (1, 1, 1, Y, X) of one channel."""
        t, c, z, y, x = region
        if self.source.shape5[1] == 1:
            c = slice(0, 1)
        return self.source.read((t, c, z, y, x)).astype(np.float64)


@dataclass(frozen=True)
class Offset:
    """A field above what the camera gives without light.

    Parameters
    ----------
    source : Readable
        The field, as float64.
    dark : Readable or float
        What to subtract: a field of the same shape, or one value.
    """

    source: Readable
    dark: Readable | float

    @property
    def shape5(self) -> Shape:
        """Size along T, C, Z, Y, X."""
        return self.source.shape5

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64."""
        return np.dtype(np.float64)

    def read(self, region: Region) -> NDArray[np.float64]:
        """Return `region` (1, 1, 1, Y, X) of one channel."""
        return np.asarray(self.source.read(region) - dark_at(self.dark, region))


def dark_at(dark: Readable | float, region: Region) -> NDArray[Any] | float:
    """Return what to subtract in `region` (1, 1, 1, Y, X) of one channel."""
    return dark if isinstance(dark, float) else dark.read(region)


@dataclass(frozen=True)
class GainRange:
    """What there is in the gain of one channel.

    Attributes
    ----------
    mean, lowest, highest : float
        Of all finite values; NaN where there are none.
    missing : int
        How many are not finite.
    """

    mean: float
    lowest: float
    highest: float
    missing: int


@dataclass(frozen=True)
class _Survey:
    gain: Readable

    def __call__(self, region: Region) -> tuple[dict[int, int], list[float], int]:
        """Return the exact sum in limbs, the extremes, and how many values are finite."""
        values = self.gain.read(region).ravel()
        values = values[np.isfinite(values)]
        ends = [float(values.min()), float(values.max())] if values.size else []
        sums = {position: int(part.sum()) for position, part in limbs(values).items()}
        return sums, ends, values.size


def survey_gain(gain: Readable, scheduler: Scheduler) -> list[GainRange]:
    """Return mean and extremes of each channel; the mean is exact, and rounded once."""
    found = []
    _, channels, _, height, width = gain.shape5
    for channel in range(channels):
        sums: dict[int, int] = {}
        ends: list[float] = []
        number = 0
        tiles = _tiles(gain.shape5, channel)
        for part, extremes, count in scheduler.map(_Survey(gain), tiles):
            for position, limb in part.items():
                sums[position] = sums.get(position, 0) + limb
            ends = [min(ends + extremes), max(ends + extremes)] if ends or extremes else []
            number += count
        total, exponent = total_of(sums)
        mean = ratio(total, number, exponent) if number else float("nan")
        low, high = ends or (float("nan"), float("nan"))
        found.append(GainRange(mean, low, high, height * width - number))
    return found


def _tiles(shape: Shape, channel: int) -> Iterator[Region]:
    t, _, z, y, x = whole(shape)
    tile = plan_thick(shape, shape, planar=True)
    return iter_blocks((t, slice(channel, channel + 1), z, y, x), tile)


@dataclass(frozen=True)
class CorrectedSource:
    """An image divided by its gain, computed where it is read.

    Parameters
    ----------
    source : Readable
        The image.
    gain : Readable
        A field of float64, with a plane for each channel.
    means : tuple of float
        Mean of the gain of each channel, which stands for a factor of 1.
    dark : Readable or float
        What is subtracted first: a field with a plane for each channel, or one value.
    block5 : (T, C, Z, Y, X)
        The block of `source` that is cheap to read.
    tally : Tally
        Counts what the data type, that of the image, could not take.
    """

    source: Readable
    gain: Readable
    means: tuple[float, ...]
    dark: Readable | float
    block5: Shape
    tally: Tally

    @property
    def shape5(self) -> Shape:
        """Size along T, C, Z, Y, X."""
        return self.source.shape5

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the image."""
        return self.source.dtype

    def read(self, region: Region) -> NDArray[Any]:
        """Return the corrected pixels of `region` (T, C, Z, Y, X), rounded half up."""
        out = np.empty(region_shape(region), self.dtype)
        block = plan_thick(self.block5, self.shape5, planar=False)
        for part in iter_blocks(region, block):
            t, c, z, y, x = (
                slice(inner.start - outer.start, inner.stop - outer.start)
                for inner, outer in zip(part, region, strict=True)
            )
            out[t, c, z, y, x] = self._correct(part)
        return out

    def _correct(self, part: Region) -> NDArray[Any]:
        """Correct planes of one channel of one time point."""
        once = slice(0, 1)
        place = (once, part[1], once, part[3], part[4])
        dark = dark_at(self.dark, place)
        factor = self.gain.read(place) / self.means[part[1].start]
        with np.errstate(all="ignore"):  # what is not finite is counted
            result = (self.source.read(part).astype(np.float64) - dark) / factor
        return self._fit(result)

    def _fit(self, result: NDArray[np.float64]) -> NDArray[Any]:
        if self.dtype.kind == "f":
            with np.errstate(all="ignore"):
                values = result.astype(self.dtype)
            self.tally.add(int(np.count_nonzero(~np.isfinite(values))))
            return values
        rounded = np.floor(result + 0.5)
        limits = np.iinfo(self.dtype)
        # The largest integers of 64 bits are no float64: the ends are set after conversion.
        low, high = rounded < limits.min, rounded > limits.max
        top = rounded >= limits.max
        values = np.where(low | top, 0, rounded).astype(self.dtype)
        values[low], values[top] = limits.min, limits.max
        self.tally.add(below=int(np.count_nonzero(low)), above=int(np.count_nonzero(high)))
        return values
