"""RawPixelsStore: the bytes of one image at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import omero
from tests.omero.server.entities import Entity
from tests.omero.server.permissions import can_read
from tests.omero.server.pixel_files import PixelBuffer, PyramidBuffer
from tests.omero.server.render import render_one
from tests.omero.server.servants import Service
from tests.omero.server.services.pixels import pixel_shape

__all__ = ["PyramidService", "RawPixels"]


class PyramidService(Service):
    """What has the pixels of an image, perhaps in several resolutions."""

    exclusive = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.pixels: Entity | None = None
        self._buffer: PixelBuffer | None = None

    @property
    def buffer(self) -> PixelBuffer:
        """The pixels that were chosen."""
        if self._buffer is None:
            name = type(self).interface.__name__
            raise omero.ApiUsageException(
                None,
                "ome.conditions.ApiUsageException",
                f"This {name} has not been properly initialized.\n"
                "Please set the pixels id before executing any other methods.\n",
            )
        return self._buffer

    @property
    def reading(self) -> PixelBuffer:
        """The pixels, no longer to be written where reading ends that."""
        buffer = self.buffer
        if isinstance(buffer, PyramidBuffer):
            buffer.finish()
        return buffer

    def open(self, pixels_id: int) -> None:
        """Choose the pixels.

        Raises
        ------
        omero.ValidationException
            If there are none of that id, or the user cannot see them.
        """
        with self.store.lock:
            pixels = self.store.get("Pixels", pixels_id)
            if pixels is None or not can_read(self.call, pixels):
                text = f"Cannot read pixels id={pixels_id}"
                raise omero.ValidationException(None, "ome.conditions.ValidationException", text)
            shape, kind = pixel_shape(pixels), pixels["pixelsType"]["value"]
        self._release()
        self.pixels = pixels
        self._buffer = self.server.pixel_files.open(pixels_id, shape, kind)

    def _release(self) -> None:
        if self._buffer is not None:
            self._buffer.close()
        self._buffer = None

    def requiresPixelsPyramid(self) -> bool:
        """Tell whether the planes are too large for one piece."""
        return isinstance(self.buffer, PyramidBuffer)

    def getResolutionLevels(self) -> int:
        """Return how many resolutions there are."""
        self._not_writing()
        return self.buffer.levels

    def getResolutionLevel(self) -> int:
        """Return the resolution in use; the highest number is the full one."""
        self._not_writing()
        return self.buffer.level

    def setResolutionLevel(self, level: int) -> None:
        """Choose a resolution; the highest number is the full one."""
        self._not_writing()
        if not 0 <= level < self.buffer.levels:
            raise omero.ApiUsageException(
                None, "ome.conditions.ApiUsageException", f"No resolution level {level}"
            )
        self.buffer.level = level

    def getResolutionDescriptions(self) -> list[Any]:
        """Return the size of each resolution, the full one first."""
        self._not_writing()
        found = []
        for width, height in self.buffer.descriptions():
            description = omero.api.ResolutionDescription()
            description.sizeX, description.sizeY = width, height
            found.append(description)
        return found

    def getTileSize(self) -> list[int]:
        """Return [width, height] of the tiles that suit the file."""
        return list(self.buffer.tile_size())

    def _not_writing(self) -> None:
        if isinstance(self.buffer, PyramidBuffer) and self.buffer.writing:
            raise omero.ApiUsageException(
                None, "ome.conditions.ApiUsageException", "In write mode!"
            )


class RawPixels(PyramidService):
    """Implements `omero.api.RawPixelsStore`."""

    interface = omero.api.RawPixelsStore

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._modified = False

    def setPixelsId(self, pixels_id: int, bypass: bool) -> None:
        """Choose the pixels; again the same ones is nothing."""
        if self.pixels is None or self._buffer is None or self.pixels.id != pixels_id:
            self.open(pixels_id)
            self._modified = False

    def getPixelsId(self) -> int:
        """Return the id of the pixels that were chosen."""
        return int(self.buffer.path.stem)

    def getPixelsPath(self) -> str:
        """Return where the bytes lie on the server."""
        return str(self.buffer.path)

    def prepare(self, pixels_ids: list[int]) -> None:
        """Look pixels up ahead of time: nothing to do here."""

    def getByteWidth(self) -> int:
        """Return the bytes of a pixel."""
        return self.buffer.dtype.itemsize

    def isSigned(self) -> bool:
        """Tell whether pixels can be negative."""
        return self.buffer.dtype.kind in "if"

    def isFloat(self) -> bool:
        """Tell whether pixels are floating point numbers."""
        return self.buffer.dtype.kind == "f"

    def getRowSize(self) -> int:
        """Return the bytes of a row."""
        return self._bytes(4)

    def getPlaneSize(self) -> int:
        """Return the bytes of a plane."""
        return self._bytes(3)

    def getStackSize(self) -> int:
        """Return the bytes of the planes along Z."""
        return self._bytes(2)

    def getTimepointSize(self) -> int:
        """Return the bytes of all stacks of a time point."""
        return self._bytes(1)

    def getTotalSize(self) -> int:
        """Return the bytes of the image."""
        return self._bytes(0)

    def _bytes(self, axis: int) -> int:
        return math.prod(self.buffer.shape[axis:]) * self.buffer.dtype.itemsize

    def getTimepointOffset(self, t: int) -> int:
        """Return where a time point begins."""
        self.buffer.check(t=t)
        return t * self._bytes(1)

    def getStackOffset(self, c: int, t: int) -> int:
        """Return where a stack begins."""
        self.buffer.check(c=c)
        return self.getTimepointOffset(t) + c * self._bytes(2)

    def getPlaneOffset(self, z: int, c: int, t: int) -> int:
        """Return where a plane begins."""
        self.buffer.check(z=z)
        return self.getStackOffset(c, t) + z * self._bytes(3)

    def getRowOffset(self, y: int, z: int, c: int, t: int) -> int:
        """Return where a row begins."""
        self.buffer.check(y=y)
        return self.getPlaneOffset(z, c, t) + y * self._bytes(4)

    def getPlane(self, z: int, c: int, t: int) -> bytes:
        """Return a plane."""
        buffer = self.reading
        buffer.check(z=z, c=c, t=t)
        return buffer.at_level()[t, c, z].tobytes()

    def getTile(self, z: int, c: int, t: int, x: int, y: int, width: int, height: int) -> bytes:
        """Return a part of a plane of the resolution in use."""
        buffer = self.reading
        buffer.check(z=z, c=c, t=t, x=x, y=y)
        buffer.check(x=x + width - 1, y=y + height - 1)
        return buffer.at_level()[t, c, z, y : y + height, x : x + width].tobytes()

    def getRow(self, y: int, z: int, c: int, t: int) -> bytes:
        """Return a row."""
        buffer = self.reading
        buffer.check(y=y, z=z, c=c, t=t)
        return buffer.at_level()[t, c, z, y].tobytes()

    def getCol(self, x: int, z: int, c: int, t: int) -> bytes:
        """Return a column."""
        buffer = self.reading
        buffer.check(x=x, z=z, c=c, t=t)
        return buffer.at_level()[t, c, z, :, x].tobytes()

    def getStack(self, c: int, t: int) -> bytes:
        """Return the planes along Z."""
        buffer = self._whole()
        buffer.check(c=c, t=t)
        return buffer.array()[t, c].tobytes()

    def getTimepoint(self, t: int) -> bytes:
        """Return all stacks of a time point."""
        buffer = self._whole()
        buffer.check(t=t)
        return buffer.array()[t].tobytes()

    def getPlaneRegion(self, z: int, c: int, t: int, count: int, offset: int) -> bytes:
        """Return so many pixels of a plane, from one on."""
        buffer = self._whole()
        buffer.check(z=z, c=c, t=t)
        return buffer.array()[t, c, z].reshape(-1)[offset : offset + count].tobytes()

    def getRegion(self, size: int, offset: int) -> bytes:
        """Return bytes of the file."""
        return self._whole().array().reshape(-1).view("u1")[offset : offset + size].tobytes()

    def getHypercube(self, offset: list[int], size: list[int], step: list[int]) -> bytes:
        """Return a part of all axes; the lists are in XYZCT."""
        buffer = self._whole()
        where = tuple(
            slice(start, start + length, by)
            for start, length, by in zip(offset[::-1], size[::-1], step[::-1], strict=True)
        )
        lasts = [start + length - 1 for start, length in zip(offset, size, strict=True)]
        for corner in (offset, lasts):
            buffer.check(**dict(zip("xyzct", corner, strict=True)))
        t, c, z, y, x = where
        return buffer.array()[t, c, z, y, x].tobytes()

    def _whole(self) -> PixelBuffer:
        buffer = self.reading
        if isinstance(buffer, PyramidBuffer):
            raise omero.InternalException(
                None, "java.lang.UnsupportedOperationException", "Not supported."
            )
        return buffer

    def setTile(
        self, data: bytes, z: int, c: int, t: int, x: int, y: int, width: int, height: int
    ) -> None:
        """Set a part of a plane."""
        self.buffer.write_tile(bytes(data), z, c, t, x, y, width, height)
        self._modified = True

    def setPlane(self, data: bytes, z: int, c: int, t: int) -> None:
        """Set a plane."""
        self.buffer.write_plane(bytes(data), z, c, t)
        self._modified = True

    def setRow(self, data: bytes, y: int, z: int, c: int, t: int) -> None:
        """Set a row."""
        self._write((t, c, z, y), data, self._writing().shape[4:])

    def setStack(self, data: bytes, z: int, c: int, t: int) -> None:
        """Set the planes along Z."""
        self._write((t, c), data, self._writing().shape[2:])

    def setTimepoint(self, data: bytes, t: int) -> None:
        """Set all stacks of a time point."""
        self._write((t,), data, self._writing().shape[1:])

    def setRegion(self, size: int, offset: int, data: bytes) -> None:
        """Set bytes of the file."""
        flat = self._writing().array().reshape(-1).view("u1")
        self.server.faults.disk.demand(size)
        flat[offset : offset + size] = np.frombuffer(bytes(data), "u1")
        self._modified = True

    def _write(self, index: tuple[int, ...], data: bytes, shape: tuple[int, ...]) -> None:
        self.buffer.check(**dict(zip("tczy", index, strict=False)))
        self.buffer.write(index, bytes(data), shape)
        self._modified = True

    def _writing(self) -> PixelBuffer:
        if isinstance(self.buffer, PyramidBuffer):
            self.buffer.write_plane(b"", 0, 0, 0)
        return self.buffer

    def getHistogram(
        self, channels: list[int], bins: int, global_range: bool, plane: Any
    ) -> dict[int, list[int]]:
        """Return how many pixels of a plane lie in each of equal ranges, by channel."""
        found = {}
        for c in channels:
            pixels = np.asarray(self.reading.array()[plane.t, c, plane.z], dtype=float)
            limits = self._limits(c) if global_range else None
            limits = limits or (float(pixels.min()), float(pixels.max()))
            counts, _ = np.histogram(pixels, bins or 256, limits)
            found[c] = [int(count) for count in counts]
        return found

    def _limits(self, c: int) -> tuple[float, float] | None:
        with self.store.lock:
            channels = self.store.collection(self.pixels, "channels")
            stats = channels[c]["statsInfo"]
            return stats and (stats["globalMin"], stats["globalMax"])

    def findMinMax(self, channels: list[int]) -> dict[int, list[float]]:
        """Return the range of the middle plane, by channel."""
        array = self.reading.array()
        t, z = (array.shape[0] - 1) // 2, (array.shape[2] - 1) // 2
        planes = {c: array[t, c, z] for c in channels}
        return {c: [float(plane.min()), float(plane.max())] for c, plane in planes.items()}

    def calculateMessageDigest(self) -> bytes:
        """Return the SHA-1 over all pixels."""
        return self.reading.sha1()

    def save(self) -> Any:
        """Note the digest of what was written; return the Pixels object, None if nothing was."""
        if not self._modified or self.pixels is None:
            return None
        digest = self.reading.sha1().hex()
        with self.store.lock, self.store.transaction():
            self.store.set(self.pixels, "sha1", digest)
            self._modified = False
            return render_one(self.call, self.pixels)

    def close(self) -> None:
        """Save what was written and let go of the file."""
        try:
            self.save()
        finally:
            self._release()
            self.pixels = None
            super().close()
