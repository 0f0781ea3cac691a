"""The rule by which one level of a pyramid follows from the one before."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["halve", "halve_labels"]


def halve(pixels: NDArray[Any], *, along_z: bool = False) -> NDArray[Any]:
    """Average blocks of 2 by 2 pixels, or of 2 by 2 by 2.

    Integers: the exact mean, halves rounded up, whatever the number of bits. Floats: the
    mean in float64 (float32 for float16 and float32), so NaN where any of them is NaN.
    An odd last plane, row or column is paired with itself, so that the last pixel of an odd
    size is the mean of those there are.

    Parameters
    ----------
    pixels : (..., Y, X) array of integers or floats; (..., Z, Y, X) with `along_z`
    along_z : bool
        Whether to average along Z too.

    Returns
    -------
    (..., ceil(Y / 2), ceil(X / 2)) array of the same dtype; with `along_z`, of ceil(Z / 2) planes

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
    if along_z:
        return _halve_along_z(even)
    if kind == "u" and pixels.dtype.itemsize <= 2:
        return _halve_small(even)
    if kind == "f":
        return np.asarray(_float_mean(even), even.dtype)
    return _integer_mean(_corners(even), 2)


def halve_labels(labels: NDArray[Any], *, along_z: bool = False) -> NDArray[Any]:
    """Keep of each block of 2 by 2 labels the upper left one (nearest neighbour).

    Parameters
    ----------
    labels : (..., Y, X) array; (..., Z, Y, X) with `along_z`
    along_z : bool
        Whether to keep the first of two planes only.

    Returns
    -------
    (..., ceil(Y / 2), ceil(X / 2)) array of the same dtype; with `along_z`, of ceil(Z / 2) planes
    """
    planes = labels[..., ::2, :, :] if along_z else labels
    return np.ascontiguousarray(planes[..., ::2, ::2])


def _halve_along_z(even: NDArray[Any]) -> NDArray[Any]:
    """Average pairs of planes, one pair after the other to keep what is in between small."""
    depth, height, width = even.shape[-3:]
    shape = (*even.shape[:-3], -(-depth // 2), height // 2, width // 2)
    out = np.empty(shape, even.dtype)
    for z in range(shape[-3]):
        upper = even[..., 2 * z, :, :]
        lower = even[..., min(2 * z + 1, depth - 1), :, :]
        if even.dtype.kind == "f":
            with np.errstate(all="ignore"):
                out[..., z, :, :] = _float_mean(upper) * 0.5 + _float_mean(lower) * 0.5
        else:
            out[..., z, :, :] = _integer_mean([*_corners(upper), *_corners(lower)], 3)
    return out


def _corners(even: NDArray[Any]) -> list[NDArray[Any]]:
    return [even[..., y::2, x::2] for y in (0, 1) for x in (0, 1)]


def _integer_mean(parts: list[NDArray[Any]], bits: int) -> NDArray[Any]:
    """Average ``2 ** bits`` arrays of integers, halves rounded up."""
    # Quotients and remainders apart: the sum may not fit the type.
    rest = parts[0] & ((1 << bits) - 1)
    total = parts[0] >> bits
    for part in parts[1:]:
        total = total + (part >> bits)
        rest = rest + (part & ((1 << bits) - 1))
    return np.asarray(total + ((rest + (1 << (bits - 1))) >> bits), parts[0].dtype)


def _float_mean(even: NDArray[Any]) -> NDArray[Any]:
    """Average 2 by 2 in at least 32 bits."""
    wide = np.promote_types(even.dtype, np.float32).type(0.25)
    a, b, c, d = _corners(even)
    with np.errstate(all="ignore"):
        return np.asarray((a * wide + b * wide) + (c * wide + d * wide))


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
