"""Arrays to pictures: sizes, contrast, colours, outlines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "OUTLINE_RGBA",
    "PERCENTILES",
    "as_bytes",
    "composite",
    "outline",
    "resize_area",
    "resize_nearest",
    "stretch",
    "with_outlines",
]

PERCENTILES = (0.5, 99.8)
OUTLINE_RGBA = (255, 214, 10, 255)


def resize_area(plane: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Resize by the mean over the area that each new pixel covers.

    Parameters
    ----------
    plane : (Y, X) array
        Finite numbers.
    shape : (int, int)
        The new shape.

    Returns
    -------
    (Y', X') float64
    """
    result = np.asarray(plane, np.float64)
    for axis, size in enumerate(shape):
        lines = np.moveaxis(result, axis, 0)
        edges = np.linspace(0, len(lines), size + 1)
        places = np.minimum(edges.astype(np.intp), len(lines) - 1)
        total = np.concatenate([np.zeros_like(lines[:1]), np.cumsum(lines, axis=0)])
        at_edges = total[places] + (edges - places)[:, None] * lines[places]
        result = np.moveaxis(np.diff(at_edges, axis=0) / np.diff(edges)[:, None], 0, axis)
    return result


def resize_nearest(plane: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Resize by taking the pixel under the centre of each new pixel.

    Parameters
    ----------
    plane : (Y, X) array
        Labels, which must not be mixed.
    shape : (int, int)
        The new shape.
    """
    rows, columns = (
        (np.arange(new) * 2 + 1) * old // (2 * new)
        for old, new in zip(plane.shape, shape, strict=True)
    )
    return plane[np.ix_(rows, columns)]


def stretch(
    plane: NDArray[Any], percentiles: tuple[float, float] = PERCENTILES
) -> NDArray[np.float64]:
    """Scale to 0..1 between two percentiles of the finite pixels.

    Pixels that are not finite become 0, or 1 for positive infinity; a constant plane
    becomes 0.

    Parameters
    ----------
    plane : (Y, X) array
        Of any real type.
    percentiles : (float, float)
        What becomes 0, and what becomes 1.
    """
    values = np.asarray(plane, np.float64)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return np.zeros(values.shape)
    low, high = (float(value) for value in np.percentile(finite, percentiles))
    if low == high:
        low, high = float(finite.min()), float(finite.max())
    if low == high:
        return np.zeros(values.shape)
    clipped = np.clip(np.nan_to_num(values, nan=low, posinf=high, neginf=low), low, high)
    return (clipped - low) / (high - low)


def composite(planes: Iterable[NDArray[np.float64]], colors: Sequence[str]) -> NDArray[np.uint8]:
    """Add up planes of 0..1 in their colours.

    Parameters
    ----------
    planes : iterable of (Y, X) float64
        From 0 to 1; at least one.
    colors : sequence of str
        RRGGBB, one a plane.

    Returns
    -------
    (Y, X, 3) uint8
    """
    total: NDArray[np.float64] | float = 0.0
    for plane, color in zip(planes, colors, strict=True):
        total = total + plane[:, :, None] * (np.frombuffer(bytes.fromhex(color), np.uint8) / 255)
    return as_bytes(np.asarray(total))


def as_bytes(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return numbers of 0..1 as 0..255, and what lies beyond as the nearest of these."""
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)


def outline(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the pixels of objects that touch another object or the background.

    Parameters
    ----------
    labels : (Y, X) integer
        0 is background.
    """
    touching = np.zeros(labels.shape, np.bool_)
    down = labels[1:] != labels[:-1]
    right = labels[:, 1:] != labels[:, :-1]
    touching[1:] |= down
    touching[:-1] |= down
    touching[:, 1:] |= right
    touching[:, :-1] |= right
    touching[labels == 0] = False
    return touching


def with_outlines(pixels: NDArray[np.uint8], edge: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return a picture in RGB with outlines drawn over it.

    Parameters
    ----------
    pixels : (Y, X) or (Y, X, 3) uint8
        Grey or RGB.
    edge : (Y, X) bool
        Where the outlines are.
    """
    rgb = np.stack([pixels] * 3, axis=-1) if pixels.ndim == 2 else pixels.copy()
    rgb[edge] = OUTLINE_RGBA[:3]
    return rgb
