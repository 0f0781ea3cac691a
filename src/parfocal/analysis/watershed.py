"""Divide one component into objects.

Everything here sees one component in its own bounding box, so that its result does not
depend on how the image was divided into blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.components import label_mask

__all__ = ["SplitSettings", "basins", "border_distance", "merge_basins", "split_component"]

Mask = NDArray[np.bool_]
Labels = NDArray[np.integer[Any]]
Landscape = NDArray[np.float32]

BRIGHT_PERCENTILE = 90


@dataclass(frozen=True)
class SplitSettings:
    """How components are divided.

    Attributes
    ----------
    seeds : {"none", "distance", "intensity", "combined"}
        Of what a peak makes an object: nothing, the distance to the border, the brightness
        above the background, or the product of both.
    prominence : float
        By which part of its height a peak must rise above the saddle to a higher one.
    edge : float or None
        Where the border of an object lies between background (0) and its own brightness (1);
        None leaves it where the threshold put it.
    fill : bool
        Whether holes that the edge cut into an object are filled.
    spacing : tuple of float
        Distances of pixels, one an axis of the component.
    """

    seeds: Literal["none", "distance", "intensity", "combined"]
    prominence: float
    edge: float | None
    fill: bool
    spacing: tuple[float, ...]


def split_component(
    mask: Mask, levels: NDArray[np.uint16], background: int, settings: SplitSettings
) -> Labels:
    """Divide a component.

    It is divided a first time; each piece is cut back to where its brightness falls to
    `edge`; what remains is divided again.

    Parameters
    ----------
    mask : (Z, Y, X) or (Y, X) bool
        The pixels of the component, in its bounding box with a margin of one pixel unless
        the image ends there.
    levels : uint16
        Smoothed brightness, in the same box.
    background : int
        Level of the background.
    settings : SplitSettings
        How to divide.

    Returns
    -------
    integer
        0 outside objects; the objects are numbered from 1, with gaps.
    """
    pieces = _divide(mask, levels, background, settings)
    if settings.edge is None:
        return pieces
    bright = levels > _edges(pieces, levels, background, settings.edge)[pieces]
    kept = mask & bright
    if settings.fill:
        kept = _fill_holes(kept) & mask
    return _divide(kept, levels, background, settings)


def _divide(
    mask: Mask, levels: NDArray[np.uint16], background: int, settings: SplitSettings
) -> Labels:
    if settings.seeds == "none" or not mask.any():
        return label_mask(mask)[0]
    landscape = np.where(mask, np.float32(1), np.float32(0))
    if settings.seeds != "intensity":
        landscape *= border_distance(mask, settings.spacing)
    if settings.seeds != "distance":
        above = np.maximum(levels.astype(np.float32) - np.float32(background), np.float32(1))
        landscape *= above
    return merge_basins(basins(landscape, mask), landscape, settings.prominence)


def border_distance(mask: Mask, spacing: tuple[float, ...]) -> Landscape:
    """Return the distance of each pixel to the nearest one outside the mask.

    Parameters
    ----------
    mask : bool
        If it has no pixel outside, the border of the array counts as outside.
    spacing : tuple of float
        Distances of pixels along each axis.

    Returns
    -------
    float32
        In units of `spacing`; 0 outside the mask.
    """
    from scipy.ndimage import distance_transform_edt

    closed = bool(mask.all())
    padded = np.pad(mask, 1) if closed else mask
    nearest = distance_transform_edt(
        padded, sampling=spacing, return_distances=False, return_indices=True
    )
    distance = np.empty(padded.shape, np.float32)
    for first in range(padded.shape[0]):  # layer by layer: whole arrays of float64 are large
        square = np.zeros(padded.shape[1:])
        here = [np.array(first), *np.indices(padded.shape[1:], sparse=True)]
        for places, start, step in zip(nearest, here, spacing, strict=True):
            square += ((places[first] - start) * step) ** 2
        np.sqrt(square, out=distance[first], casting="same_kind")
    return distance[(slice(1, -1),) * mask.ndim] if closed else distance


def basins(landscape: Landscape, mask: Mask) -> Labels:
    """Give each pixel of the mask to the peak that it lies below.

    Parameters
    ----------
    landscape : float32
        Heights, above 0 in the mask.
    mask : bool
        What to divide.

    Returns
    -------
    int32
        Numbered from 1; 0 outside the mask.
    """
    from skimage.segmentation import watershed

    peaks = _peaks(landscape, mask).view(np.int32)
    labels: Labels = watershed(-landscape, peaks, connectivity=1, mask=mask)
    return labels


def _peaks(landscape: Landscape, mask: Mask) -> NDArray[np.uint32]:
    from skimage.morphology import local_maxima

    padded = np.pad(landscape, 1)  # else a landscape that is flat everywhere has no peak
    maxima = local_maxima(padded, connectivity=1)[(slice(1, -1),) * mask.ndim]
    return label_mask(maxima & mask)[0]


def merge_basins(labels: Labels, landscape: Landscape, prominence: float) -> Labels:
    """Merge neighbours whose lower peak hardly rises above the saddle between them.

    Parameters
    ----------
    labels : integer
        Basins numbered from 1.
    landscape : float32
        Heights.
    prominence : float
        Basins merge if the saddle is higher than ``(1 - prominence)`` times the lower peak.
        The highest saddles come first, and those merged have the height of the higher peak.

    Returns
    -------
    integer
        The merged basins, each with the number of one of its own.
    """
    count = int(labels.max(initial=0))
    if count < 2:
        return labels
    peaks = np.zeros(count + 1, np.float32)
    np.maximum.at(peaks, labels.ravel(), landscape.ravel())
    heights = peaks.tolist()
    parents = list(range(count + 1))

    def root(label: int) -> int:
        while parents[label] != label:
            parents[label] = parents[parents[label]]
            label = parents[label]
        return label

    for one, other, saddle in _saddles(labels, landscape):
        low, high = sorted((root(one), root(other)), key=lambda r: (heights[r], -r))
        if low != high and saddle > (1 - prominence) * heights[low]:
            parents[low] = high
    table = np.array([root(label) for label in range(count + 1)], labels.dtype)
    merged: Labels = table[labels]
    return merged


def _saddles(labels: Labels, landscape: Landscape) -> list[tuple[int, int, float]]:
    """List the pairs of touching basins with the height of their saddle, the highest first."""
    pairs, heights = [], []
    for axis in range(labels.ndim):
        one, other = (np.moveaxis(labels, axis, 0)[part] for part in (np.s_[:-1], np.s_[1:]))
        high = np.moveaxis(landscape, axis, 0)
        touch = (one != other) & (one > 0) & (other > 0)
        a, b = one[touch].astype(np.int64), other[touch].astype(np.int64)
        pairs.append(np.minimum(a, b) << 32 | np.maximum(a, b))
        heights.append(np.minimum(high[:-1][touch], high[1:][touch]))
    names, places = np.unique(np.concatenate(pairs), return_inverse=True)
    saddles = np.zeros(len(names), np.float32)
    np.maximum.at(saddles, places, np.concatenate(heights))
    order = np.lexsort((names, -saddles))
    return [(int(names[i] >> 32), int(names[i] & 0xFFFFFFFF), float(saddles[i])) for i in order]


def _edges(
    pieces: Labels, levels: NDArray[np.uint16], background: int, edge: float
) -> NDArray[np.uint16]:
    """Return for each piece the last level outside it, for 0 one that nothing exceeds."""
    from scipy.ndimage import find_objects

    ends = np.full(int(pieces.max(initial=0)) + 1, np.iinfo(np.uint16).max, np.uint16)
    for number, box in enumerate(find_objects(pieces.astype(np.int32, copy=False)), 1):
        if box is not None:
            inside = levels[box][pieces[box] == number]
            bright = int(np.percentile(inside, BRIGHT_PERCENTILE, method="lower"))
            ends[number] = int(background + edge * (bright - background))
    return ends


def _fill_holes(mask: Mask) -> Mask:
    from scipy.ndimage import binary_fill_holes

    filled: Mask = binary_fill_holes(mask)
    return filled
