"""Polygons around objects: the corners of their pixels, and fewer of them to a tolerance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.exact import Integers
from parfocal.analysis.outline_runs import OutlineRuns
from parfocal.analysis.simplify import chosen_points

__all__ = ["PolygonPlane", "draw_polygons"]


@dataclass(frozen=True)
class PolygonPlane:
    """The outer outline of one connected part of an object in one plane.

    Attributes
    ----------
    z : int
        The plane.
    points : (N, 2) int64
        Corners as X, Y, clockwise on the screen; those of the pixel at (0, 0) are (0, 0) to
        (1, 1).
    """

    z: int
    points: Integers


@dataclass(frozen=True)
class _Corners:
    """The corners of all pieces, sorted by piece, Y, X and whether runs start or end there."""

    piece: Integers
    y: Integers
    x: Integers
    ends: NDArray[np.bool_]


def draw_polygons(
    runs: OutlineRuns, tolerance_px: float
) -> tuple[list[list[PolygonPlane]], list[int]]:
    """Draw the polygons of each object in each plane.

    Pixels that touch at a corner belong to one polygon. No corner of the pixels is further from
    the polygon than the tolerance, nor any point of the polygon from the outline of the pixels.

    Parameters
    ----------
    runs : OutlineRuns
        Sorted by object, Z, Y and X.
    tolerance_px : float
        In pixels, 0 or more.

    Returns
    -------
    polygons : list of list of PolygonPlane
        For each object and plane, in the order of the runs.
    holes : list of int
        How many holes each has, which polygons do not show.
    """
    first = runs.pieces
    counts = np.diff(np.append(first, runs.ids.size))
    corners = _corners(runs, np.repeat(np.arange(first.size), counts))
    ring_corners, lengths, holes = _rings(corners)
    points = np.stack([corners.x, corners.y], axis=1)[ring_corners]
    starts = np.cumsum(lengths) - lengths
    chosen = chosen_points(points, starts, tolerance_px)
    stops = np.cumsum(chosen)[starts + lengths - 1].tolist()
    points = points[chosen]
    owners = corners.piece[ring_corners[starts]].tolist()
    polygons: list[list[PolygonPlane]] = [[] for _ in first]
    planes = runs.z[first].tolist()
    begin = 0
    for piece, stop in zip(owners, stops, strict=True):
        polygons[piece].append(PolygonPlane(planes[piece], points[begin:stop]))
        begin = stop
    found = np.bincount(corners.piece[holes], minlength=first.size)
    return polygons, [int(number) for number in found]


def _corners(runs: OutlineRuns, piece: Integers) -> _Corners:
    """Find the corners: ends of runs that do not go on in the row above or below."""
    pieces = np.tile(piece, 4)
    y = np.concatenate([runs.y, runs.y + 1, runs.y, runs.y + 1])
    x = np.concatenate([runs.start, runs.start, runs.stop, runs.stop])
    ends = np.repeat([False, True], 2 * runs.y.size)
    order = np.lexsort((ends, x, y, pieces))
    pieces, y, x, ends = pieces[order], y[order], x[order], ends[order]
    # What stands there twice is the end of two rows, one below the other: a straight side.
    same = (pieces[1:] == pieces[:-1]) & (y[1:] == y[:-1])
    same &= (x[1:] == x[:-1]) & (ends[1:] == ends[:-1])
    single = np.ones(y.size, bool)
    single[1:] &= ~same
    single[:-1] &= ~same
    return _Corners(pieces[single], y[single], x[single], ends[single])


def _rings(corners: _Corners) -> tuple[Integers, Integers, list[int]]:
    """Follow the outlines.

    Along a row, corners in their order are the ends of horizontal sides, two and two; those where
    runs start, or end, are along a column the ends of vertical sides. Of two corners at one
    place, where pixels touch, the order makes one outline of both.

    Returns
    -------
    rings : (N,) int64
        The corners of all outer outlines, one outline after the other.
    lengths : (M,) int64
        How many corners each has.
    holes : list of int
        A corner of each hole.
    """
    number = corners.x.size
    pairs = np.arange(number) ^ 1
    columns = np.lexsort((corners.y, corners.ends, corners.x, corners.piece))
    along = np.empty(number, np.intp)
    along[columns] = columns[pairs]
    across, vertical, inner = pairs.tolist(), along.tolist(), corners.ends.tolist()
    seen = bytearray(number)
    rings: list[int] = []
    lengths: list[int] = []
    holes: list[int] = []
    for start in range(number):
        if seen[start]:
            continue
        before, corner = len(rings), start
        while not seen[corner]:
            other = across[corner]
            seen[corner] = seen[other] = 1
            rings += (corner, other)
            corner = vertical[other]
        if inner[start]:
            holes.append(start)
            del rings[before:]
        else:
            lengths.append(len(rings) - before)
    return np.array(rings, np.int64), np.array(lengths, np.int64), holes
