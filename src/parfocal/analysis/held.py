"""Planes of an image in memory, for work on blocks whose surroundings overlap."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Readable, Region, Shape, region_shape

__all__ = ["Held", "PlaneReader"]

RETAINED_BYTES = 96 << 20
"""How much of what was read is retained for the next regions, at most."""

Plane = NDArray[Any]
Place = tuple[int, int, int]
"""Numbers along T, C, Z."""


@dataclass(frozen=True)
class Held:
    """A region of an image, which may be read as the image within it.

    Parameters
    ----------
    planes : mapping of (t, c, z) to (Y, X) arrays
        The pixels of the region.
    region : Region
        Where it lies.
    shape5 : (T, C, Z, Y, X)
        Size of the image.
    dtype : dtype
        Data type of the image.
    """

    planes: Mapping[Place, Plane]
    region: Region
    shape5: Shape
    dtype: np.dtype[Any]

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region`, which lies within that of this one; not to be changed."""
        shape = region_shape(region)
        y, x = (
            slice(part.start - whole.start, part.stop - whole.start)
            for part, whole in zip(region[3:], self.region[3:], strict=True)
        )
        places = list(_places(region))
        if len(places) == 1:
            return self.planes[places[0]][y, x].reshape(shape)
        pixels = np.empty((len(places), *shape[3:]), self.dtype)
        for target, place in zip(pixels, places, strict=True):
            target[...] = self.planes[place][y, x]
        return pixels.reshape(shape)


class PlaneReader:
    """Reads regions into memory, without those planes that were read just before.

    Regions that follow each other along Z have the planes around their borders in common. Planes
    that were used last are retained up to `RETAINED_BYTES`; may be used from several threads.

    Parameters
    ----------
    source : Readable
        The image.
    """

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._kept: OrderedDict[tuple[int, ...], Plane] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the image only."""
        return PlaneReader, (self._source,)

    def hold(self, region: Region) -> Held:
        """Return the region in memory."""
        column = tuple(end for part in region[3:] for end in (part.start, part.stop))
        with self._lock:
            near = {place: self._kept.get((*place, *column)) for place in _places(region)}
        planes = {place: plane for place, plane in near.items() if plane is not None}
        missing = [place for place, plane in near.items() if plane is None]
        for t, c, depths in _runs(missing):
            block = self._source.read((slice(t, t + 1), slice(c, c + 1), depths, *region[3:]))
            for z, plane in zip(range(depths.start, depths.stop), block[0, 0], strict=True):
                planes[t, c, z] = plane
        self._retain(planes, column)
        return Held(planes, region, self._source.shape5, self._source.dtype)

    def _retain(self, planes: Mapping[Place, Plane], column: tuple[int, ...]) -> None:
        with self._lock:
            for place, plane in sorted(planes.items()):
                key = (*place, *column)
                self._bytes += plane.nbytes if key not in self._kept else 0
                self._kept[key] = plane
                self._kept.move_to_end(key)
            while self._bytes > RETAINED_BYTES:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= oldest.nbytes


def _places(region: Region) -> Iterator[Place]:
    t, c, z = (range(part.start, part.stop) for part in region[:3])
    yield from itertools.product(t, c, z)


def _runs(places: list[Place]) -> list[tuple[int, int, slice]]:
    """Return places, which are sorted, as planes of a stack that follow each other."""
    runs: list[tuple[int, int, slice]] = []
    for t, c, z in places:
        if runs and (*runs[-1][:2], runs[-1][2].stop) == (t, c, z):
            runs[-1] = (t, c, slice(runs[-1][2].start, z + 1))
        else:
            runs.append((t, c, slice(z, z + 1)))
    return runs
