"""Shape of objects from exact sums: second moments, and transitions along lines (Crofton)."""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.elementary import arc_tangent, cube_root, eigenvalues

__all__ = [
    "DIRECTIONS_2D",
    "DIRECTIONS_3D",
    "axis_lengths",
    "crofton_weights",
    "eccentricity",
    "elongation",
    "equivalent_diameter",
    "orientation_deg",
]

Floats = NDArray[np.float64]
Step = tuple[int, int, int]

DIRECTIONS_2D: tuple[Step, ...] = ((0, 0, 1), (0, 1, 0), (0, 1, 1), (0, 1, -1))
"""Half of the 8 neighbours of a pixel, as (Z, Y, X)."""

DIRECTIONS_3D: tuple[Step, ...] = tuple(
    step for step in itertools.product((0, 1), (-1, 0, 1), (-1, 0, 1)) if step > (0, 0, 0)
)
"""Half of the 26 neighbours of a voxel, as (Z, Y, X)."""


def equivalent_diameter(size: Floats, dimensions: int) -> Floats:
    """Return the diameter of the circle or ball of the same area or volume.

    Parameters
    ----------
    size : (N,) float64
        Area or volume.
    dimensions : {2, 3}
        Which of both.
    """
    if dimensions == 2:
        circle: Floats = np.sqrt(4 * size / math.pi)
        return circle
    return cube_root(6 * size / math.pi)


def axis_lengths(moments: Floats) -> Floats:
    """Return the axes of the ellipse or ellipsoid with the same second moments.

    Parameters
    ----------
    moments : (N, D, D) float64
        Covariance matrix of the coordinates of each object, D = 2 (Y, X) or 3 (Z, Y, X).

    Returns
    -------
    (N, D) float64
        Full lengths of the axes, longest first: ``2 * sqrt((D + 2) * eigenvalue)``.

    Notes
    -----
    The moments of a solid ellipsoid with semi-axis ``a`` are ``a**2 / (D + 2)``. Pixels count
    as points, as in scikit-image: an object of one pixel has axes of length 0.
    """
    dimensions = moments.shape[-1]
    if len(moments) == 0:
        return np.zeros((0, dimensions))
    found = eigenvalues(moments)
    rounded: Floats = np.where(found > found[:, :1] * 1e-14, found, 0.0)
    result: Floats = 2 * np.sqrt((dimensions + 2) * rounded)
    return result


def eccentricity(lengths: Floats) -> Floats:
    """Return the eccentricity of ellipses, 0 for a circle; NaN where there is no extension.

    Parameters
    ----------
    lengths : (N, 2) float64
        Major and minor axis.
    """
    result: Floats = np.sqrt(1 - _minor_share(lengths) ** 2)
    return result


def elongation(lengths: Floats) -> Floats:
    """Return ``1 - shortest / longest axis``; NaN where there is no extension.

    Parameters
    ----------
    lengths : (N, D) float64
        Axes, longest first.
    """
    result: Floats = 1 - _minor_share(lengths)
    return result


def _minor_share(lengths: Floats) -> Floats:
    share = np.full(len(lengths), np.nan)
    np.divide(lengths[:, -1], lengths[:, 0], out=share, where=lengths[:, 0] > 0)
    return share


def orientation_deg(moments: Floats) -> Floats:
    """Return the direction of the major axis in the plane.

    Parameters
    ----------
    moments : (N, 2, 2) float64
        Covariance matrix of (Y, X).

    Returns
    -------
    (N,) float64
        Angle from the Y axis (down) towards the X axis in degrees, in (-90, 90]; NaN where
        no direction is longer than the others.
    """
    difference = moments[:, 0, 0] - moments[:, 1, 1]
    mixed = 2 * moments[:, 0, 1]
    angle: Floats = np.degrees(arc_tangent(mixed, difference) / 2)
    return np.where((difference == 0) & (mixed == 0), np.nan, angle)


@lru_cache(maxsize=32)
def crofton_weights(spacing: tuple[float, ...]) -> tuple[float, ...]:
    """Return what one transition along each direction adds to perimeter or surface.

    Parameters
    ----------
    spacing : tuple of float
        Distance of pixels along (Y, X) or (Z, Y, X).

    Returns
    -------
    tuple of float
        One weight for each of `DIRECTIONS_2D` or `DIRECTIONS_3D`, for counts of pixels of
        an object whose next pixel in that direction is not of the object.

    Notes
    -----
    Crofton's formula: with ``share`` the part of all directions that lie nearest to a
    direction of the grid, and ``density = pixel size / length of the step`` the distance of
    its lines, the perimeter is ``pi * sum(share * density * count)`` and the surface area
    ``4 * sum(share * density * count)``. Source: D. Legland, K. Kieu, M.-F. Devaux,
    Computation of Minkowski measures on 2D and 3D binary images, Image Analysis &
    Stereology 26 (2007) 83-92.
    """
    if len(spacing) == 2:
        scale, directions = math.pi, np.array([step[1:] for step in DIRECTIONS_2D])
    else:
        scale, directions = 4.0, np.array(DIRECTIONS_3D)
    vectors: Floats = directions * np.array(spacing)
    lengths = np.linalg.norm(vectors, axis=1)
    units = vectors / lengths[:, None]
    shares = _angle_shares(units) if len(spacing) == 2 else _sphere_shares(units)
    weights = scale * shares * math.prod(spacing) / lengths
    return tuple(float(weight) for weight in weights)


def _angle_shares(units: Floats) -> Floats:
    angles = np.mod(arc_tangent(units[:, 0], units[:, 1]), math.pi)
    order = np.argsort(angles)
    gaps = np.diff(np.append(angles[order], angles[order[0]] + math.pi))
    shares = np.empty(len(units))
    shares[order] = (gaps + np.roll(gaps, 1)) / (2 * math.pi)
    return shares


def _sphere_shares(units: Floats) -> Floats:
    from scipy.spatial import SphericalVoronoi

    cells = SphericalVoronoi(np.vstack([units, -units]))
    cells.sort_vertices_of_regions()
    areas = np.array(
        [
            _solid_angle(point, cells.vertices[region])
            for point, region in zip(cells.points, cells.regions, strict=True)
        ]
    )
    count = len(units)
    shares: Floats = (areas[:count] + areas[count:]) / areas.sum()
    return shares


def _solid_angle(point: Floats, corners: Floats) -> float:
    """Return the solid angle of a convex polygon with a point in it, triangle by triangle.

    Source: A. van Oosterom, J. Strackee, The solid angle of a plane triangle, IEEE Transactions
    on Biomedical Engineering 30 (1983) 125-126.
    """
    following = np.roll(corners, -1, axis=0)
    volume = np.abs((point * np.cross(corners, following)).sum(axis=1))
    cosines = [
        (one * other).sum(axis=1)
        for one, other in itertools.combinations(
            (np.broadcast_to(point, corners.shape), corners, following), 2
        )
    ]
    return float((2 * arc_tangent(volume, 1 + sum(cosines))).sum())
