"""Leave out corners of closed polygons, many polygons at once, within a tolerance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.exact import Integers

__all__ = ["chosen_points"]


def chosen_points(points: Integers, starts: Integers, tolerance: float) -> NDArray[np.bool_]:
    """Return which points of closed polygons to keep, as Douglas and Peucker did.

    A ring is first divided at its first point and the one farthest from it. A part whose points
    all lie within the tolerance of the straight line between its ends becomes that line; another
    is divided at the point farthest from it. At least three points of a ring are kept.

    Parameters
    ----------
    points : (N, 2) int64
        The points of all rings, one ring after the other.
    starts : (M,) int64
        The first point of each ring, which has at least 3, not all on one line.
    tolerance : float
        0 or more, in the unit of `points`; with 0 all are kept.

    Returns
    -------
    (N,) bool

    Source: D. Douglas, T. Peucker, Cartographica 10 (1973) 112-122.
    """
    kept = np.ones(len(points), bool)
    if tolerance == 0 or not starts.size:
        return kept
    # Each ring is closed by its first point, so that its last part has an end.
    closed = np.insert(points, np.append(starts[1:], len(points)), points[starts], axis=0)
    ends = np.append(starts[1:], len(points)) + np.arange(starts.size)
    marked = np.zeros(len(closed), bool)
    _mark(closed, starts + np.arange(starts.size), ends, tolerance, marked)
    kept[:] = np.delete(marked, ends)
    return kept


def _mark(
    points: Integers, starts: Integers, ends: Integers, tolerance: float, kept: NDArray[np.bool_]
) -> None:
    """Mark the points to be kept of rings that are closed by their first point."""
    middle, _ = _farthest(points, starts, ends)
    first, first_off = _farthest(points, starts, middle)
    second, second_off = _farthest(points, middle, ends)
    # Two points are no polygon; the third is kept however near it lies.
    third = np.where(first_off >= second_off, first, second)
    for chosen in (starts, middle, third):
        kept[chosen] = True
    marks = np.sort(np.stack([starts, middle, third, ends], axis=1), axis=1)
    lower, upper = marks[:, :-1].ravel(), marks[:, 1:].ravel()
    while True:
        wide = upper - lower > 1
        lower, upper = lower[wide], upper[wide]
        if not lower.size:
            return
        place, off = _farthest(points, lower, upper)
        far = off > tolerance * tolerance
        lower, place, upper = lower[far], place[far], upper[far]
        kept[place] = True
        lower, upper = np.concatenate([lower, place]), np.concatenate([place, upper])


def _farthest(
    points: Integers, lower: Integers, upper: Integers
) -> tuple[Integers, NDArray[np.float64]]:
    """Return for each part the point farthest from the line between its ends.

    Returns
    -------
    place : (N,) int64
        Which point; the first of equals. That of a part without inner points is its lower end.
    off : (N,) float64
        The square of its distance.
    """
    counts = upper - lower  # the lower end is taken along, so that no part is empty
    offsets = np.cumsum(counts) - counts
    places = np.arange(int(counts.sum())) + np.repeat(lower - offsets, counts)
    x_all, y_all = points.T
    x = x_all[places] - np.repeat(x_all[lower], counts)
    y = y_all[places] - np.repeat(y_all[lower], counts)
    x_side = np.repeat(x_all[upper] - x_all[lower], counts)
    y_side = np.repeat(y_all[upper] - y_all[lower], counts)
    along = x * x_side + y * y_side
    square = x_side * x_side + y_side * y_side
    across = (x * y_side - y * x_side).astype(float)
    from_line = across * across / np.maximum(square, 1)
    from_start = x * x + y * y
    from_end = np.minimum(from_start, from_start - 2 * along + square)
    off = np.where((along > 0) & (along < square), from_line, from_end)
    most = np.maximum.reduceat(off, offsets)
    candidates = np.flatnonzero(off == np.repeat(most, counts))
    place: Integers = places[candidates[np.searchsorted(candidates, offsets)]]
    return place, most
