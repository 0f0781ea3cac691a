"""Keep the chunks that were read last, for work that looks beyond the borders of blocks."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Readable, Region, Shape, region_shape

__all__ = ["ChunkCache"]

_BUDGET_BYTES = 64 << 20
_MOST_CACHES = 2

Index = tuple[int, ...]


class ChunkCache:
    """An image that remembers 64 MiB of its chunks, or one; may be read from several threads.

    Copies of one that were pickled for another process share their chunks there.

    Parameters
    ----------
    source : Readable
        The image.
    chunk : (T, C, Z, Y, X)
        Size of its chunks.
    """

    def __init__(self, source: Readable, chunk: Shape) -> None:
        self._source = source
        self._chunk = chunk
        self._key = uuid.uuid4().hex
        self._kept: OrderedDict[Index, NDArray[Any]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what is cached, not the chunks."""
        return _shared, (self._key, self._source, self._chunk)

    @property
    def shape5(self) -> Shape:
        """Size along T, C, Z, Y, X."""
        return self._source.shape5

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type, in native byte order."""
        return self._source.dtype

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X)."""
        result = np.empty(region_shape(region), self.dtype)
        ranges = [
            range(part.start // size, -(-part.stop // size))
            for part, size in zip(region, self._chunk, strict=True)
        ]
        for index in itertools.product(*ranges):
            into, out_of = [], []
            for part, size, number in zip(region, self._chunk, index, strict=True):
                start, stop = max(part.start, number * size), min(part.stop, (number + 1) * size)
                into.append(slice(start - part.start, stop - part.start))
                out_of.append(slice(start - number * size, stop - number * size))
            result[tuple(into)] = self._get(index)[tuple(out_of)]
        return result

    def _get(self, index: Index) -> NDArray[Any]:
        with self._lock:
            if index in self._kept:
                self._kept.move_to_end(index)
                return self._kept[index]
        t, c, z, y, x = (
            slice(number * size, min((number + 1) * size, whole))
            for number, size, whole in zip(index, self._chunk, self.shape5, strict=True)
        )
        chunk = self._source.read((t, c, z, y, x))
        with self._lock:
            if index not in self._kept:
                self._kept[index] = chunk
                self._bytes += chunk.nbytes
            while self._bytes > _BUDGET_BYTES and len(self._kept) > 1:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= oldest.nbytes
        return chunk


_caches: OrderedDict[str, ChunkCache] = OrderedDict()
_caches_lock = threading.Lock()


def _shared(key: str, source: Readable, chunk: Shape) -> ChunkCache:
    """Return this process's copy of a cache; of several only the last ones are kept."""
    with _caches_lock:
        if key not in _caches:
            _caches[key] = ChunkCache(source, chunk)
            while len(_caches) > _MOST_CACHES:
                _caches.popitem(last=False)
        return _caches[key]
