"""Compress chunks: the same pixels give the same bytes, always."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.models.zarr_options import ZarrOptions

__all__ = ["BLOSC", "BLOSC_BLOCK_BYTES", "Encode", "make_encoder"]

Encode = Callable[[NDArray[Any]], bytes]

BLOSC = {"blosc-zstd": "zstd", "lz4": "lz4"}
"""Names of codecs that are Blosc's, and what Blosc calls its inner compression."""

BLOSC_BLOCK_BYTES = 2**19
"""Blosc compresses a chunk in pieces of at most so many bytes, each on its own.

Its own choice is pieces of 32 to 256 KiB, for which zstd takes slower ways that find no more in
images; see docs/explanation/conversion.md.
"""


def make_encoder(options: ZarrOptions, dtype: np.dtype[Any]) -> Encode:
    """Return what turns a C-contiguous chunk into the bytes that are stored.

    Each chunk is compressed in one thread, which is the caller's: Blosc's own threads would
    put its blocks in the order in which they are done.

    Parameters
    ----------
    options : ZarrOptions
        Codec and level.
    dtype : numpy.dtype
        Data type of the chunks.
    """
    little = dtype.newbyteorder("<")
    if options.codec in BLOSC:
        return _Blosc(BLOSC[options.codec], options.level, little)
    if options.codec == "zstd":
        return _Zstd(options.level, little)
    if options.codec == "gzip":
        return _Gzip(options.level, little)
    return _Plain(little)


@dataclass(frozen=True)
class _Plain:
    little: np.dtype[Any]

    def __call__(self, chunk: NDArray[Any]) -> bytes:
        return chunk.astype(self.little, copy=False).tobytes()


@dataclass(frozen=True)
class _Zstd:
    level: int
    little: np.dtype[Any]

    def __call__(self, chunk: NDArray[Any]) -> bytes:
        from numcodecs import zstd

        # Its checksum lets readers notice a flipped bit.
        data = chunk.astype(self.little, copy=False)
        return bytes(zstd.compress(data, self.level, checksum=True))


@dataclass(frozen=True)
class _Gzip:
    level: int
    little: np.dtype[Any]

    def __call__(self, chunk: NDArray[Any]) -> bytes:
        from imagecodecs import gzip_encode

        data: Any = chunk.astype(self.little, copy=False)
        # libdeflate states neither time nor system in the header, which would differ.
        return bytes(gzip_encode(data, level=self.level))


@dataclass(frozen=True)
class _Blosc:
    name: str
    level: int
    little: np.dtype[Any]

    def __call__(self, chunk: NDArray[Any]) -> bytes:
        from imagecodecs import blosc_encode

        data: Any = chunk.astype(self.little, copy=False)
        return bytes(
            blosc_encode(
                data,
                level=self.level,
                compressor=self.name,
                shuffle="shuffle" if self.little.itemsize > 1 else "noshuffle",
                typesize=self.little.itemsize,
                blocksize=BLOSC_BLOCK_BYTES,
                numthreads=1,
            )
        )
