"""Where the frames of an ND2 file lie, and how they are read.

The library nd2 gives black pictures for frames that are missing or cut off, so they are looked up
and read here, and a frame that is not there is told.

Source: the layout of chunks as the library nd2 reads it.
"""

from __future__ import annotations

import struct
import threading
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Region, Shape, region_shape
from parfocal.errors import InputError
from parfocal.images.rawfile import RawFile

__all__ = ["FrameLayout", "FramePixels", "find_chunks", "find_frames", "read_chunk"]

_MAGIC = 0x0ABECEDA
_HEADER = struct.Struct("<IIQ")
_ENTRY = struct.Struct("<QQ")
_MAP = b"ND2 FILEMAP SIGNATURE NAME 0001!"
_END = b"ND2 CHUNK MAP SIGNATURE 0000001!"
_FRAME = b"ImageDataSeq|"
_STAMP_BYTES = 8  # the time of a frame stands before its pixels
_FRAME_HEADER_BYTES = 4088  # of a frame, so that its pixels start at a multiple of 4096
_DAMAGED = "The file is truncated or damaged: copy or download it again."


def find_chunks(file: RawFile) -> dict[bytes, int]:
    """Return where the chunks of an ND2 file start, by their names without the ``!``.

    Raises
    ------
    InputError
        If the map at the end of the file is cut off or damaged.
    """
    size = file.size()
    tail = file.read_bytes(max(0, size - 40), min(40, size))
    if tail[:32] != _END:
        what = "The ND2 file has no map of its chunks at its end"
        raise InputError(what, where=file.path, found=f"{size} bytes", remedy=_DAMAGED)
    content = read_chunk(file, int.from_bytes(tail[32:], "little"), _MAP)
    chunks: dict[bytes, int] = {}
    position = 0
    while True:
        end = content.find(b"!", position) + 1
        name = content[position:end]
        if name == _END:
            return chunks
        if not end or end + _ENTRY.size > len(content):
            what = "The map of the chunks of the ND2 file is damaged"
            raise InputError(what, where=file.path, remedy=_DAMAGED)
        chunks[name[:-1]] = _ENTRY.unpack_from(content, end)[0]
        position = end + _ENTRY.size


def _chunk_extent(file: RawFile, offset: int, name: bytes) -> tuple[int, int]:
    """Return where the content of a chunk starts, and its size."""
    size = file.size()
    fits = 0 <= offset <= size - _HEADER.size
    magic, named, length = _HEADER.unpack(file.read_bytes(offset, 16)) if fits else (0, 0, 0)
    start = offset + _HEADER.size + named
    whole = magic == _MAGIC and len(name) <= named <= size and start + length <= size
    if not whole or not file.read_bytes(offset + _HEADER.size, named).startswith(name):
        what = "A chunk of the ND2 file is not where its map says, or cut off"
        shown = name.rstrip(b"!").decode("latin-1")
        found = f"{size} bytes in the file"
        expected = f"{shown} from byte {offset} on"
        raise InputError(what, where=file.path, expected=expected, found=found, remedy=_DAMAGED)
    return start, length


def read_chunk(file: RawFile, offset: int, name: bytes) -> bytes:
    """Return the content of the chunk at `offset`, whose name must be `name`.

    Raises
    ------
    InputError
        If it is not there, or cut off.
    """
    return file.read_bytes(*_chunk_extent(file, offset, name))


def find_frames(file: RawFile, chunks: dict[bytes, int]) -> dict[int, tuple[int, int]]:
    """Return where the pixels of each frame start, and their bytes as they are stored.

    Raises
    ------
    InputError
        If one is not there, or cut off.
    """
    frames = {}
    for name, offset in chunks.items():
        number = name.removeprefix(_FRAME)
        if name.startswith(_FRAME) and number.isdigit():
            start, length = _chunk_extent(file, offset, name + b"!")
            if start != offset + _FRAME_HEADER_BYTES:
                what = "The header of a frame of the ND2 file is damaged"
                where = f"{file.path}, byte {offset}"
                raise InputError(what, where=where, found=f"{start - offset} bytes")
            frames[int(number)] = (start + _STAMP_BYTES, length - _STAMP_BYTES)
    return frames


@dataclass(frozen=True)
class FrameLayout:
    """How the pixels of a frame are stored.

    Parameters
    ----------
    height, width : int
        Pixels.
    components : int
        Values a pixel, which lie side by side: the channels, or the colours.
    row_bytes : int
        From the start of a row to that of the next.
    dtype : numpy.dtype
        Data type.
    compressed : bool
        Whether each frame is compressed by zlib.
    order : tuple of int
        Which of the values each channel of the image is.
    """

    height: int
    width: int
    components: int
    row_bytes: int
    dtype: np.dtype[Any]
    compressed: bool
    order: tuple[int, ...]


class FramePixels:
    """The pixels of one position.

    Parameters
    ----------
    file : RawFile
        The file.
    layout : FrameLayout
        How frames are stored.
    places : (T, Z) nested list of (int, int) or None
        Where each frame lies; None where it was not recorded, which is read as 0.
    """

    def __init__(
        self,
        file: RawFile,
        layout: FrameLayout,
        places: list[list[tuple[int, int] | None]],
    ) -> None:
        self._file = file
        self._layout = layout
        self._places = places
        self.shape5: Shape = (
            len(places),
            len(layout.order),
            len(places[0]),
            layout.height,
            layout.width,
        )
        self.dtype = layout.dtype
        self._lock = threading.Lock()
        self._latest: tuple[tuple[int, int], bytes] = ((0, 0), b"")

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X).

        Raises
        ------
        InputError
            If the file is damaged there.
        """
        ts, cs, zs, ys, xs = region
        out = np.zeros(region_shape(region), self.dtype)
        components = list(self._layout.order[cs])
        for t in range(ts.start, ts.stop):
            for z in range(zs.start, zs.stop):
                place = self._places[t][z]
                if place is not None:
                    rows = self._rows(place, ys)[:, xs, components]
                    out[t - ts.start, :, z - zs.start] = np.moveaxis(rows, -1, 0)
        return out

    def _rows(self, place: tuple[int, int], ys: slice) -> NDArray[Any]:
        """Return rows (Y, X, values) of a frame."""
        layout = self._layout
        first, count = ys.start * layout.row_bytes, (ys.stop - ys.start) * layout.row_bytes
        if layout.compressed:
            content = self._decompressed(place)[first : first + count]
        else:
            content = self._file.read_bytes(place[0] + first, count)
        used = layout.width * layout.components * layout.dtype.itemsize
        rows = np.frombuffer(content, np.uint8).reshape(-1, layout.row_bytes)[:, :used]
        values = np.ascontiguousarray(rows).view(layout.dtype)
        return values.reshape(-1, layout.width, layout.components)

    def _decompressed(self, place: tuple[int, int]) -> bytes:
        """Return a frame; the latest one is kept, as it is often read part by part."""
        with self._lock:
            if self._latest[0] == place:
                return self._latest[1]
        needed = self._layout.height * self._layout.row_bytes
        try:
            content = zlib.decompress(self._file.read_bytes(*place))
        except zlib.error as error:
            what = "A frame of the ND2 file cannot be decompressed"
            where = f"{self._file.path}, byte {place[0]}"
            raise InputError(what, where=where, found=error, remedy=_DAMAGED) from error
        if len(content) != needed:
            what = "A frame of the ND2 file is of another size than the others"
            where, found = f"{self._file.path}, byte {place[0]}", f"{len(content)} bytes"
            raise InputError(
                what, where=where, expected=f"{needed} bytes", found=found, remedy=_DAMAGED
            )
        with self._lock:
            self._latest = (place, content)
        return content
