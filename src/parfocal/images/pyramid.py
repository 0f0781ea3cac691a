"""The rule by which one level of a pyramid follows from the one before."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["halve", "halve_labels"]

_FAST = ("uint8", "uint16", "float32")


def halve(pixels: NDArray[Any]) -> NDArray[Any]:
    """Average blocks of 2 by 2 pixels.

    Integers: the exact mean, halves rounded up, whatever the number of bits. Floats: the
    mean in float64 (float32 for float16 and float32), so NaN where any of the four is
    NaN. An odd last row or column is paired with itself, so that the last pixel of an odd
    size is the mean of the two pixels there are, and of the one in the corner.

    Parameters
    ----------
    pixels : (..., Y, X) array of integers or floats

    Returns
    -------
    (..., ceil(Y / 2), ceil(X / 2)) array of the same dtype

    Raises
    ------
    TypeError
        If the pixels are neither integers nor floats.
    """
    kind = pixels.dtype.kind
    if kind not in "iuf":
        msg = f"no mean is defined for {pixels.dtype}"
        raise TypeError(msg)
    even = _even(pixels)
    if kind == "u" and pixels.dtype.itemsize <= 2:
        return _halve_small(even)
    a, b = even[..., ::2, ::2], even[..., ::2, 1::2]
    c, d = even[..., 1::2, ::2], even[..., 1::2, 1::2]
    if kind == "f":
        return _halve_float(a, b, c, d)
    # Quarters and remainders apart: the sum of four may not fit the type.
    quarters = (a >> 2) + (b >> 2) + (c >> 2) + (d >> 2)
    rest = (a & 3) + (b & 3) + (c & 3) + (d & 3)
    return np.asarray(quarters + ((rest + 2) >> 2), pixels.dtype)


def halve_labels(labels: NDArray[Any]) -> NDArray[Any]:
    """Keep of each block of 2 by 2 labels the upper left one (nearest neighbour).

    Parameters
    ----------
    labels : (..., Y, X) array

    Returns
    -------
    (..., ceil(Y / 2), ceil(X / 2)) array of the same dtype
    """
    return np.ascontiguousarray(labels[..., ::2, ::2])


def _even(pixels: NDArray[Any]) -> NDArray[Any]:
    """Repeat the last row and column where their number is odd."""
    odd_y, odd_x = pixels.shape[-2] % 2, pixels.shape[-1] % 2
    if not (odd_y or odd_x):
        return pixels
    margins = [(0, 0)] * (pixels.ndim - 2) + [(0, odd_y), (0, odd_x)]
    return np.pad(pixels, margins, mode="edge")


def _halve_small(even: NDArray[Any]) -> NDArray[Any]:
    """Average 8 and 16 bits: OpenCV's mean over areas is exact there and rounds halves up."""
    import cv2

    cv2.setNumThreads(1)  # callers divide the work among their own threads
    planes = even.reshape(-1, *even.shape[-2:])
    height, width = even.shape[-2] // 2, even.shape[-1] // 2
    out = np.empty((len(planes), height, width), even.dtype)
    for plane, small in zip(planes, out, strict=True):
        cv2.resize(plane, (width, height), dst=small, interpolation=cv2.INTER_AREA)
    return out.reshape(*even.shape[:-2], height, width)


def _halve_float(
    a: NDArray[Any], b: NDArray[Any], c: NDArray[Any], d: NDArray[Any]
) -> NDArray[Any]:
    wide = np.promote_types(a.dtype, np.float32)
    with np.errstate(all="ignore"):
        total = (a.astype(wide) * 0.25 + b * wide.type(0.25)) + (
            c * wide.type(0.25) + d * wide.type(0.25)
        )
        return np.asarray(total, a.dtype)
