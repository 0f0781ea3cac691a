"""Thresholds found from a histogram of levels.

A histogram holds in ``counts[level]`` the number of pixels of each level, from 0 to 65535.
Level 0 is reserved for pixels without a value and never counts. What is brighter than the
threshold, ``level > threshold``, belongs to objects.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.elementary import logarithm

__all__ = ["GLOBAL_THRESHOLDS", "isodata", "li", "median_level", "otsu", "triangle"]

Counts = NDArray[np.int64]

MAX_ROUNDS = 1000


def _levels(counts: Counts) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the levels that occur, without 0, and their numbers of pixels."""
    levels = np.flatnonzero(counts)
    levels = levels[levels > 0]
    return levels, counts[levels].astype(np.float64)


def otsu(counts: Counts) -> int:
    """Return the level that separates two classes with the largest variance between them.

    Parameters
    ----------
    counts : (65536,) int64
        Histogram with at least one pixel.

    Returns
    -------
    int
        The first of equally good levels.

    Source: Otsu 1979, doi:10.1109/TSMC.1979.4310076.
    """
    levels, numbers = _levels(counts)
    if len(levels) == 1:
        return int(levels[0])
    below = np.cumsum(numbers)[:-1]
    sums = np.cumsum(numbers * levels)
    above = numbers.sum() - below
    difference = sums[:-1] / below - (sums[-1] - sums[:-1]) / above
    return int(levels[np.argmax(below * above * difference**2)])


def _iterate(counts: Counts, step: Callable[[float, float], float]) -> int:
    """Move a threshold, from the mean on, to ``step(mean below, mean above)`` until it rests."""
    levels, numbers = _levels(counts)
    values = levels - float(levels[0])
    pixels, sums = np.cumsum(numbers), np.cumsum(numbers * values)
    threshold = sums[-1] / pixels[-1]
    for _ in range(MAX_ROUNDS):
        last = int(np.searchsorted(values, threshold, side="right")) - 1
        if last == len(values) - 1:
            break
        below = sums[last] / pixels[last]
        above = (sums[-1] - sums[last]) / (pixels[-1] - pixels[last])
        moved = step(below, above)
        if int(moved) == int(threshold):
            break
        threshold = moved
    return int(threshold) + int(levels[0])


def li(counts: Counts) -> int:
    """Return the level of least cross entropy between the image and its two classes.

    Parameters
    ----------
    counts : (65536,) int64
        Histogram with at least one pixel. Values are counted from the darkest level that occurs.

    Returns
    -------
    int
        The level at which the iteration from the mean rests.

    Source: Li and Tam 1998, doi:10.1016/S0167-8655(98)00057-9.
    """

    def step(below: float, above: float) -> float:
        below = max(below, 0.5)
        return (above - below) / (logarithm(above) - logarithm(below))

    return _iterate(counts, step)


def isodata(counts: Counts) -> int:
    """Return the level halfway between the means of both classes.

    Parameters
    ----------
    counts : (65536,) int64
        Histogram with at least one pixel.

    Returns
    -------
    int
        The level at which the iteration from the mean rests.

    Source: Ridler and Calvard 1978, doi:10.1109/TSMC.1978.4310039.
    """
    return _iterate(counts, lambda below, above: (below + above) / 2)


def triangle(counts: Counts) -> int:
    """Return the level farthest below the line from the peak to the end of the longer tail.

    The histogram is taken in 256 equal classes between its ends, so that the peak is not
    the chance of a single level.

    Parameters
    ----------
    counts : (65536,) int64
        Histogram with at least one pixel.

    Returns
    -------
    int
        The upper end of the class.

    Source: Zack, Rogers and Latt 1977, doi:10.1177/25.7.70454.
    """
    levels, numbers = _levels(counts)
    first, last = int(levels[0]), int(levels[-1])
    if first == last:
        return first
    edges = np.linspace(first, last + 1, 257)
    heights = np.histogram(levels, edges, weights=numbers)[0]
    peak, end = int(np.argmax(heights)), len(heights) - 1
    flipped = peak > end - peak
    if flipped:
        heights, peak = heights[::-1], end - peak
    tail = np.arange(peak, end + 1)
    if len(tail) < 2:
        return int(levels[-1])
    line = heights[peak] + (heights[end] - heights[peak]) * (tail - peak) / (end - peak)
    best = int(tail[np.argmax(line - heights[tail])])
    best = end - best - 1 if flipped else best
    return int(np.ceil(edges[best + 1])) - 1


def median_level(counts: Counts) -> int:
    """Return the median level of a histogram with at least one pixel, the lower of two."""
    levels, numbers = _levels(counts)
    total = np.cumsum(numbers)
    return int(levels[np.searchsorted(total, total[-1] / 2)])


GLOBAL_THRESHOLDS: dict[str, Callable[[Counts], int]] = {
    "otsu": otsu,
    "li": li,
    "isodata": isodata,
    "triangle": triangle,
}
"""The methods by name."""
