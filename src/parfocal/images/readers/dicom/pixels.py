"""Put regions of an image together from frames of DICOM files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Region, Shape, region_shape
from parfocal.images.readers.dicom.file import DicomFile

__all__ = ["DicomPixels", "Place"]

_BLOCK_BYTES = 8 * 2**20

Place = tuple[int, int, int, int, int]
"""Time, optical path, focal plane, row and column of a tile."""


class DicomPixels:
    """Pixels that lie in frames, each of which is a tile of a plane.

    Parameters
    ----------
    shape5 : tuple of int
        Size along T, C (samples fastest), Z, Y, X.
    frames : mapping
        For each place the file and the number of the frame; what is missing reads as 0.
    """

    def __init__(self, shape5: Shape, frames: Mapping[Place, tuple[DicomFile, int]]) -> None:
        first, _ = next(iter(frames.values()))
        self.shape5 = shape5
        self.dtype = first.dtype
        self._frames = frames
        self._tile = (first.rows, first.columns)
        self._samples = first.samples
        self._whole_frames = first.syntax.is_encapsulated

    @property
    def block5(self) -> Shape:
        """A block (T, C, Z, Y, X) that is cheap to read."""
        _, _, _, y, x = self.shape5
        height, width = min(self._tile[0], y), min(self._tile[1], x)
        row = self._samples * width * self.dtype.itemsize
        if not self._whole_frames and (height, width) == (y, x):
            return 1, self._samples, 1, max(1, min(height, _BLOCK_BYTES // row)), x
        while self._samples * height * width * self.dtype.itemsize * 2 <= _BLOCK_BYTES and (
            height < y or width < x
        ):
            if height < y and (height <= width or width >= x):
                height = min(y, height * 2)
            else:
                width = min(x, width * 2)
        return 1, self._samples, 1, height, width

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X).

        Raises
        ------
        InputError
            If a file is damaged there.
        """
        ts, cs, zs, _, _ = region
        out = np.zeros(region_shape(region), self.dtype)
        if not out.size:
            return out
        paths = range(cs.start // self._samples, -(-cs.stop // self._samples))
        for t, path, z in product(range(ts.start, ts.stop), paths, range(zs.start, zs.stop)):
            first = path * self._samples
            low, high = max(cs.start, first), min(cs.stop, first + self._samples)
            target = out[t - ts.start, low - cs.start : high - cs.start, z - zs.start]
            samples = slice(low - first, high - first)
            self._fill((t, path, z), samples, region, target)
        return out

    def _fill(
        self, plane: tuple[int, int, int], samples: slice, region: Region, out: NDArray[Any]
    ) -> None:
        """Fill `out` (samples, Y, X) with a window of a plane."""
        _, _, _, ys, xs = region
        for row, ty, oy in _overlaps(self._tile[0], ys):
            for column, tx, ox in _overlaps(self._tile[1], xs):
                found = self._frames.get((*plane, row, column))
                if found is not None:
                    file, frame = found
                    out[:, oy, ox] = file.read(frame, ty, tx)[samples]


def _overlaps(size: int, window: slice) -> Iterator[tuple[int, slice, slice]]:
    """List the tiles that a window touches: number, part of the tile, part of the window."""
    for number in range(window.start // size, -(-window.stop // size)):
        low, high = max(number * size, window.start), min(number * size + size, window.stop)
        yield (
            number,
            slice(low - number * size, high - number * size),
            slice(low - window.start, high - window.start),
        )
