"""Pixels on disk that are read and written in any order, with bounded memory."""

from __future__ import annotations

import itertools
import math
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Region, Shape, iter_blocks, region_shape
from parfocal.core.closing import Closing
from parfocal.images.rawfile import RawFile

__all__ = ["ScratchVolume", "ScratchVolumes"]

_PAGE = 4096


class ScratchVolume(Closing):
    """A volume (T, C, Z, Y, X) in a file of uncompressed blocks.

    Reading and writing whole blocks is fastest; any region will do, from several threads
    at once as long as they do not write the same pixels. What was never written is 0.
    The file is not mapped into memory.

    A copy that was pickled for another process, or for another machine that sees the folder,
    reads and writes the same file, and never removes it. So that file systems over the network
    show each machine what others wrote, the file is opened anew for each region, and blocks
    start at whole pages of memory.

    Parameters
    ----------
    folder : Path
        An existing folder; the volume makes one file there.
    shape5, block5 : tuple of int
        Sizes (T, C, Z, Y, X) of the volume and of its blocks.
    dtype : dtype-like
        Data type.

    Raises
    ------
    StorageError
        If the file cannot be made.
    """

    def __init__(self, folder: Path, shape5: Shape, dtype: Any, block5: Shape) -> None:
        self.shape5 = shape5
        self.dtype = np.dtype(dtype)
        t, c, z, y, x = (min(b, s) for b, s in zip(block5, shape5, strict=True))
        self.block5: Shape = (t, c, z, y, x)
        self._grid = [-(-s // b) for s, b in zip(shape5, self.block5, strict=True)]
        self._block_bytes = -(-math.prod(self.block5) * self.dtype.itemsize // _PAGE) * _PAGE
        self._path = folder.absolute() / f"scratch-{uuid.uuid4().hex}.raw"
        self._owned = True
        with closing(RawFile(self._path, "create")) as file:
            file.truncate(math.prod(self._grid) * self._block_bytes)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy needs."""
        return self.__dict__ | {"_owned": False}

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X)."""
        out = np.empty(region_shape(region), self.dtype)
        with closing(RawFile(self._path)) as file:
            for part, piece in self._parts(region):
                target = out[part]
                rows, columns = self._whole_rows(piece)
                runs = self._runs(rows)
                if target.flags.c_contiguous and len(runs) == 1 and rows == piece:
                    file.read_into(target, runs[0][1])
                    continue
                whole = np.empty(region_shape(rows), self.dtype)
                flat = whole.reshape(len(runs), -1)
                for row, (_, offset) in enumerate(runs):
                    file.read_into(flat[row], offset)
                target[...] = whole[..., columns]
        return out

    def write(self, region: Region, block: NDArray[Any]) -> None:
        """Store `block` (T, C, Z, Y, X) at `region`.

        Raises
        ------
        ValueError
            If the shape or the data type is another.
        StorageError
            If the disk does not take it.
        """
        if block.shape != region_shape(region) or block.dtype != self.dtype:
            msg = f"a block {block.shape} {block.dtype} does not fit {region}, {self.dtype}"
            raise ValueError(msg)
        with closing(RawFile(self._path, "update")) as file:
            for part, piece in self._parts(region):
                runs = self._runs(piece)
                flat = np.ascontiguousarray(block[part]).reshape(len(runs), -1)
                for row, (_, offset) in enumerate(runs):
                    file.write(flat[row], offset)

    def close(self) -> None:
        """Remove the file, where this is not a copy."""
        if self._owned:
            self._path.unlink(missing_ok=True)

    def _parts(self, region: Region) -> list[tuple[Region, Region]]:
        """List for each block that `region` touches where its part lies, in `region` and at all."""
        parts = []
        for piece in iter_blocks(region, self.block5):
            t, c, z, y, x = (
                slice(a.start - r.start, a.stop - r.start)
                for a, r in zip(piece, region, strict=True)
            )
            parts.append(((t, c, z, y, x), piece))
        return parts

    def _whole_rows(self, piece: Region) -> tuple[Region, slice]:
        """Widen a part of a block to whole rows, which are read at once; tell where it lies."""
        t, c, z, y, x = piece
        start = x.start - x.start % self.block5[4]
        rows = t, c, z, y, slice(start, start + self.block5[4])
        return rows, slice(x.start - start, x.stop - start)

    def _runs(self, piece: Region) -> list[tuple[int, int]]:
        """List (length, offset) in bytes of the contiguous runs of a part of one block."""
        index = [part.start // size for part, size in zip(piece, self.block5, strict=True)]
        number = int(np.ravel_multi_index(index, self._grid))
        inner = [
            range(part.start - i * size, part.stop - i * size)
            for part, i, size in zip(piece, index, self.block5, strict=True)
        ]
        axis = 4  # the run spans this axis and those after it
        while axis and len(inner[axis]) == self.block5[axis]:
            axis -= 1
        step = math.prod(self.block5[axis + 1 :]) * self.dtype.itemsize
        strides = [
            math.prod(self.block5[i + 1 :]) * self.dtype.itemsize for i in range(len(self.block5))
        ]
        base = number * self._block_bytes + inner[axis].start * step
        length = len(inner[axis]) * step
        return [
            (length, base + sum(i * s for i, s in zip(lead, strides, strict=False)))
            for lead in itertools.product(*inner[:axis])
        ]


class ScratchVolumes(Closing):
    """Makes volumes in a folder, and removes them in the end, if not before.

    Parameters
    ----------
    folder : Path
        An existing folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: list[ScratchVolume] = []

    def __call__(self, shape5: Shape, dtype: Any, block5: Shape) -> ScratchVolume:
        """Make a volume; see `ScratchVolume`."""
        volume = ScratchVolume(self._folder, shape5, dtype, block5)
        self._made.append(volume)
        return volume

    def keep_only(self, kept: object) -> None:
        """Remove all volumes but one."""
        for volume in self._made:
            if volume is not kept:
                volume.close()

    def close(self) -> None:
        """Remove all volumes."""
        self.keep_only(None)
