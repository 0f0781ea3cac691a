"""Read the pixels of CZI without libCZI: a second reader, which proves what the first one read.

It reads no metadata besides sizes, and puts tiles together by itself.

Source: Zeiss, ZISRAW (CZI) file format, design specification; zstd1 as in libCZI's documentation.
"""

from __future__ import annotations

import struct
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Region, Shape, region_shape
from parfocal.errors import InputError
from parfocal.images.image import Image
from parfocal.images.libraries import library
from parfocal.images.rawfile import RawFile
from parfocal.images.readers.source import Source
from parfocal.models.image import ImageMetadata

__all__ = ["check_sizes", "open_source"]

_HEAD = 32  # bytes of the head of a segment
_DIRECTORY = 128  # bytes before the entries of a directory
_ENTRY = struct.Struct("<2siqiiB5xi")
_DIMENSION = struct.Struct("<4siifi")
_TYPES = {0: ("<u1", 1), 1: ("<u2", 1), 2: ("<f4", 1), 3: ("<u1", 3), 4: ("<u2", 3), 8: ("<f4", 3)}
_NONE, _JPEG_XR, _ZSTD_0, _ZSTD_1 = 0, 4, 5, 6
_KEPT = "TCZ"
_IGNORED = "XYSM"
_CACHE_BYTES = 32 * 2**20
_DAMAGED = "The file is truncated or damaged: copy or download it again."


@dataclass(frozen=True)
class _Tile:
    """An entry of the directory: where a tile lies in the file and in the image."""

    number: int
    position: int
    pixel_type: int
    compression: int
    scene: int
    plane: tuple[int, int, int]
    order: int
    y: int
    x: int
    height: int
    width: int


class CziSegments(Source):
    """A CZI whose tiles are known; of metadata, only sizes and types are told."""

    def _open(self) -> None:
        file = RawFile(self.path)
        self._held.callback(file.close)
        found: dict[int, list[_Tile]] = {}
        try:
            for tile in _tiles(file):
                found.setdefault(tile.scene, []).append(tile)
        except (struct.error, ValueError, OverflowError, MemoryError) as error:
            raise _damaged(self.path, error) from error
        if not found:
            raise _damaged(self.path, "no tiles")
        self._scenes = [_Scene(file, found[number]) for number in sorted(found)]

    def names(self) -> list[str]:
        """Return the numbers of the scenes, in the order of the file's."""
        return [str(number) for number in range(len(self._scenes))]

    def image(self, place: int) -> Image:
        """Return a scene."""
        pixels = self._scenes[place]
        return Image(
            metadata=pixels.metadata(),
            pyramid=(pixels,),
            block5=pixels.block5,
            reader=library("imagecodecs", "czi_segments+imagecodecs"),
        )


def _damaged(where: object, found: object) -> InputError:
    what = "The segments of the CZI cannot be read"
    return InputError(what, where=where, found=found, remedy=_DAMAGED)


def _segment(file: RawFile, position: int, name: bytes) -> tuple[int, int]:
    """Return where the content of a segment begins, and its size."""
    head = file.read_bytes(position, _HEAD)
    size = struct.unpack_from("<q", head, 24)[0] or struct.unpack_from("<q", head, 16)[0]
    if head[:16].rstrip(b"\0") != name or not 0 < size <= file.size():
        where = f"{file.path}, byte {position}"
        raise _damaged(where, f"{head[:16]!r} of {size} bytes")
    return position + _HEAD, size


def _tiles(file: RawFile) -> Iterator[_Tile]:
    """Yield the tiles at full resolution."""
    start, _ = _segment(file, 0, b"ZISRAWFILE")
    (directory,) = struct.unpack("<q", file.read_bytes(start + 52, 8))
    start, size = _segment(file, directory, b"ZISRAWDIRECTORY")
    content = file.read_bytes(start, size)
    (count,) = struct.unpack_from("<i", content)
    offset = _DIRECTORY
    for number in range(count):
        tile, offset = _tile(content, offset, number)
        if tile is not None:
            yield tile


def check_sizes(path: Path) -> int:
    """Refuse a CZI in which parts of a tile are said to be larger than the whole.

    A wrong size of the metadata before the pixels shifts these, which no reader would notice.

    Returns
    -------
    int
        How many tiles have parts that are said to be smaller than the whole.

    Raises
    ------
    InputError
        If the sizes of a tile are too large.
    """
    with closing(RawFile(path)) as file:
        try:
            tiles = list(_tiles(file))
        except (struct.error, ValueError, OverflowError, MemoryError, InputError):
            return 0  # what this reader does not understand it cannot judge
        smaller = 0
        for tile in tiles:
            start, size = _segment(file, tile.position, b"ZISRAWSUBBLOCK")
            parts = _parts(file, start)
            if min(parts) < 0 or sum(parts) > size:
                where = f"{path}, tile {tile.number}"
                raise _damaged(where, f"parts of {sum(parts)} bytes in a segment of {size}")
            (used,) = struct.unpack("<q", file.read_bytes(start - 8, 8))
            smaller += 0 < sum(parts) < used
    return smaller


def _parts(file: RawFile, start: int) -> tuple[int, int, int, int]:
    """Return the bytes of a tile's fixed part, metadata, attachment and pixels."""
    metadata, attachment, count = struct.unpack("<iiq", file.read_bytes(start, 16))
    (dimensions,) = struct.unpack("<i", file.read_bytes(start + 16 + 28, 4))
    fixed = max(256, 16 + _ENTRY.size + dimensions * _DIMENSION.size)
    return fixed, metadata, attachment, count


def _tile(content: bytes, offset: int, number: int) -> tuple[_Tile | None, int]:
    """Return an entry, None where it is of a pyramid, and where the next one begins."""
    schema, kind, position, _, compression, _, dimensions = _ENTRY.unpack_from(content, offset)
    offset += _ENTRY.size
    if schema != b"DV":
        msg = f"an entry of kind {schema!r}"
        raise ValueError(msg)
    starts: dict[str, int] = {}
    sizes: dict[str, int] = {}
    full = True
    for _ in range(dimensions):
        name, start, size, _, stored = _DIMENSION.unpack_from(content, offset)
        offset += _DIMENSION.size
        axis = name.rstrip(b"\0").decode("ascii")
        starts[axis], sizes[axis] = start, size
        full = full and stored in (0, size)
        if axis not in _KEPT + _IGNORED and start:
            msg = f"a tile at {start} along {axis}"
            raise ValueError(msg)
    if not full:
        return None, offset
    tile = _Tile(
        number=number,
        position=position,
        pixel_type=kind,
        compression=compression,
        scene=starts.get("S", -1),
        plane=(starts.get("T", 0), starts.get("C", 0), starts.get("Z", 0)),
        order=starts.get("M", 0),
        y=starts.get("Y", 0),
        x=starts.get("X", 0),
        height=sizes.get("Y", 0),
        width=sizes.get("X", 0),
    )
    return tile, offset


class _Scene:
    """The pixels of a scene, put together from its tiles; reading is safe in threads."""

    def __init__(self, file: RawFile, tiles: list[_Tile]) -> None:
        self._file = file
        self._tiles: dict[tuple[int, int, int], list[_Tile]] = {}
        for tile in sorted(tiles, key=lambda one: (one.order, one.number)):
            self._tiles.setdefault(tile.plane, []).append(tile)
        self._cache: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._lock = threading.Lock()
        kinds = {_TYPES.get(tile.pixel_type) for tile in tiles}
        known = [kind for kind in kinds if kind is not None]
        if len(known) < len(kinds) or len({samples for _, samples in known}) > 1:
            raise _damaged(file.path, f"pixels of types {sorted(t.pixel_type for t in tiles)[:9]}")
        self._samples = known[0][1]
        self.dtype = np.result_type(*(name for name, _ in known)).newbyteorder("=")
        low = np.min([tile.plane for tile in tiles], axis=0)
        t, c, z = (int(n) for n in np.max([tile.plane for tile in tiles], axis=0) - low + 1)
        self._first = tuple(int(n) for n in low)
        self._y, self._x = min(tile.y for tile in tiles), min(tile.x for tile in tiles)
        height = max(tile.y + tile.height for tile in tiles) - self._y
        width = max(tile.x + tile.width for tile in tiles) - self._x
        self.shape5: Shape = (t, c * self._samples, z, height, width)
        largest = max(tiles, key=lambda one: one.height * one.width)
        self.block5: Shape = (1, self._samples, 1, largest.height, largest.width)

    def metadata(self) -> ImageMetadata:
        """Return sizes and type."""
        return ImageMetadata(
            name=self._file.path.name, axes="TCZYX", shape=self.shape5, dtype=self.dtype.name
        )

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X).

        Raises
        ------
        InputError
            If the file is damaged there.
        """
        ts, cs, zs, ys, xs = region
        out = np.zeros(region_shape(region), self.dtype)
        for t, c, z in np.ndindex(*out.shape[:3]):
            channel, sample = divmod(cs.start + c, self._samples)
            place = (ts.start + t, channel, zs.start + z)
            t0, c0, z0 = (i + low for i, low in zip(place, self._first, strict=True))
            for tile in self._tiles.get((t0, c0, z0), ()):
                top, left = tile.y - self._y, tile.x - self._x
                y0, y1 = max(top, ys.start), min(top + tile.height, ys.stop)
                x0, x1 = max(left, xs.start), min(left + tile.width, xs.stop)
                if y0 < y1 and x0 < x1:
                    pixels = self._pixels(tile)[y0 - top : y1 - top, x0 - left : x1 - left]
                    # stored as blue, green, red
                    out[t, c, z, y0 - ys.start : y1 - ys.start, x0 - xs.start : x1 - xs.start] = (
                        pixels[..., self._samples - 1 - sample]
                    )
        return out

    def _pixels(self, tile: _Tile) -> NDArray[Any]:
        """Return the pixels (Y, X, samples) of a tile, from the cache of the latest or decoded."""
        with self._lock:
            if tile.number in self._cache:
                self._cache.move_to_end(tile.number)
                return self._cache[tile.number]
        pixels = self._decode(tile)
        with self._lock:
            self._cache[tile.number] = pixels
            held = sum(one.nbytes for one in self._cache.values())
            while held > _CACHE_BYTES and len(self._cache) > 1:
                held -= self._cache.popitem(last=False)[1].nbytes
        return pixels

    def _decode(self, tile: _Tile) -> NDArray[Any]:
        import imagecodecs

        where = f"{self._file.path}, tile {tile.number}"
        start, size = _segment(self._file, tile.position, b"ZISRAWSUBBLOCK")
        fixed, metadata, _, count = _parts(self._file, start)
        if not (0 <= metadata <= size and 0 <= count <= size):
            raise _damaged(where, f"{metadata} and {count} bytes in {size}")
        data: bytes | bytearray = self._file.read_bytes(start + fixed + metadata, count)
        name, samples = _TYPES[tile.pixel_type]
        shape = (tile.height, tile.width, samples)
        wanted = int(np.prod(shape)) * np.dtype(name).itemsize
        try:
            if tile.compression == _JPEG_XR:
                decoded = imagecodecs.jpegxr_decode(data).reshape(shape)
                return np.ascontiguousarray(decoded[..., ::-1] if samples == 3 else decoded)
            if tile.compression == _ZSTD_0:
                data = imagecodecs.zstd_decode(data)
            elif tile.compression == _ZSTD_1:
                data = _zstd1(data, wanted)
            elif tile.compression != _NONE:
                raise _damaged(where, f"compression {tile.compression}")
            return np.frombuffer(data, name, count=int(np.prod(shape))).reshape(shape)
        except (ValueError, RuntimeError, IndexError) as error:
            raise _damaged(where, error) from error


def _zstd1(data: bytes | bytearray, wanted: int) -> bytes | bytearray:
    """Decompress pixels whose low bytes may all lie before their high bytes."""
    import imagecodecs

    split = data[0] == 3 and data[1] == 1 and bool(data[2] & 1)
    decoded = imagecodecs.zstd_decode(data[data[0] :])
    if not split:
        return decoded
    halves = np.frombuffer(decoded, np.uint8, count=wanted).reshape(2, -1)
    return halves.T.tobytes()


open_source = CziSegments
