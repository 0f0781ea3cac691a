"""An image of any data type as 65535 levels of brightness, smoothed, in blocks.

Level 0 is a pixel without a value (NaN or infinite), 1 the darkest and 65535 the brightest
of the image. Images of at most 65535 grey values lose nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.filters import Filter
from parfocal.core.blocks import Readable, Region, expand
from parfocal.core.scheduler import Scheduler

__all__ = ["BRIGHTEST", "LEVELS", "Scale", "find_scale", "read_levels"]

LEVELS = 65536
BRIGHTEST = LEVELS - 1
_STEPS = BRIGHTEST - 1
_FINE = 256
"""Levels that should lie between a threshold and the darkest pixel, where levels round."""


@dataclass(frozen=True)
class Scale:
    """How pixel values become levels.

    Attributes
    ----------
    low, high : int or float
        Least and greatest finite value.
    dark : bool
        Whether dark pixels get high levels.
    not_finite : int
        Number of pixels without a finite value.
    """

    low: float
    high: float
    dark: bool
    not_finite: int

    def to_unit(self, block: NDArray[Any]) -> NDArray[np.float32]:
        """Return a block with 0 for the darkest and 1 for the brightest; NaN without value."""
        if block.dtype.kind == "f":
            half = block.astype(np.float64) / 2 - self.low / 2
            unit = half / (self.high / 2 - self.low / 2)
            unit[~np.isfinite(unit)] = np.nan
        else:
            block = block.view(np.uint8) if block.dtype.kind == "b" else block
            unsigned = np.dtype(f"u{block.dtype.itemsize}")
            steps = (block - block.dtype.type(self.low)).view(unsigned)
            working = np.result_type(unsigned, np.float32)
            unit = steps.astype(working)
            unit /= working.type(self.high - self.low)
        if self.dark:
            np.subtract(1, unit, out=unit)
        return unit.astype(np.float32, copy=False)

    def to_level(self, value: float, dtype: np.dtype[Any]) -> int:
        """Return the last level of the pixels of `dtype` that are not beyond `value`."""
        if dtype.kind != "f":
            value = math.ceil(value) if self.dark else math.floor(value)
        if not self.low <= value <= self.high:
            return BRIGHTEST if (value > self.high) != self.dark else 0
        return int(_quantise(self.to_unit(np.array([[value]]).astype(dtype)))[0, 0])

    def to_value(self, level: int) -> float:
        """Return the pixel value that `level` stands for."""
        unit = (level - 1) / _STEPS
        unit = 1 - unit if self.dark else unit
        return float(self.low * (1 - unit) + self.high * unit)

    def step_at(self, level: int) -> float | None:
        """Return the width of a level in units of the image if it is coarse for a threshold there.

        It is where few levels are left for what is darker, since some pixels are very bright.
        """
        rounds = isinstance(self.low, float) or self.high - self.low > _STEPS
        return (self.high / _STEPS - self.low / _STEPS) if rounds and level < _FINE else None

    def to_step(self, difference: float) -> int:
        """Return a difference of pixel values as a number of levels, rounded."""
        return round(difference / 2 / (self.high / 2 - self.low / 2) * _STEPS)


def find_scale(
    source: Readable, regions: Iterable[Region], *, dark: bool, scheduler: Scheduler
) -> Scale | None:
    """Find the range of the finite pixels of some regions.

    Returns
    -------
    Scale or None
        None if no two pixels have different finite values.
    """
    least: Any = None
    greatest: Any = None
    not_finite = 0
    for low, high, missing in scheduler.map(partial(_extremes, source), regions):
        not_finite += missing
        if low is not None:
            least = low if least is None else min(least, low)
            greatest = high if greatest is None else max(greatest, high)
    if least == greatest:
        return None
    return Scale(least, greatest, dark, not_finite)


def _extremes(source: Readable, region: Region) -> tuple[Any, Any, int]:
    """Return the least and the greatest finite pixel, and how many are not finite."""
    block = source.read(region)
    values = block[np.isfinite(block)] if block.dtype.kind == "f" else block
    if not values.size:
        return None, None, block.size
    return values.min().item(), values.max().item(), block.size - values.size


def read_levels(
    source: Readable, region: Region, scale: Scale, filters: Iterable[Filter]
) -> list[NDArray[np.uint16]]:
    """Read one region as levels, once for each of `filters`.

    A pixel without a value counts as the darkest for its neighbours and stays level 0.

    Parameters
    ----------
    source : Readable
        The image.
    region : Region
        One channel of one time point.
    scale : Scale
        The range of the image.
    filters : iterable of Filter
        Means: their results lie within the range of the pixels.

    Returns
    -------
    list of (Z, Y, X) uint16
        The filtered levels.
    """
    return [_filtered(source, region, scale, chosen) for chosen in filters]


def _filtered(source: Readable, region: Region, scale: Scale, chosen: Filter) -> NDArray[np.uint16]:
    outer, inner = expand(region, (0, 0, *chosen.halo), source.shape5)
    unit = scale.to_unit(source.read(outer)[0, 0])
    missing = np.isnan(unit) if source.dtype.kind == "f" else None
    if missing is not None:
        unit[missing] = 0
    levels = _quantise(chosen.apply(unit, inner[2:]))
    if missing is not None:
        levels[missing[inner[2:]]] = 0
    return levels


def _quantise(unit: NDArray[Any]) -> NDArray[np.uint16]:
    """Return levels 1 to 65535 for values from 0 to 1, rounded half up."""
    result = np.empty(unit.shape, np.uint16)
    for target, plane in zip(result, unit, strict=True):  # to keep intermediate arrays small
        levels = np.clip(plane, 0, 1)
        levels *= np.float32(_STEPS)
        levels += np.float32(1.5)
        target[...] = levels  # cut off below the point
    return result
