"""The pixels of images on disk: one file each, big-endian, a plane after another in XYZCT."""

from __future__ import annotations

import hashlib
import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import omero

from .faults import Disk

__all__ = ["PIXEL_TYPES", "PixelBuffer", "PixelFiles", "PyramidBuffer", "needs_pyramid"]

# Type of OMERO's to the one of its bytes, all big-endian.
PIXEL_TYPES = {
    "bit": "u1",
    "int8": "i1",
    "uint8": "u1",
    "int16": ">i2",
    "uint16": ">u2",
    "int32": ">i4",
    "uint32": ">u4",
    "float": ">f4",
    "double": ">f8",
    "complex": ">c8",
    "double-complex": ">c16",
}
MAX_PLANE = 3192 * 3192
TILE = 256
PYRAMID_LEVELS = 6
_HASH_BLOCK = 1 << 24


def needs_pyramid(size_x: int, size_y: int, type_name: str) -> bool:
    """Tell whether OMERO keeps an image of that plane as a pyramid."""
    return size_x * size_y > MAX_PLANE and type_name not in ("float", "double")


def _usage(text: str) -> omero.ApiUsageException:
    return omero.ApiUsageException(None, "ome.conditions.ApiUsageException", text)


class PixelBuffer:
    """The pixels of one image.

    As with the real server, a buffer whose file is there already is read-only: only the store that
    made the file writes it.

    Parameters
    ----------
    path : Path
        Of the file, which is made at the first access when it is not there.
    shape : tuple of int
        (T, C, Z, Y, X).
    type_name : str
        As OMERO names it, such as ``uint16``.
    disk : Disk
        What is asked before writing.
    """

    levels = 1

    def __init__(
        self, path: Path, shape: tuple[int, int, int, int, int], type_name: str, disk: Disk
    ) -> None:
        self.path, self.shape, self.type_name, self._disk = path, shape, type_name, disk
        self.dtype = np.dtype(PIXEL_TYPES[type_name])
        self.writable = not path.exists()
        self.level = self.levels - 1
        self._lock = threading.Lock()
        self._array: np.memmap[Any, Any] | None = None

    def array(self) -> np.ndarray[Any, Any]:
        """Return the pixels, mapped: (T, C, Z, Y, X)."""
        with self._lock:
            if self._array is None:
                if not self.path.exists():
                    self._check_deleted()
                    self._make()
                mode = "r+" if self.writable else "r"
                self._array = np.memmap(self.path, self.dtype, mode, shape=self.shape)
            return self._array

    def _check_deleted(self) -> None:
        if not self.writable:
            text = f"Cannot find path. Deleted? {self.path}"
            raise omero.ResourceError(None, "ome.conditions.ResourceError", text)

    def _make(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:  # another store may have made it since
            file.truncate(math.prod(self.shape) * self.dtype.itemsize)

    def at_level(self) -> np.ndarray[Any, Any]:
        """Return the pixels in the resolution that was chosen, by leaving pixels out."""
        step = 2 ** (self.levels - 1 - self.level)
        return self.array()[..., ::step, ::step]

    def descriptions(self) -> list[tuple[int, int]]:
        """Return (width, height) of each resolution, the full one first."""
        height, width = self.shape[-2:]
        steps = [2**k for k in range(self.levels)]
        return [(-(-width // step), -(-height // step)) for step in steps]

    def tile_size(self) -> tuple[int, int]:
        """Return (width, height) of the tiles that suit the file."""
        height, width = self.shape[-2:]
        rows = max(1, (1 << 20) // (width * self.dtype.itemsize))
        return width, min(height, rows)

    def check(self, **position: int) -> None:
        """Check a position by its axes: x, y, z, c, t.

        Raises
        ------
        omero.ApiUsageException
            If it lies outside of the image.
        """
        sizes = dict(zip("tczyx", (*self.shape[:3], *self.at_level().shape[-2:]), strict=True))
        for axis, value in position.items():
            size = sizes[axis]
            if not 0 <= value < size:
                name = axis.upper()
                raise _usage(f"{name} '{value}' greater than size{name} '{size}'.")

    def write(self, index: tuple[int | slice, ...], data: bytes, shape: tuple[int, ...]) -> None:
        """Set a part of the pixels from big-endian bytes.

        Raises
        ------
        omero.ApiUsageException
            If the file was made by another store.
        omero.ResourceError
            If there are not as many bytes as the part takes, or the disk is full.
        """
        if not self.writable:
            raise _usage("Write-method not permitted.")
        expected = math.prod(shape) * self.dtype.itemsize
        if len(data) != expected:
            name = "BufferUnderflowException" if len(data) < expected else "BufferOverflowException"
            raise omero.ResourceError(None, "ome.conditions.ResourceError", f"{name}: null")
        self._disk.demand(expected)
        self.array()[index] = np.frombuffer(data, self.dtype).reshape(shape)

    def write_plane(self, data: bytes, z: int, c: int, t: int) -> None:
        """Set one plane."""
        self.check(z=z, c=c, t=t)
        self.write((t, c, z), data, self.shape[3:])

    def write_tile(
        self, data: bytes, z: int, c: int, t: int, x: int, y: int, width: int, height: int
    ) -> None:
        """Set a part of a plane."""
        self.check(z=z, c=c, t=t, x=x, y=y)
        self.check(x=x + width - 1, y=y + height - 1)
        where = (t, c, z, slice(y, y + height), slice(x, x + width))
        self.write(where, data, (height, width))

    def sha1(self) -> bytes:
        """Return the digest over the whole file."""
        digest = hashlib.sha1()
        self.array()
        with self.path.open("rb") as file:
            while block := file.read(_HASH_BLOCK):
                digest.update(block)
        return digest.digest()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._array = None


class PyramidBuffer(PixelBuffer):
    """The pixels of an image whose planes are too large for one piece.

    It is written by tiles alone, plane by plane in XYZCT and from the upper left to the lower
    right, and becomes an image when it is read or closed; from then on it is read-only.
    """

    levels = PYRAMID_LEVELS

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._final, self._last = self.path, (-1, -1, -1)
        if self.writable:
            self.path = self.path.with_suffix(".writing")
            self.path.unlink(missing_ok=True)

    @property
    def writing(self) -> bool:
        """Whether tiles are still taken, so that nothing can be read yet."""
        return self.writable

    def write_plane(self, data: bytes, z: int, c: int, t: int) -> None:
        """Refuse: there are tiles for that."""
        raise omero.InternalException(
            None,
            "java.lang.UnsupportedOperationException",
            "Non-tile based writing unsupported.",
        )

    def write_tile(
        self, data: bytes, z: int, c: int, t: int, x: int, y: int, width: int, height: int
    ) -> None:
        """Set a tile, in order."""
        if not self.writable:
            raise _usage("In read-only mode!")
        place = ((t * self.shape[1] + c) * self.shape[2] + z, y, x)
        if place <= self._last:
            raise _usage(f"Tile (plane, y, x) {place} comes after {self._last}")
        where = (t, c, z, slice(y, y + height), slice(x, x + width))
        self.write(where, data, (height, width))
        self._last = place

    def tile_size(self) -> tuple[int, int]:
        """Return (width, height) of a tile."""
        return TILE, TILE

    def finish(self) -> None:
        """Make the image of what was written; further tiles are refused."""
        if not self.writable:
            return
        super().close()
        self.writable = False
        if not self.path.exists():
            self._make()
        self.path.rename(self._final)
        self.path = self._final

    def close(self) -> None:
        """Let go of the file, as an image when anything was written."""
        if self.writable and self._last == (-1, -1, -1):
            return
        self.finish()
        super().close()


class PixelFiles:
    """The folder of all pixels.

    Parameters
    ----------
    folder : Path
    disk : Disk
        What is asked before writing.
    """

    def __init__(self, folder: Path, disk: Disk) -> None:
        self.folder, self.disk = folder, disk

    def path(self, pixels_id: int) -> Path:
        """Return where the pixels of an id lie."""
        return self.folder / str(pixels_id)

    def open(
        self, pixels_id: int, shape: tuple[int, int, int, int, int], type_name: str
    ) -> PixelBuffer:
        """Return the pixels of an image: `shape` is (T, C, Z, Y, X)."""
        pyramid = needs_pyramid(shape[4], shape[3], type_name)
        kind = PyramidBuffer if pyramid else PixelBuffer
        buffer = kind(self.path(pixels_id), shape, type_name, self.disk)
        if self._levels(pixels_id).exists():
            buffer.levels = int(self._levels(pixels_id).read_text("ascii"))
            buffer.level = buffer.levels - 1
        return buffer

    def keep_levels(self, pixels_id: int, levels: int) -> None:
        """Note how many resolutions the file holds that an image was imported from."""
        self._levels(pixels_id).write_text(str(levels), "ascii")

    def _levels(self, pixels_id: int) -> Path:
        return self.folder / f"{pixels_id}.levels"

    def remove(self, pixels_id: int) -> None:
        """Delete the pixels of an id where there are any."""
        self.path(pixels_id).unlink(missing_ok=True)
        self._levels(pixels_id).unlink(missing_ok=True)
