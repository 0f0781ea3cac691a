"""Take single chunks out of a shard on a server, and make a smaller shard of them.

Source: Zarr specification version 3, codec ``sharding_indexed``.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from parfocal.errors import InputError

__all__ = ["ShardLayout", "Span", "layout_of", "spans_of"]

_MISSING = (1 << 64) - 1
_GAP = 1 << 16
_LONGEST = 4 << 20
_INDEX_CODECS = ("bytes", "crc32c")


@dataclass(frozen=True)
class ShardLayout:
    """How chunks lie in the shards of an array.

    Attributes
    ----------
    chunk : tuple of int
        Sizes of a chunk along the axes of the array.
    counts : tuple of int
        How many chunks a shard has along each axis.
    index_first : bool
        Whether the index stands before the chunks rather than behind them.
    """

    chunk: tuple[int, ...]
    counts: tuple[int, ...]
    index_first: bool

    @property
    def count(self) -> int:
        """How many chunks a shard has."""
        return math.prod(self.counts)

    @property
    def index_bytes(self) -> int:
        """The size of the index and its checksum."""
        return 16 * self.count + 4

    @property
    def index_start(self) -> int:
        """Where the index starts; from the end where it is negative."""
        return 0 if self.index_first else -self.index_bytes

    def numbers(self, region: Sequence[tuple[int, int]]) -> list[int]:
        """Return which chunks a region of the shard touches, as places in the index."""
        spans = [
            range(start // size, -(-stop // size))
            for (start, stop), size in zip(region, self.chunk, strict=True)
        ]
        return [self._place(index) for index in itertools.product(*spans)]

    def _place(self, index: Sequence[int]) -> int:
        place = 0
        for number, count in zip(index, self.counts, strict=True):
            place = place * count + number
        return place

    def read_index(self, data: bytes, where: str) -> list[tuple[int, int]]:
        """Return offset and length of each chunk.

        Raises
        ------
        InputError
            If the checksum is wrong.
        """
        import google_crc32c

        body, checksum = data[:-4], struct.unpack("<I", data[-4:])[0]
        if google_crc32c.value(body) != checksum:
            what = "The index of a shard is damaged"
            raise InputError(
                what, where=where, expected=f"{checksum:08x}", found="another checksum"
            )
        return list(struct.iter_unpack("<QQ", body))

    def write_index(self, entries: Mapping[int, tuple[int, int]]) -> bytes:
        """Return an index with its checksum, of these chunks alone.

        Parameters
        ----------
        entries : mapping of int to (offset, length)
            By their places in the index.
        """
        import google_crc32c

        missing = (_MISSING, _MISSING)
        everything = (entries.get(place, missing) for place in range(self.count))
        body = b"".join(struct.pack("<QQ", *entry) for entry in everything)
        return body + struct.pack("<I", google_crc32c.value(body))


@dataclass
class Span:
    """Bytes of a shard that are asked for at once.

    Attributes
    ----------
    start, stop : int
        Where they lie.
    members : dict of int to (start, length)
        The chunks within them, by their places in the index; from `start` on.
    """

    start: int
    stop: int
    members: dict[int, tuple[int, int]]


def spans_of(index: Sequence[tuple[int, int]], places: Sequence[int]) -> list[Span]:
    """Divide the chunks at some places of the index into spans that are worth a request each."""
    wanted = sorted((*index[place], place) for place in places if index[place][0] != _MISSING)
    spans: list[Span] = []
    for offset, length, place in wanted:
        if not spans or offset > spans[-1].stop + _GAP or offset > spans[-1].start + _LONGEST:
            spans.append(Span(offset, offset, {}))
        span = spans[-1]
        span.members[place] = (offset - span.start, length)
        span.stop = max(span.stop, offset + length)
    return spans


def layout_of(document: Mapping[str, Any]) -> ShardLayout | None:
    """Return how the shards of an array are made, from its valid ``zarr.json``.

    None where it has none, or they are made in a way that only a full reader understands; they
    can be read as wholes then.
    """
    codecs = document.get("codecs") or []
    if len(codecs) != 1 or codecs[0].get("name") != "sharding_indexed":
        return None
    options = codecs[0].get("configuration", {})
    names = tuple(codec.get("name") for codec in options.get("index_codecs", ()))
    plain = options.get("index_codecs", [{}])[0].get("configuration", {})
    if names != _INDEX_CODECS or plain.get("endian", "little") != "little":
        return None
    chunk = tuple(int(size) for size in options["chunk_shape"])
    shard = document["chunk_grid"]["configuration"]["chunk_shape"]
    counts = tuple(int(size) // step for size, step in zip(shard, chunk, strict=True))
    return ShardLayout(chunk, counts, options.get("index_location", "end") == "start")
