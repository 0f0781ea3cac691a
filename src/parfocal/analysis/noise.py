"""The noise of a smoothed image, and from which brightness on an object stands out of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.gaussian import gaussian_weights, radius_of
from parfocal.analysis.levels import LEVELS
from parfocal.analysis.thresholds import median_level
from parfocal.core.blocks import Readable, Region, expand
from parfocal.core.scheduler import Scheduler

__all__ = ["detection_limit", "measure_noise"]

DEVIATIONS = 4.0
"""How many standard deviations of the noise an object exceeds the background by.

The limit of detection of one measurement is three (IUPAC, doi:10.1351/goldbook.L03540). An image
is millions of measurements, and few photons have a longer tail than the normal distribution.
"""

NORMAL = 1.482602218505602
"""Standard deviation of a normal distribution by its median absolute deviation."""


def measure_noise(
    levels: Readable,
    regions: Iterable[Region],
    threshold: int,
    sigma_x: float,
    scheduler: Scheduler,
) -> float:
    """Measure the noise of what is not above a threshold.

    Neighbours along X differ by noise and, less often, by structure: their median difference
    is that of noise. Smoothing makes neighbours alike; by how much is known for noise that is
    independent from pixel to pixel. Pairs are chosen by their mean, which says nothing about
    their difference.

    Parameters
    ----------
    levels : Readable
        Smoothed levels.
    regions : iterable of Region
        Blocks of all of it.
    threshold : int
        Pairs with a higher mean are left out.
    sigma_x : float
        Standard deviation in pixels of the smoothing along X, 0 for none.
    scheduler : Scheduler
        Where blocks are worked on.

    Returns
    -------
    float
        Standard deviation in levels; 0 if most neighbours are equal or there are none.
    """
    counts = np.zeros(LEVELS + 1, np.int64)
    for part in scheduler.map(partial(_differences, levels, threshold), regions):
        counts[1:] += part  # shifted, since a histogram of levels has no pixels in 0
    if not counts.any():
        return 0.0
    difference = NORMAL * (median_level(counts) - 1)
    return difference / math.sqrt(2 * (1 - _likeness(sigma_x)))


def _differences(levels: Readable, threshold: int, region: Region) -> NDArray[np.int64]:
    """Return the histogram of the differences of neighbours along X in a block."""
    outer, _ = expand(region, (0, 0, 0, 0, 1), levels.shape5)
    from_here = slice(region[4].start, outer[4].stop)
    counts = np.zeros(LEVELS, np.int64)
    for plane in levels.read((*region[:4], from_here))[0, 0]:
        one, other = plane[:, :-1].astype(np.int32), plane[:, 1:].astype(np.int32)
        chosen = (one + other <= 2 * threshold) & (one > 0) & (other > 0)
        counts += np.bincount(np.abs(one - other)[chosen], minlength=LEVELS)
    return counts


def _likeness(sigma: float) -> float:
    """Return the correlation of neighbours in smoothed noise."""
    if not radius_of(sigma):
        return 0.0
    weights = gaussian_weights(sigma)
    return math.fsum(weights[1:] * weights[:-1]) / math.fsum(weights * weights)


def detection_limit(counts: NDArray[np.int64], threshold: int, noise: float) -> int:
    """Return the least threshold that lies beyond noise: `threshold` or a higher one.

    Parameters
    ----------
    counts : (65536,) int64
        Histogram of levels.
    threshold : int
        What separates objects from background, so far.
    noise : float
        Standard deviation of the background.

    Returns
    -------
    int
        Four standard deviations above the median of all that is not above it, or more.
    """
    while True:
        below = counts[: threshold + 1]
        if not below[1:].any():
            return threshold
        limit = min(LEVELS - 1, math.ceil(median_level(below) + DEVIATIONS * noise))
        if limit <= threshold:
            return threshold
        threshold = limit
