"""Exact order statistics of each pixel over the planes of a stack, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.ranks import order_keys
from parfocal.analysis.stacks import Stack

__all__ = ["median_of", "ranked"]

MOST_BYTES = 1 << 26
"""Stacks up to this size are sorted in memory; larger ones are gone through several times."""

_DIGIT = 4

Keys = NDArray[np.unsignedinteger[Any]]


def ranked(stack: Stack, ranks: Sequence[NDArray[np.int64]]) -> list[NDArray[Any]]:
    """Return the pixels that have certain ranks among those of their column.

    Parameters
    ----------
    stack : Stack
        The planes. NaN comes after all other values, -0 counts as 0.
    ranks : sequence of (Y, X) int64
        From 0 for the least, to the number of planes minus 1.

    Returns
    -------
    list of (Y, X)
        One for each of `ranks`, in the data type of the planes.
    """
    size = len(stack) * math.prod(stack.shape) * stack.dtype.itemsize
    if size <= MOST_BYTES:
        planes = np.stack(list(_keys(stack)))
        planes.sort(axis=0)
        found = [np.take_along_axis(planes, rank[None], axis=0)[0] for rank in ranks]
    else:
        found = [_search(stack, rank) for rank in ranks]
    return [_values(keys, stack.dtype) for keys in found]


def median_of(stack: Stack, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the median of each column, the mean of the middle two of an even number.

    Parameters
    ----------
    stack : Stack
        The planes.
    dtype : dtype
        That of the planes, where the mean of two integers is rounded half up; or a float.

    Returns
    -------
    (Y, X)
        NaN where one of the column is NaN.
    """
    middles = sorted({(len(stack) - 1) // 2, len(stack) // 2})
    last = [len(stack) - 1] if stack.dtype.kind == "f" else []
    found = ranked(stack, [np.full(stack.shape, rank) for rank in (*middles, *last)])
    low, high = found[0], found[len(middles) - 1]
    if dtype.kind != "f":
        # Halves first: the sum of both may not fit the type.
        return np.asarray((low >> 1) + (high >> 1) + ((low | high) & 1))
    median = low.astype(np.float64)
    if len(middles) == 2:
        with np.errstate(all="ignore"):
            median = 0.5 * median + 0.5 * high.astype(np.float64)
    if last:
        median[np.isnan(found[-1])] = np.nan
    return median.astype(dtype)


def _search(stack: Stack, rank: NDArray[np.int64]) -> Keys:
    """Find the keys at `rank`, four bits in each pass over the planes."""
    unsigned = np.dtype(f"u{stack.dtype.itemsize}").type
    found = np.zeros(stack.shape, unsigned)
    for shift in range(8 * stack.dtype.itemsize - _DIGIT, -1, -_DIGIT):
        steps = [unsigned(digit << shift) for digit in range(1, 1 << _DIGIT)]
        below = np.zeros((len(steps), *stack.shape), np.uint32)
        for keys in _keys(stack):
            for number, step in enumerate(steps):
                below[number] += keys < found + step
        found += (below <= rank).sum(axis=0).astype(unsigned) << unsigned(shift)
    return found


def _keys(stack: Stack) -> Iterator[Keys]:
    for plane in stack:
        if plane.dtype.kind != "f":
            yield order_keys(plane)
            continue
        keys = order_keys(plane + plane.dtype.type(0))  # without -0
        keys[np.isnan(plane)] = np.iinfo(keys.dtype).max
        yield keys


def _values(keys: Keys, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the pixels that `order_keys` gives these keys."""
    sign = keys.dtype.type(1 << (8 * dtype.itemsize - 1))
    if dtype.kind in "bu":
        return keys.view(dtype)
    if dtype.kind == "i":
        return (keys ^ sign).view(dtype)
    return np.where(keys & sign, keys ^ sign, ~keys).view(dtype)
