"""Components cut out of an image one by one, and put back as objects."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.components import Components
from parfocal.analysis.voxels import Voxels
from parfocal.core.blocks import Readable, Region, Shape, Writable

__all__ = ["Box", "ComponentSource", "Cut", "component_box", "put_back"]

Box = tuple[slice, slice, slice]

SLAB = 1 << 19
"""Pixels of a bounding box that are read at once."""


@dataclass(frozen=True)
class Cut:
    """One component.

    Attributes
    ----------
    box : Box
        Where it lies, with a margin.
    voxels : Voxels
        Its pixels in the box; without Z where components are planes.
    levels : (N,) uint16
        Their brightness.
    parts : tuple of slice
        Which pixels lie in each slab of the box.
    """

    box: Box
    voxels: Voxels
    levels: NDArray[np.uint16]
    parts: tuple[slice, ...]


@dataclass(frozen=True)
class ComponentSource:
    """The components of one time point, to be cut out one by one.

    Attributes
    ----------
    labels : Readable
        Numbers of components, and objects of those that are done.
    levels : Readable
        Smoothed brightness.
    time : int
        The time point.
    background : int
        Level of the background.
    planar : bool
        Whether components are planes.
    columns : int
        How many columns lie together in storage: rows are read in such pieces.
    """

    labels: Readable
    levels: Readable
    time: int
    background: int
    planar: bool
    columns: int

    def cut(self, number: int, box: Box) -> Cut:
        """Read the component `number`, which lies in `box`, slab by slab."""
        shape = _shape(box, planar=self.planar)
        places, levels = [], []
        wide, inner = self.widen(box)
        for slab in _slabs(wide):
            stored = self.labels.read(self.region(slab))[0, 0, :, :, inner]
            own = np.nonzero(stored == number)
            levels.append(self.levels.read(self.region(slab))[0, 0, :, :, inner][own])
            origin = (slab[0].start - box[0].start, slab[1].start - box[1].start, 0)
            indices = tuple(index + start for index, start in zip(own, origin, strict=True))
            places.append(Voxels.of_indices(indices[-len(shape) :], shape).places)
        ends = np.cumsum([0, *map(len, places)]).tolist()
        parts = tuple(slice(start, stop) for start, stop in itertools.pairwise(ends))
        return Cut(box, Voxels(np.concatenate(places), shape), np.concatenate(levels), parts)

    def region(self, box: Box) -> Region:
        """Return the region of a box."""
        return slice(self.time, self.time + 1), slice(0, 1), *box

    def widen(self, box: Box) -> tuple[Box, slice]:
        """Grow a box along X to what lies together, and return where its columns are then."""
        z, y, x = box
        start = x.start - x.start % self.columns
        stop = min(x.stop + -x.stop % self.columns, self.labels.shape5[4])
        return (z, y, slice(start, stop)), slice(x.start - start, x.stop - start)


def component_box(components: Components, number: int, shape: Shape, *, planar: bool) -> Box:
    """Return the bounding box of a component with a margin of a pixel within the image.

    Parameters
    ----------
    components : Components
        Those of a time point.
    number : int
        Which one.
    shape : (T, C, Z, Y, X)
        Size of the image.
    planar : bool
        Whether components are planes, which have no margin along Z.
    """
    margin = (0 if planar else 1, 1, 1)
    lower = np.maximum(components.lower[number] - margin, 0).tolist()
    upper = np.minimum(components.upper[number] + margin, shape[2:]).tolist()
    z, y, x = (slice(start, stop) for start, stop in zip(lower, upper, strict=True))
    return z, y, x


def put_back(labels: Writable, source: ComponentSource, cut: Cut, values: NDArray[Any]) -> None:
    """Write one value for each pixel of a component.

    Parameters
    ----------
    labels : Writable
        Where; other pixels of the box are read and written as they are.
    source : ComponentSource
        What it was cut out of.
    cut : Cut
        The component.
    values : (N,) array
        The values, in the data type of `labels`.
    """
    wide, inner = source.widen(cut.box)
    for slab, part in zip(_slabs(wide), cut.parts, strict=True):
        if part.start == part.stop:
            continue
        stored = labels.read(source.region(slab))
        indices = cut.voxels.indices(part)
        if len(indices) == 2:
            indices = (np.zeros_like(indices[0]), *indices)
        z, y, x = indices
        z -= slab[0].start - cut.box[0].start
        y -= slab[1].start - cut.box[1].start
        stored[0, 0, z, y, x + inner.start] = values[part]
        labels.write(source.region(slab), stored)


def _shape(box: Box, *, planar: bool) -> tuple[int, ...]:
    sizes = tuple(part.stop - part.start for part in box)
    return sizes[1:] if planar else sizes


def _slabs(box: Box) -> Iterator[Box]:
    """Cut a box into slabs of whole planes, or its planes into rows, in the order Z, Y, X."""
    _, rows, columns = (part.stop - part.start for part in box)
    depth = max(1, SLAB // (rows * columns))
    height = rows if rows * columns <= SLAB else max(1, SLAB // columns)
    z, y, x = box
    for first in range(z.start, z.stop, depth):
        for row in range(y.start, y.stop, height):
            yield (
                slice(first, min(first + depth, z.stop)),
                slice(row, min(row + height, y.stop)),
                x,
            )
