"""Sums that are exact, so that no order of blocks or threads can change a bit of them.

A number is cut into limbs of 20 bits on a fixed grid of powers of two; integers of 64 bits
add limbs and products of limbs without loss, and Python's integers join them at the end.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LIMB_BITS",
    "MAX_BLOCK_PIXELS",
    "Integers",
    "Limbs",
    "limbs",
    "ratio",
    "root_ratio",
    "square_limbs",
    "total_of",
]

LIMB_BITS = 20
"""Bits of a limb: each is smaller than 2**20 in magnitude."""

MAX_BLOCK_PIXELS = 1 << 21
"""How many pixels may be added in 64 bits: 4 products of 40 bits each, times 2**21."""

Integers = NDArray[np.int64]
Limbs = dict[int, Integers]
"""Limb ``j`` counts for ``limb * 2**(20 * j)``."""


def limbs(values: NDArray[Any]) -> Limbs:
    """Cut each value into limbs without loss.

    Parameters
    ----------
    values : (N,) bool, integer or float
        Finite values.

    Returns
    -------
    dict of int to (N,) int64
        ``values == sum(limb * 2**(20 * j))``; limbs that are all zero are left out.
    """
    if values.size == 0:
        return {}
    if values.dtype.kind == "f":
        return _float_limbs(values.astype(np.float64))
    if values.dtype.itemsize <= 2:
        return {0: values.astype(np.int64)}
    return _integer_limbs(values)


def _integer_limbs(values: NDArray[Any]) -> Limbs:
    result: Limbs = {}
    position = 0
    mask = values.dtype.type((1 << LIMB_BITS) - 1)
    bits = values.dtype.type(LIMB_BITS)
    while True:
        low, high = int(values.min()), int(values.max())
        if low > -(1 << LIMB_BITS) and high < (1 << LIMB_BITS):
            if low or high:
                result[position] = values.astype(np.int64)
            return result
        result[position] = (values & mask).astype(np.int64)
        values = values >> bits
        position += 1


def _float_limbs(rest: NDArray[np.float64]) -> Limbs:
    result: Limbs = {}
    while (top := float(np.abs(rest).max())) > 0:
        position = (math.frexp(top)[1] - 1) // LIMB_BITS
        part = np.trunc(np.ldexp(rest, -LIMB_BITS * position))
        result[position] = part.astype(np.int64)
        rest -= np.ldexp(part, LIMB_BITS * position)
    return result


def square_limbs(parts: Limbs) -> Limbs:
    """Return the squares of values, given their limbs.

    Returns
    -------
    dict of int to (N,) int64
        Limbs smaller than 2**42: `MAX_BLOCK_PIXELS` of them add up within 64 bits.
    """
    result: Limbs = {}
    for first, one in parts.items():
        for second, other in parts.items():
            if first > second:
                continue
            product = one * other
            if first < second:
                product *= 2
            position = first + second
            result[position] = result[position] + product if position in result else product
    return result


def total_of(parts: dict[int, int]) -> tuple[int, int]:
    """Join sums of limbs.

    Returns
    -------
    total, exponent : int
        The sum is ``total * 2**exponent``.
    """
    if not parts:
        return 0, 0
    lowest = min(parts)
    total = sum(part << (LIMB_BITS * (position - lowest)) for position, part in parts.items())
    return total, LIMB_BITS * lowest


def ratio(numerator: int, denominator: int, exponent: int = 0) -> float:
    """Return ``numerator * 2**exponent / denominator``, rounded once.

    A result beyond the range of float64 is infinite.
    """
    if exponent >= 0:
        numerator <<= exponent
    else:
        denominator <<= -exponent
    try:
        return numerator / denominator
    except OverflowError:
        return math.inf if numerator > 0 else -math.inf


def root_ratio(numerator: int, denominator: int, exponent: int = 0) -> float:
    """Return ``sqrt(numerator * 2**exponent / denominator)`` for an even `exponent`.

    The ratio itself may lie beyond the range of float64.
    """
    half = (numerator.bit_length() - denominator.bit_length()) // 2
    root = math.sqrt(ratio(numerator, denominator, -2 * half))
    try:
        return math.ldexp(root, half + exponent // 2)
    except OverflowError:
        return math.inf
