"""Divide one component into objects.

Everything here sees one component by itself, as a list of pixels, so that its result does not
depend on how the image was divided into blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.distance import border_distance
from parfocal.analysis.voxels import CHUNK, Voxels

__all__ = ["SplitSettings", "basins", "merge_basins", "split_component"]

Labels = NDArray[np.int32]
Heights = NDArray[np.float32]
Levels = NDArray[np.uint16]

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
    voxels: Voxels, levels: Levels, background: int, settings: SplitSettings
) -> Labels:
    """Divide a component.

    It is divided a first time; each piece is cut back to where its brightness falls to
    `edge`; what remains is divided again.

    Parameters
    ----------
    voxels : Voxels
        The pixels of the component, in its bounding box with a margin of one pixel unless
        the image ends there.
    levels : (N,) uint16
        Smoothed brightness of each.
    background : int
        Level of the background.
    settings : SplitSettings
        How to divide.

    Returns
    -------
    (N,) int32
        0 outside objects; the objects are numbered from 1, with gaps.
    """
    pieces = _divide(voxels, levels, background, settings)
    if settings.edge is None:
        return pieces
    kept = levels > _edges(pieces, levels, background, settings.edge)[pieces]
    if settings.fill:
        _fill_holes(voxels, kept)
    pieces[~kept] = 0
    pieces[kept] = _divide(voxels.keep(kept), levels[kept], background, settings)
    return pieces


def _divide(voxels: Voxels, levels: Levels, background: int, settings: SplitSettings) -> Labels:
    if settings.seeds == "none":
        return _connected(voxels)
    if settings.seeds == "intensity":
        heights = np.ones(len(voxels), np.float32)
    else:
        heights = border_distance(voxels, settings.spacing)
    if settings.seeds != "distance":
        above = levels.astype(np.float32)
        above -= np.float32(background)
        heights *= np.maximum(above, np.float32(1), out=above)
    return merge_basins(voxels, basins(voxels, heights), heights, settings.prominence)


def _connected(voxels: Voxels) -> Labels:
    """Return the connected parts of some pixels: a flat landscape has no saddles."""
    flat = np.ones(len(voxels), np.float32)
    return merge_basins(voxels, basins(voxels, flat), flat, 0)


def basins(voxels: Voxels, heights: Heights) -> Labels:
    """Give each pixel to the peak that is reached by always going to the highest neighbour.

    Parameters
    ----------
    voxels : Voxels
        What to divide.
    heights : (N,) float32
        Of equal heights the first counts as the higher one; a plateau may have several peaks.

    Returns
    -------
    (N,) int32
        Numbered from 1 in the order of the peaks.
    """
    uphill = np.arange(len(voxels), dtype=np.int32)
    for pair in voxels.touching():
        for here, there in (pair, pair[::-1]):
            best = uphill[here]
            old, new = heights[best], heights[there]
            better = (new > old) | ((new == old) & (there < best))
            uphill[here[better]] = there[better]
    moved = True
    while moved:
        moved = False
        for start in range(0, len(uphill), CHUNK):
            part = uphill[start : start + CHUNK]
            farther = uphill[part]
            moved |= bool((farther != part).any())
            part[...] = farther
    peaks = _peaks(uphill)
    numbers = np.zeros(len(uphill), np.int32)
    numbers[peaks] = np.arange(1, len(peaks) + 1)
    labels: Labels = numbers[uphill]
    return labels


def _peaks(uphill: Labels) -> NDArray[np.int64]:
    return np.flatnonzero(uphill == np.arange(len(uphill), dtype=np.int32))


def merge_basins(voxels: Voxels, labels: Labels, heights: Heights, prominence: float) -> Labels:
    """Merge neighbours whose lower peak hardly rises above the saddle between them.

    Parameters
    ----------
    voxels : Voxels
        The pixels.
    labels : (N,) int32
        Basins numbered from 1.
    heights : (N,) float32
        Heights.
    prominence : float
        Basins merge if the saddle is higher than ``(1 - prominence)`` times the lower peak, or
        as high as it. The highest saddles come first, and those merged have the height of the
        higher peak.

    Returns
    -------
    (N,) int32
        The merged basins, each with the number of one of its own.
    """
    count = int(labels.max(initial=0))
    if count < 2:
        return labels
    highest = np.zeros(count + 1, np.float32)
    np.maximum.at(highest, labels, heights)
    tops = highest.tolist()
    parents = list(range(count + 1))

    def root(label: int) -> int:
        while parents[label] != label:
            parents[label] = parents[parents[label]]
            label = parents[label]
        return label

    for one, other, saddle in _saddles(voxels, labels, heights):
        low, high = sorted((root(one), root(other)), key=lambda r: (tops[r], -r))
        if low != high and (saddle > (1 - prominence) * tops[low] or saddle == tops[low]):
            parents[low] = high
    table = np.array([root(label) for label in range(count + 1)], np.int32)
    merged: Labels = table[labels]
    return merged


def _saddles(voxels: Voxels, labels: Labels, heights: Heights) -> list[tuple[int, int, float]]:
    """List the pairs of touching basins with the height of their saddle, the highest first."""
    names, saddles = np.empty(0, np.int64), np.empty(0, np.float32)
    for pair in voxels.touching():
        apart = labels[pair[0]] != labels[pair[1]]
        one, other = pair[0][apart], pair[1][apart]
        a, b = labels[one].astype(np.int64), labels[other].astype(np.int64)
        found = np.concatenate([names, np.minimum(a, b) << 32 | np.maximum(a, b)])
        high = np.concatenate([saddles, np.minimum(heights[one], heights[other])])
        names, places = np.unique(found, return_inverse=True)
        saddles = np.zeros(len(names), np.float32)
        np.maximum.at(saddles, places, high)
    order = np.lexsort((names, -saddles))
    return [(int(names[i] >> 32), int(names[i] & 0xFFFFFFFF), float(saddles[i])) for i in order]


def _edges(pieces: Labels, levels: Levels, background: int, edge: float) -> NDArray[np.uint16]:
    """Return for each piece the last level outside it."""
    ordered = np.sort(pieces.astype(np.int64) << 16 | levels)
    sizes = np.bincount(pieces)
    ends = np.zeros(len(sizes), np.uint16)
    used = np.flatnonzero(sizes)
    rank = (sizes[used] - 1) * BRIGHT_PERCENTILE // 100
    bright = (ordered[(np.cumsum(sizes) - sizes)[used] + rank] & 0xFFFF).astype(np.float64)
    ends[used] = np.maximum(background + edge * (bright - background), 0).astype(np.uint16)
    return ends


def _fill_holes(voxels: Voxels, kept: NDArray[np.bool_]) -> None:
    """Take back into `kept` what it leaves out but encloses: what touches no other region."""
    if kept.all():
        return
    inner = voxels.count_neighbours()[~kept] == 2 * len(voxels.shape)
    parts = _connected(voxels.keep(~kept))
    enclosed = np.ones(int(parts.max()) + 1, bool)
    enclosed[parts[~inner]] = False
    kept[~kept] = enclosed[parts]
