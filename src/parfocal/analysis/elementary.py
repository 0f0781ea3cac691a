"""Elementary functions whose bits are the same on every processor.

Those of NumPy, BLAS and the C library take other ways where a processor has wider vectors or
fuses multiplication and addition, and may round the last bit otherwise. Here are only sums,
products, quotients and square roots, each rounded by itself as IEEE 754 has it, and decimal
numbers, which Python computes itself.
"""

from __future__ import annotations

import itertools
import math
from decimal import Context, Decimal

import numpy as np
from numpy.typing import NDArray

__all__ = ["arc_tangent", "cube_root", "eigenvalues", "exponential", "logarithm", "sine"]

Floats = NDArray[np.float64]

_DIGITS = 30
"""Decimal digits, so that what is rounded to a float is off by hardly more than half a bit."""

_HALVINGS = 3
"""How often the angle of an arc tangent is halved; its series then needs `_ODD` terms."""

_ODD = range(15, 0, -2)
_SWEEPS = 6
_NEWTON_STEPS = 6


def exponential(value: float) -> float:
    """Return ``e**value``."""
    return float(Decimal(value).exp(Context(prec=_DIGITS)))


def logarithm(value: float) -> float:
    """Return the natural logarithm of a number above 0."""
    return float(Decimal(value).ln(Context(prec=_DIGITS)))


def sine(angles: Floats) -> Floats:
    """Return the sine of angles from 0 to ``pi / 2``, by its series.

    Parameters
    ----------
    angles : (...) float64
        In radians.
    """
    square = angles * angles
    result = np.ones_like(angles)
    for power in range(20, 0, -2):
        result = 1 - square * result / (power * (power + 1))
    return result * angles


def arc_tangent(y: Floats, x: Floats) -> Floats:
    """Return the angle of ``(x, y)``, as `numpy.arctan2`; 0 for ``(0, 0)``.

    Parameters
    ----------
    y, x : (...) float64
        Finite coordinates.

    Returns
    -------
    (...) float64
        In radians, from -pi to pi.

    Notes
    -----
    The tangent of half of an angle is ``t / (1 + sqrt(1 + t**2))``.
    """
    high, wide = np.abs(y), np.abs(x)
    longer = np.maximum(high, wide)
    tangent = np.minimum(high, wide) / np.where(longer > 0, longer, 1.0)
    for _ in range(_HALVINGS):
        tangent = tangent / (1 + np.sqrt(1 + tangent * tangent))
    square = tangent * tangent
    series = np.zeros_like(tangent)
    for power in _ODD:
        series = 1 / power - square * series
    angle = 2**_HALVINGS * tangent * series
    angle = np.where(high > wide, math.pi / 2 - angle, angle)
    angle = np.where(x < 0, math.pi - angle, angle)
    signed: Floats = np.where(y < 0, -angle, angle)
    return signed


def cube_root(values: Floats) -> Floats:
    """Return the cube roots, by Newton's method.

    Parameters
    ----------
    values : (...) float64
        Finite, at least 0.
    """
    shares, exponents = np.frexp(values)
    thirds = -(-exponents // 3)
    scaled = np.ldexp(shares, exponents - 3 * thirds)  # from 1 / 8 to 1, or 0
    root = np.where(scaled > 0, 0.4 + 0.6 * scaled, 1.0)
    for _ in range(_NEWTON_STEPS):
        root = root - (root - scaled / (root * root)) / 3
    result: Floats = np.where(scaled > 0, np.ldexp(root, thirds), 0.0)
    return result


def eigenvalues(matrices: Floats) -> Floats:
    """Return the eigenvalues of symmetric matrices, by Jacobi's rotations.

    Parameters
    ----------
    matrices : (N, D, D) float64
        Finite.

    Returns
    -------
    (N, D) float64
        The largest first.

    Notes
    -----
    Each matrix has the same number of sweeps, whatever the others are. Source: C. G. J. Jacobi,
    Journal fuer die reine und angewandte Mathematik 30 (1846) 51-94.
    """
    size = matrices.shape[-1]
    rotated = [[matrices[:, row, column] for column in range(size)] for row in range(size)]
    for _ in range(_SWEEPS if size > 2 else 1):
        for one, other in itertools.combinations(range(size), 2):
            _rotate(rotated, one, other)
    found: Floats = np.stack([rotated[place][place] for place in range(size)], axis=-1)
    return -np.sort(-found)


def _rotate(matrix: list[list[Floats]], one: int, other: int) -> None:
    """Rotate the plane of two axes so that their mixed element becomes 0."""
    mixed = matrix[one][other]
    still = mixed == 0
    with np.errstate(over="ignore"):  # where hardly anything is mixed, the tangent is 0
        half = (matrix[other][other] - matrix[one][one]) / (2 * np.where(still, 1.0, mixed))
        tangent = 1 / (np.abs(half) + np.sqrt(1 + half * half))
    tangent = np.where(still, 0.0, np.where(half < 0, -tangent, tangent))
    cosine = 1 / np.sqrt(1 + tangent * tangent)
    matrix[one][one] = matrix[one][one] - tangent * mixed
    matrix[other][other] = matrix[other][other] + tangent * mixed
    matrix[one][other] = matrix[other][one] = np.zeros_like(mixed)
    for third in set(range(len(matrix))) - {one, other}:
        first, second = matrix[third][one], matrix[third][other]
        turned = cosine * (first - tangent * second)
        matrix[third][one] = matrix[one][third] = turned
        turned = cosine * (second + tangent * first)
        matrix[third][other] = matrix[other][third] = turned
