"""Exact order statistics of any number of pixels in bounded memory, by digits of 16 bits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.exact import Integers

__all__ = ["RankSearch", "first_digits", "key_value", "order_keys"]

Keys = NDArray[np.unsignedinteger[Any]]

_DIGIT = 16


def order_keys(values: NDArray[Any]) -> Keys:
    """Return unsigned integers of the same width that are ordered as `values` are.

    Parameters
    ----------
    values : (N,) bool, integer or float
        Without NaN.
    """
    width = values.dtype.itemsize
    unsigned = np.dtype(f"u{width}")
    keys: Keys = np.ascontiguousarray(values).view(unsigned)
    if values.dtype.kind in "bu":
        return keys
    sign = unsigned.type(1 << (8 * width - 1))
    if values.dtype.kind == "i":
        signed: Keys = keys ^ sign
        return signed
    return np.where(keys & sign, ~keys, keys | sign)


def key_value(key: int, dtype: np.dtype[Any]) -> float | int:
    """Return the value that `order_keys` maps to `key`."""
    bits = 8 * dtype.itemsize
    sign = 1 << (bits - 1)
    if dtype.kind in "bu":
        return key
    if dtype.kind == "i":
        return key - sign
    pattern = key ^ sign if key & sign else key ^ ((1 << bits) - 1)
    return float(np.array(pattern, f"u{dtype.itemsize}").view(dtype)) + 0.0


def first_digits(keys: Keys) -> Integers:
    """Return the histogram of the first 16 bits (8 for keys of 8 bits)."""
    bits = 8 * keys.dtype.itemsize
    digit = min(bits, _DIGIT)
    return np.bincount(keys >> keys.dtype.type(bits - digit), minlength=1 << digit)


class RankSearch:
    """Narrows down the values at some ranks, 16 bits in each pass over the pixels.

    The value at a fraction ``f`` of N pixels is the one of rank ``ceil(f * N)``: always the
    value of a pixel, never a mixture of two.

    Parameters
    ----------
    dtype : dtype
        Type of the pixels.
    histogram : (2**16,) or (2**8,) int64
        Of all pixels, from `first_digits`; not all zero.
    fractions : sequence of float
        From above 0 to 1.
    """

    def __init__(
        self, dtype: np.dtype[Any], histogram: Integers, fractions: Sequence[float]
    ) -> None:
        self._dtype = dtype
        self._bits = 8 * dtype.itemsize
        count = int(histogram.sum())
        self._left = [(0, math.ceil(fraction * count) - 1) for fraction in fractions]
        self._shift = self._bits
        self.narrow({0: histogram})

    @property
    def done(self) -> bool:
        """Whether all bits are known."""
        return self._shift == 0

    def count(self, keys: Keys) -> dict[int, Integers]:
        """Return the histogram of the next digit for each beginning that is still sought."""
        kind = keys.dtype.type
        begins = keys >> kind(self._shift)
        found = {}
        for begin in {begin for begin, _ in self._left}:
            digits = keys[begins == kind(begin)] >> kind(self._shift - _DIGIT)
            found[begin] = np.bincount(
                digits & kind((1 << _DIGIT) - 1), minlength=1 << _DIGIT
            ).astype(np.int64)
        return found

    def narrow(self, histograms: Mapping[int, Integers]) -> None:
        """Take the next digit from the histograms of all pixels."""
        left = []
        for begin, rank in self._left:
            sums = np.cumsum(histograms[begin])
            digit = int(np.searchsorted(sums, rank, side="right"))
            before = int(sums[digit - 1]) if digit else 0
            left.append(((begin << min(_DIGIT, self._shift)) | digit, rank - before))
        self._left = left
        self._shift -= min(_DIGIT, self._shift)

    def values(self) -> list[float | int]:
        """Return the values, in the order of the fractions."""
        return [key_value(key, self._dtype) for key, _ in self._left]
