"""Pixels of an OMERO server, read as they are kept, by several connections at once."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Region, Shape, iter_blocks, region_shape, whole
from parfocal.core.closing import Closing
from parfocal.core.rate import shared_rate
from parfocal.errors import InputError, RemoteError
from parfocal.models.image import ImageMetadata
from parfocal.models.omero_server import OmeroServer
from parfocal.models.transfer import TransferLimits
from parfocal.omero.connection import Connection, borrow, give_back
from parfocal.omero.credentials import Credentials
from parfocal.omero.faults import what_omero_raises
from parfocal.omero.images import OmeroImage
from parfocal.omero.resolutions import Resolution

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

__all__ = ["OmeroPixels", "known_pixels"]

_CONNECTIONS = 4
_STRIP_BYTES = 4 << 20
"""What one request brings at most, where the server keeps whole planes."""

_AT_ONCE_BYTES = 32 << 20


class OmeroPixels(Closing):
    """The pixels of one image in one resolution, read region by region.

    Parameters
    ----------
    server : OmeroServer
        The server.
    image : OmeroImage
        What `read_image` says about the image.
    connections : int, optional
        How many connections read at once; by default what ``PARFOCAL_OMERO_CONNECTIONS`` says,
        or 4.
    credentials : Credentials, optional
        Who logs in; by default what `find_credentials` finds.
    resolution : Resolution, optional
        Which one; by default the full one.

    Attributes
    ----------
    metadata : ImageMetadata
        Of the image at full resolution.

    Raises
    ------
    InputError
        If the image has no pixels, or such as are not supported; or omero-py is missing.
    ConfigurationError
        If the environment sets a limit that is none.
    """

    def __init__(
        self,
        server: OmeroServer,
        image: OmeroImage,
        connections: int | None = None,
        credentials: Credentials | None = None,
        resolution: Resolution | None = None,
    ) -> None:
        self._where = f"{server.uri}/image/{image.id}"
        self.metadata, self._pixels_id = known_pixels(image, self._where)
        self._server = server
        self._credentials = credentials
        self._resolution = resolution
        self._mine = threading.local()
        self._readers: list[_Reader] = []
        self._lock = threading.Lock()
        limits = TransferLimits.from_environment()
        self._rate = shared_rate(limits.mb_per_s * 1e6) if limits.mb_per_s else None
        self._count = connections or limits.omero_connections or _CONNECTIONS
        self._pool = ThreadPoolExecutor(self._count, thread_name_prefix="omero")

    @property
    def shape5(self) -> Shape:
        """Size along T, C, Z, Y, X."""
        t, c, z, y, x = self.metadata.shape5
        if self._resolution:
            y, x = self._resolution.height, self._resolution.width
        return t, c, z, y, x

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type, in native byte order."""
        return np.dtype(self.metadata.dtype)

    @property
    def planes_at_once(self) -> int:
        """As many as keep the connections busy without filling the memory."""
        plane = self.shape5[3] * self.shape5[4] * self.dtype.itemsize
        return max(1, _AT_ONCE_BYTES // plane)

    @property
    def reads_at_once(self) -> int:
        """How many regions of `planes_at_once` keep the connections busy.

        A region never reaches beyond one stack of Z, which may be a single small plane.
        """
        return math.ceil(self._count / min(self.shape5[2], self.planes_at_once))

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X).

        Raises
        ------
        RemoteError
            If the server fails for longer than the connections are patient, or sends too few
            bytes.
        InputError
            If the image was deleted meanwhile, or has lost its pixels.
        """
        out = np.empty(region_shape(region), self.dtype)
        tasks = [
            self._pool.submit(self._read_tile, tile, out, region) for tile in self._tiles(region)
        ]
        try:
            for task in tasks:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
        return out

    def close(self) -> None:
        """Give the connections back."""
        self._pool.shutdown(cancel_futures=True)
        readers, self._readers = self._readers, []
        for reader in readers:
            reader.close()

    def _tiles(self, region: Region) -> Iterator[Region]:
        """Divide a region into what is asked for at once: strips of planes, or tiles."""
        shape = region_shape(region)
        height, width = shape[3:]
        line = width * self.dtype.itemsize
        rows = max(1, min(height, _STRIP_BYTES // line))
        columns = width if rows > 1 else max(1, _STRIP_BYTES // self.dtype.itemsize)
        for inner in iter_blocks(whole(shape), (1, 1, 1, rows, min(width, columns))):
            t, c, z, y, x = (
                slice(outer.start + part.start, outer.start + part.stop)
                for outer, part in zip(region, inner, strict=True)
            )
            yield t, c, z, y, x

    def _read_tile(self, tile: Region, out: NDArray[Any], region: Region) -> None:
        reader = self._reader()
        data = reader.read(tile)
        if self._rate:
            time.sleep(self._rate.take(len(data)))
        t, c, z, y, x = (
            slice(part.start - outer.start, part.stop - outer.start)
            for part, outer in zip(tile, region, strict=True)
        )
        target = out[t, c, z, y, x]
        if len(data) != target.size * target.itemsize:
            what = "The OMERO server sent too few or too many bytes"
            expected, found = f"{target.size * target.itemsize} bytes", f"{len(data)} bytes"
            raise RemoteError(what, where=self._where, expected=expected, found=found)
        # OMERO sends the most significant byte first.
        kept = self.dtype.newbyteorder(">")
        target[...] = np.frombuffer(data, kept).reshape(target.shape)

    def _reader(self) -> _Reader:
        """Return what this thread reads with."""
        reader: _Reader | None = getattr(self._mine, "reader", None)
        if reader is None:
            number = self._resolution.number if self._resolution else None
            reader = self._mine.reader = _Reader(
                borrow(self._server, self._credentials), self._pixels_id, number
            )
            with self._lock:
                self._readers.append(reader)
        return reader


class _Reader:
    """One connection, and the service that reads pixels over it."""

    def __init__(self, connection: Connection, pixels_id: int, number: int | None) -> None:
        self._connection = connection
        self._pixels_id = pixels_id
        self._number = number
        self._gateway: BlitzGateway | None = None
        self._store: Any = None

    def read(self, tile: Region) -> bytes:
        """Return the bytes of a tile of one plane."""
        t, c, z, y, x = tile
        place = (z.start, c.start, t.start, x.start, y.start)
        size = (x.stop - x.start, y.stop - y.start)

        def work(gateway: BlitzGateway) -> bytes:
            return bytes(self._open(gateway).getTile(*place, *size))

        return self._connection.call(work)

    def close(self) -> None:
        """Close the service, and give the connection back."""
        if self._gateway is not None:
            with suppress(*what_omero_raises()):  # its session may be lost
                self._store.close()
            self._gateway = None
        give_back(self._connection)

    def _open(self, gateway: BlitzGateway) -> Any:
        """Return the service of this session, which is another one after a loss."""
        if self._gateway is not gateway:
            self._gateway = None
            store = gateway.c.sf.createRawPixelsStore(gateway.SERVICE_OPTS)
            store.setPixelsId(self._pixels_id, False, gateway.SERVICE_OPTS)
            if self._number is not None:
                store.setResolutionLevel(self._number, gateway.SERVICE_OPTS)
            elif store.requiresPixelsPyramid(gateway.SERVICE_OPTS):
                levels = store.getResolutionLevels(gateway.SERVICE_OPTS)
                store.setResolutionLevel(levels - 1, gateway.SERVICE_OPTS)
            self._gateway, self._store = gateway, store
        return self._store


def known_pixels(image: OmeroImage, where: str) -> tuple[ImageMetadata, int]:
    """Return the metadata of an image, and the id of its pixels.

    Raises
    ------
    InputError
        If it has no pixels, or such as are not supported.
    """
    if image.metadata is None or image.pixels_id is None:
        what = "The pixels of this image cannot be read from the OMERO server"
        raise InputError(what, where=where, found=image.refused)
    return image.metadata, image.pixels_id
