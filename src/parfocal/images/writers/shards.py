"""The files of chunks: shards of many, or one file a chunk; each whole or absent."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Region, Shape, iter_blocks
from parfocal.images.writers.codecs import Encode
from parfocal.images.writers.layout import LevelLayout
from parfocal.models.image import AXES

__all__ = [
    "TEMPORARY",
    "ChunkFiles",
    "Encoded",
    "LevelWriter",
    "Output",
    "ShardFile",
    "StoredChunk",
    "is_whole_shard",
]

TEMPORARY = ".tmp"
"""Ending of the names of files that are being written."""

StoredChunk = tuple[Shape, bytes]
"""A chunk: its place in the grid of chunks along T, C, Z, Y, X, and its bytes."""


@dataclass(frozen=True)
class Encoded:
    """Chunks of one level.

    Attributes
    ----------
    chunks : list of StoredChunk
        In the order in which they are stored.
    compressed : int
        How many of them were compressed; the others were there already.
    """

    chunks: list[StoredChunk]
    compressed: int


Reuse = Callable[[LevelLayout, Shape, Region, NDArray[Any]], bytes | None]

_ABSENT = 2**64 - 1
_CRC_BYTES = 4


class Output(Protocol):
    """Where the chunks of one block of a level go."""

    def write(self, chunks: Sequence[StoredChunk]) -> None:
        """Add chunks, in an order that does not depend on the run."""

    def finish(self) -> None:
        """Give the files their names; all chunks are there."""

    def abandon(self) -> None:
        """Close the files without giving them names."""


class LevelWriter:
    """Compresses the blocks of one level and knows their files; it can be pickled.

    Parameters
    ----------
    path : Path
        The folder of the array.
    layout : LevelLayout
        Sizes of the level, its chunks and its shards.
    axes : str
        The axes that the array has, a part of TCZYX.
    encode : callable
        Compresses a chunk.
    version : {"0.5", "0.4"}
        Version of OME-NGFF, which decides the names of files.
    sharded : bool
        Whether the chunks of a block share a file.
    reuse : callable, optional
        ``reuse(layout, place, region, pixels)`` returns the bytes of a chunk where they are
        there already, None where it is to be compressed.
    """

    def __init__(
        self,
        path: Path,
        layout: LevelLayout,
        axes: str,
        encode: Encode,
        *,
        version: str,
        sharded: bool,
        reuse: Reuse | None = None,
    ) -> None:
        self.layout = layout
        self._reuse = reuse
        self._root = path.absolute() / "c" if version == "0.5" else path.absolute()
        self._kept = [AXES.index(axis) for axis in axes]
        self._encode = encode
        self._sharded = sharded

    def encode(self, region: Region, pixels: NDArray[Any]) -> Encoded:
        """Compress the chunks of `pixels` (T, C, Z, Y, X), which lie at `region`.

        Chunks that the image does not fill are filled up with zeros.
        """
        chunks: list[StoredChunk] = []
        compressed = 0
        for part in iter_blocks(region, self.layout.chunk):
            inside = tuple(
                slice(one.start - all_.start, one.stop - all_.start)
                for one, all_ in zip(part, region, strict=True)
            )
            chunk = np.ascontiguousarray(pixels[inside])
            place = _place(part, self.layout.chunk)
            known = self._reuse(self.layout, place, part, chunk) if self._reuse else None
            if known is not None:
                chunks.append((place, known))
                continue
            if chunk.shape != self.layout.chunk:
                full = np.zeros(self.layout.chunk, pixels.dtype)
                full[tuple(slice(size) for size in chunk.shape)] = chunk
                chunk = full
            chunks.append((place, self._encode(chunk)))
            compressed += 1
        return Encoded(chunks, compressed)

    def open(self, block: Region) -> Output:
        """Return where the chunks of `block`, the region of one shard, are to be written.

        Each call has files of its own until `Output.finish`: a writer that was thought dead
        must not write into those of its successor.
        """
        token = uuid.uuid4().hex[:12]
        if self._sharded:
            path = self._path(_place(block, self.layout.shard))
            return ShardFile(path, self.layout, token)
        return ChunkFiles(self._path, token)

    def count(self, block: Region) -> int:
        """Return how many files hold `block` if all of them are there and whole, else 0."""
        if self._sharded:
            path = self._path(_place(block, self.layout.shard))
            return int(is_whole_shard(path, self.layout))
        paths = [
            self._path(_place(part, self.layout.chunk))
            for part in iter_blocks(block, self.layout.chunk)
        ]
        # They got their names when they were whole; a lost node may leave empty ones.
        return len(paths) if all(_size(path) for path in paths) else 0

    def _path(self, place: Shape) -> Path:
        return self._root.joinpath(*(str(place[axis]) for axis in self._kept))


class ShardFile:
    """A shard: chunks one after the other, and an index of them at the end.

    Source: sharding_indexed codec of Zarr 3, version 1.0, with a little-endian index that
    ends in its CRC-32C.

    Parameters
    ----------
    path : Path
        The file to make.
    layout : LevelLayout
        Sizes of shards and chunks.
    token : str
        Name of the writer.
    """

    def __init__(self, path: Path, layout: LevelLayout, token: str) -> None:
        self._path = path
        self._grid = _grid(layout)
        self._index = np.full((*self._grid, 2), _ABSENT, "<u8")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._draft = _draft(path, token)
        self._file = self._draft.open("wb", buffering=0)
        self._end = 0

    def write(self, chunks: Sequence[StoredChunk]) -> None:
        """Append chunks."""
        for place, data in chunks:
            inside = tuple(at % size for at, size in zip(place, self._grid, strict=True))
            self._index[inside] = self._end, len(data)
            self._append(data)

    def finish(self) -> None:
        """Append the index, and give the file its name."""
        from google_crc32c import value

        index = self._index.tobytes()
        self._append(index + int(value(index)).to_bytes(_CRC_BYTES, "little"))
        self._file.close()
        self._draft.replace(self._path)

    def abandon(self) -> None:
        """Close the file and leave it without its name."""
        self._file.close()

    def _append(self, data: bytes) -> None:
        self._end += len(data)
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]


class ChunkFiles:
    """Files of one chunk each.

    Parameters
    ----------
    path_of : callable
        Returns the file of a chunk, by its place.
    token : str
        Name of the writer.
    """

    def __init__(self, path_of: Any, token: str) -> None:
        self._path_of = path_of
        self._token = token
        self._made: set[Path] = set()

    def write(self, chunks: Sequence[StoredChunk]) -> None:
        """Write each chunk to its file."""
        for place, data in chunks:
            path = self._path_of(place)
            if path.parent not in self._made:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._made.add(path.parent)
            draft = _draft(path, self._token)
            draft.write_bytes(data)
            draft.replace(path)

    def finish(self) -> None:
        """Do nothing: the files have their names."""

    def abandon(self) -> None:
        """Do nothing: no file is open."""


def is_whole_shard(path: Path, layout: LevelLayout) -> bool:
    """Tell by its index whether a shard is there with all its chunks; they are not read."""
    from google_crc32c import value

    size = _size(path)
    entries = int(np.prod(_grid(layout)))
    tail = 16 * entries + _CRC_BYTES
    if size < tail:
        return False
    with path.open("rb") as file:
        file.seek(size - tail)
        content = file.read(tail)
    if int(value(content[:-_CRC_BYTES])).to_bytes(_CRC_BYTES, "little") != content[-_CRC_BYTES:]:
        return False
    index = np.frombuffer(content[:-_CRC_BYTES], "<u8").reshape(entries, 2)
    stored = index[index[:, 0] != _ABSENT]
    return bool(len(stored)) and int(stored[:, 1].sum()) == size - tail


def _grid(layout: LevelLayout) -> Shape:
    t, c, z, y, x = (s // k for s, k in zip(layout.shard, layout.chunk, strict=True))
    return t, c, z, y, x


def _place(region: Region, size: Shape) -> Shape:
    t, c, z, y, x = (part.start // by for part, by in zip(region, size, strict=True))
    return t, c, z, y, x


def _draft(path: Path, token: str) -> Path:
    return path.with_name(f".{path.name}.{token}{TEMPORARY}")


def _size(path: Path) -> int:
    """Return the size of a file, 0 if there is none."""
    try:
        return os.stat(path).st_size  # noqa: PTH116  # a third faster than Path.stat
    except FileNotFoundError:
        return 0
