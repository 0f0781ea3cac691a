"""Gaussian means of volumes: the same bits for a pixel whatever is computed around it."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.elementary import exponential

__all__ = ["TRUNCATE", "WHOLE", "Box", "gaussian_weights", "radius_of", "smooth"]

Volume = NDArray[Any]
Single = NDArray[np.float32]
Box = tuple[slice, slice, slice]

WHOLE: Box = (slice(None), slice(None), slice(None))
"""All of a volume."""

TRUNCATE = 4.0
"""Where a Gaussian is cut off, in standard deviations."""

_VECTOR = 16
"""Columns are filled up to a multiple: OpenCV rounds what is left over in another way."""

_TILE_ROWS = 64


def radius_of(sigma: float) -> int:
    """Return how many pixels a Gaussian reaches to each side: four standard deviations, rounded."""
    return int(TRUNCATE * sigma + 0.5)


@lru_cache(maxsize=64)
def gaussian_weights(sigma: float) -> NDArray[np.float64]:
    """Return the weights of a Gaussian, cut off at four standard deviations.

    Parameters
    ----------
    sigma : float
        Standard deviation in pixels, above 0.

    Returns
    -------
    (2 * radius + 1,) float64
        Symmetric, with sum 1; read-only.
    """
    radius = radius_of(sigma)
    side = [exponential(-0.5 * (place / sigma) * (place / sigma)) for place in range(radius + 1)]
    weights = np.array([*side[:0:-1], *side])
    normal: NDArray[np.float64] = weights / math.fsum(weights)
    normal.flags.writeable = False
    return normal


def smooth(volume: Volume, sigma: tuple[float, float, float], inner: Box = WHOLE) -> Volume:
    """Return the Gaussian mean of a part of a volume.

    Beyond its border the volume is mirrored at the last pixel. Sums of float32 and of integers
    of up to 16 bits are taken in single precision, all others in double precision, each in a
    fixed order.

    Parameters
    ----------
    volume : (Z, Y, X) integers, float32 or float64
        The pixels, all finite.
    sigma : (Z, Y, X)
        Standard deviations in pixels; 0 leaves an axis alone.
    inner : tuple of slice
        The part that is wanted.

    Returns
    -------
    (Z, Y, X) float32 or float64
        The part, in the precision of the sums.
    """
    if np.result_type(volume.dtype, np.float32) == np.float32:
        return _smooth_single(volume, sigma, inner)
    return _smooth_double(volume.astype(np.float64, copy=False), sigma, inner)


def _smooth_double(volume: Volume, sigma: tuple[float, float, float], inner: Box) -> Volume:
    from scipy.ndimage import correlate1d

    result = volume
    for axis, (width, part) in enumerate(zip(sigma, inner, strict=True)):
        if radius_of(width):
            target = np.empty_like(result)
            correlate1d(result, gaussian_weights(width), axis, target, mode="mirror")
            result = target
        result = result[(slice(None),) * axis + (part,)]
    return result


def _smooth_single(volume: Volume, sigma: tuple[float, float, float], inner: Box) -> Single:
    """Sum planes, and filter each sum; of `volume` no more is taken than `inner` needs."""
    import cv2

    # Newer processors fuse multiplication and addition, and round once where others round twice.
    cv2.setUseOptimized(onoff=False)
    depth, _, width = volume.shape
    along_z = _weights(sigma[0])
    across = [_weights(part) for part in sigma[1:]]
    radius = len(along_z) // 2
    near = [
        _mirrored(np.arange(number - radius, number + radius + 1), depth).tolist()
        for number in range(depth)[inner[0]]
    ]
    sums = _sum_planes(volume, near, along_z.tolist(), len(across[1]) // 2)
    result = np.empty((len(near), *sums[0, inner[1], :width][:, inner[2]].shape), np.float32)
    for target, plane in zip(result, sums, strict=True):
        target[...] = _filter_plane(plane, across)[inner[1], :width][:, inner[2]]
    return result


def _sum_planes(volume: Volume, near: list[list[int]], weights: list[float], reach: int) -> Single:
    """Return weighted sums of planes: one for each entry of `near`, the planes that it sums.

    Columns are mirrored beyond the last one: as many as a mean reaches, and up to whole vectors.
    It is done a few rows after the other, which stay in the cache of the processor.
    """
    import cv2

    depth, height, width = volume.shape
    columns = -(-(width + reach) // _VECTOR) * _VECTOR
    beyond = _mirrored(np.arange(width, columns), width)
    sums = np.empty((len(near), height, columns), np.float32)
    tile = np.empty((depth, min(height, _TILE_ROWS), columns), np.float32)
    for start in range(0, height, _TILE_ROWS):
        rows = slice(start, min(start + _TILE_ROWS, height))
        part = tile[:, : rows.stop - start]
        part[..., :width] = volume[:, rows]
        part[..., width:] = part[..., beyond]
        for total, planes in zip(sums[:, rows], near, strict=True):
            np.multiply(part[planes[0]], np.float32(weights[0]), out=total)
            for plane, weight in zip(planes[1:], weights[1:], strict=True):
                cv2.scaleAdd(part[plane], weight, total, total)
    return sums


def _weights(sigma: float) -> Single:
    """Return the weights of an axis; a single one where it is left alone."""
    return (gaussian_weights(sigma) if radius_of(sigma) else np.ones(1)).astype(np.float32)


def _mirrored(places: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return where the pixels beyond the ends of an axis are mirrored."""
    period = max(1, 2 * size - 2)
    found: NDArray[np.int64] = (size - 1) - np.abs(size - 1 - places % period)
    return found


def _filter_plane(plane: Single, across: list[Single]) -> Single:
    """Filter a plane along Y and X."""
    if all(len(weights) == 1 for weights in across):
        return plane
    import cv2

    filtered = cv2.sepFilter2D(
        plane, cv2.CV_32F, across[1], across[0], borderType=cv2.BORDER_REFLECT_101
    )
    return np.asarray(filtered, np.float32)
