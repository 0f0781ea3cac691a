"""Sums, means and deviations of planes: integers without loss, floats in the order of the planes.

All of it is done pixel by pixel, so that no division into tiles changes a bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import InputError

__all__ = ["PlaneDeviation", "PlaneSum", "float_dtype", "sum_dtype"]

Plane = NDArray[Any]

_LOW = 32
_MASK = np.uint64((1 << _LOW) - 1)
_SMALL = 2  # bytes of integers whose squares are summed up without loss


def float_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return float32, or float64 for pixels that float32 does not hold exactly."""
    return np.result_type(dtype, np.float32)


def sum_dtype(dtype: np.dtype[Any], planes: int) -> np.dtype[Any]:
    """Return the data type of the sum of so many planes.

    Integers have 32 bits where any sum fits into them, 64 otherwise; floats are float64.
    """
    if dtype.kind == "f":
        return np.dtype(np.float64)
    kind = "i" if dtype.kind == "i" else "u"
    largest = 1 if dtype.kind == "b" else max(-int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    return np.dtype(f"{kind}{4 if planes * largest <= np.iinfo(f'{kind}4').max else 8}")


class PlaneSum:
    """The sum of planes (Y, X) of one data type.

    Integers are added without loss, those of 64 bits in two halves; floats in float64.

    Parameters
    ----------
    shape : (int, int)
        Size of a plane.
    dtype : dtype
        Data type of the planes.
    """

    def __init__(self, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
        self.count = 0
        self._dtype = dtype
        self._halves = dtype.kind in "iu" and dtype.itemsize == 8
        wide = np.float64 if dtype.kind == "f" else np.int64
        self._sum: Plane = np.zeros(shape, dtype if self._halves else wide)
        self._low = np.zeros(shape if self._halves else (0, 0), np.uint64)

    def add(self, plane: Plane) -> None:
        """Add one plane."""
        self.count += 1
        if self._halves:
            self._sum += plane >> plane.dtype.type(_LOW)
            self._low += plane.view(np.uint64) & _MASK
        else:
            with np.errstate(all="ignore"):  # what is not finite is counted in the result
                self._sum += plane

    def total(self) -> Plane:
        """Return the sum in the data type of `sum_dtype`.

        Raises
        ------
        InputError
            If a sum of 64-bit integers does not fit into 64 bits.
        """
        wide = sum_dtype(self._dtype, self.count)
        if not self._halves:
            return self._sum.astype(wide)
        high = self._sum + (self._low >> np.uint64(_LOW)).astype(self._dtype)
        least, most = (int(end) >> _LOW for end in (np.iinfo(wide).min, np.iinfo(wide).max))
        if high.min() < least or high.max() > most:
            what = "The sum of the planes does not fit into 64 bits"
            remedy = "Project fewer planes, or their mean."
            raise InputError(what, found=f"{self.count} planes of {self._dtype}", remedy=remedy)
        low = (self._low & _MASK).astype(self._dtype)
        return np.asarray((high << self._dtype.type(_LOW)) | low)

    def mean(self, dtype: np.dtype[Any]) -> Plane:
        """Return the mean as floats, or as integers of the planes' type, halves rounded up."""
        if dtype.kind == "f":
            with np.errstate(all="ignore"):
                return np.asarray(self.as_float() / self.count).astype(dtype)
        quotient, rest = np.divmod(self._sum, self._sum.dtype.type(self.count))
        if self._halves:
            number = np.uint64(self.count)
            lower, rest = np.divmod((rest.astype(np.uint64) << np.uint64(_LOW)) + self._low, number)
            lower += 2 * rest >= number
            return np.asarray((quotient << self._dtype.type(_LOW)) + lower.astype(self._dtype))
        return np.asarray(quotient + (2 * rest >= self.count), dtype)

    def as_float(self) -> NDArray[np.float64]:
        """Return the sum as float64."""
        if self._halves:
            return self._sum.astype(np.float64) * 2.0**_LOW + self._low.astype(np.float64)
        return self._sum.astype(np.float64)


class PlaneDeviation:
    """The standard deviation of planes (Y, X) of one data type, divided by their number.

    Of integers of up to 16 bits the sums of squares are exact; others are summed up as their
    differences from the first plane, in float64 and in the order of the planes.

    Parameters
    ----------
    shape : (int, int)
        Size of a plane.
    dtype : dtype
        Data type of the planes.

    Source: Welford, Technometrics 4 (1962), 419-420, for the running sums.
    """

    def __init__(self, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
        self._count = 0
        self._exact = dtype.kind != "f" and dtype.itemsize <= _SMALL
        wide = np.int64 if self._exact else np.float64
        self._first: Plane | None = None
        self._sum: Plane = np.zeros(shape, wide)
        self._squares: Plane = np.zeros(shape, wide)

    def add(self, plane: Plane) -> None:
        """Add one plane."""
        self._count += 1
        if self._exact:
            pixels = plane.astype(np.int64)
            self._sum += pixels
            self._squares += pixels * pixels
            return
        if self._first is None:
            self._first = plane.copy()
        with np.errstate(all="ignore"):
            difference = _difference(plane, self._first)
            before = difference - self._sum
            self._sum += before / self._count
            self._squares += before * (difference - self._sum)

    def deviation(self, dtype: np.dtype[Any]) -> Plane:
        """Return the standard deviation as floats of type `dtype`."""
        with np.errstate(all="ignore"):
            if not self._exact:
                return np.sqrt(self._squares / self._count).astype(dtype)
            # About the mean, rounded down, so that the difference of squares loses nothing.
            mean, rest = np.divmod(self._sum, self._count)
            about = self._squares - 2 * mean * self._sum + self._count * mean * mean
            spread = about.astype(np.float64) * self._count - rest.astype(np.float64) ** 2
            return np.asarray(np.sqrt(spread) / self._count).astype(dtype)


def _difference(plane: Plane, first: Plane) -> NDArray[np.float64]:
    """Return ``plane - first`` as float64, rounded once."""
    if plane.dtype.kind == "f":
        return plane.astype(np.float64) - first
    unsigned = np.dtype(f"u{plane.dtype.itemsize}")
    less = plane < first
    size = np.where(less, first, plane).view(unsigned) - np.where(less, plane, first).view(unsigned)
    return np.asarray(np.where(less, -1.0, 1.0) * size)
