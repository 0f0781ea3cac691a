"""The distance of each pixel of a region to its border, in windows of bounded size."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.voxels import CHUNK, Voxels

__all__ = ["border_distance"]

WINDOW = 1 << 20
"""Pixels of a part of a box whose distances are taken at once."""

REACH = 24.0
"""How far around such a part one looks, in pixels of X."""

Box = tuple[slice, ...]


def border_distance(voxels: Voxels, spacing: tuple[float, ...]) -> NDArray[np.float32]:
    """Return the distance of each pixel to the nearest one of the box that is not listed.

    A large box is taken in parts. What lies beyond the window around a part is farther away
    than `REACH`; where a distance is longer, the box is taken as a whole.

    Parameters
    ----------
    voxels : Voxels
        The region. If it fills its box, the border of the box counts as outside.
    spacing : tuple of float
        Distances of pixels along each axis.

    Returns
    -------
    (N,) float32
        In units of `spacing`.
    """
    if len(voxels) == math.prod(voxels.shape):
        closed = Voxels.of_indices(
            tuple(index + 1 for index in voxels.indices()),
            tuple(size + 2 for size in voxels.shape),
        )
        return _at_once(closed, spacing)
    if math.prod(voxels.shape) <= WINDOW:
        return _at_once(voxels, spacing)
    distance = np.empty(len(voxels), np.float32)
    for core in _parts(tuple(slice(0, size) for size in voxels.shape)):
        chosen, indices = _inside(voxels, core)
        if not len(chosen):
            continue
        window = _window(core, spacing, voxels.shape)
        mask = _mask(voxels, window)
        if mask.all():
            return _at_once(voxels, spacing)
        local = tuple(index - part.start for index, part in zip(indices, window, strict=True))
        found = _distances(_nearest(mask, spacing), local, spacing)
        if found.max() > REACH:
            return _at_once(voxels, spacing)
        distance[chosen] = found
    return distance


def _at_once(voxels: Voxels, spacing: tuple[float, ...]) -> NDArray[np.float32]:
    """Take the distances of all pixels from the whole box."""
    mask = np.zeros(voxels.shape, bool)
    parts = [slice(start, start + CHUNK) for start in range(0, len(voxels), CHUNK)]
    for part in parts:
        mask[voxels.indices(part)] = True
    nearest = _nearest(mask, spacing)
    distance = np.empty(len(voxels), np.float32)
    for part in parts:
        distance[part] = _distances(nearest, voxels.indices(part), spacing)
    return distance


def _parts(box: Box) -> Iterator[Box]:
    """Halve a box along its longest axis until its parts are small."""
    sizes = [part.stop - part.start for part in box]
    if math.prod(sizes) <= WINDOW:
        yield box
        return
    axis = int(np.argmax(sizes))
    middle = box[axis].start + sizes[axis] // 2
    for half in (slice(box[axis].start, middle), slice(middle, box[axis].stop)):
        yield from _parts((*box[:axis], half, *box[axis + 1 :]))


def _inside(voxels: Voxels, box: Box) -> tuple[NDArray[np.int64], tuple[NDArray[np.int64], ...]]:
    """Return which pixels lie in a box, and their indices."""
    layers = voxels.layers(box[0].start, box[0].stop)
    indices = voxels.indices(layers)
    within = np.ones(len(indices[0]), bool)
    for index, part in itertools.islice(zip(indices, box, strict=True), 1, None):
        within &= (index >= part.start) & (index < part.stop)
    return layers.start + np.flatnonzero(within), tuple(index[within] for index in indices)


def _window(core: Box, spacing: tuple[float, ...], shape: tuple[int, ...]) -> Box:
    """Grow a part of a box by `REACH`."""
    margins = [math.ceil(REACH / step) for step in spacing]
    return tuple(
        slice(max(0, part.start - margin), min(size, part.stop + margin))
        for part, margin, size in zip(core, margins, shape, strict=True)
    )


def _mask(voxels: Voxels, window: Box) -> NDArray[np.bool_]:
    mask = np.zeros([part.stop - part.start for part in window], bool)
    indices = _inside(voxels, window)[1]
    mask[tuple(index - part.start for index, part in zip(indices, window, strict=True))] = True
    return mask


def _nearest(mask: NDArray[np.bool_], spacing: tuple[float, ...]) -> NDArray[np.int32]:
    """Return for each pixel the indices (axes, ...) of the nearest one outside the mask."""
    from scipy.ndimage import distance_transform_edt

    nearest: NDArray[np.int32] = distance_transform_edt(
        mask, sampling=spacing, return_distances=False, return_indices=True
    )
    return nearest


def _distances(
    nearest: NDArray[np.int32], indices: tuple[NDArray[np.int64], ...], spacing: tuple[float, ...]
) -> NDArray[np.float64]:
    """Return the distances of some pixels to the nearest ones outside the mask."""
    square = np.zeros(len(indices[0]))
    for places, index, step in zip(nearest, indices, spacing, strict=True):
        square += ((places[indices] - index) * step) ** 2
    distances: NDArray[np.float64] = np.sqrt(square)
    return distances
