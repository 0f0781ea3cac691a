"""Compress chunks: the same pixels give the same bytes, always."""

from __future__ import annotations

from collections.abc import Callable
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
        return _blosc(BLOSC[options.codec], options.level, dtype.itemsize, little)
    if options.codec == "zstd":
        from numcodecs import zstd

        # Its checksum lets readers notice a flipped bit.
        return lambda chunk: bytes(
            zstd.compress(chunk.astype(little, copy=False), options.level, checksum=True)
        )
    if options.codec == "gzip":
        return _gzip(options.level, little)
    return lambda chunk: chunk.astype(little, copy=False).tobytes()


def _gzip(level: int, little: np.dtype[Any]) -> Encode:
    from imagecodecs import gzip_encode

    def encode(chunk: NDArray[Any]) -> bytes:
        data: Any = chunk.astype(little, copy=False)
        # libdeflate states neither time nor system in the header, which would differ.
        return bytes(gzip_encode(data, level=level))

    return encode


def _blosc(name: str, level: int, itemsize: int, little: np.dtype[Any]) -> Encode:
    from imagecodecs import blosc_encode

    shuffle = "shuffle" if itemsize > 1 else "noshuffle"

    def encode(chunk: NDArray[Any]) -> bytes:
        data: Any = chunk.astype(little, copy=False)
        return bytes(
            blosc_encode(
                data,
                level=level,
                compressor=name,
                shuffle=shuffle,
                typesize=itemsize,
                blocksize=BLOSC_BLOCK_BYTES,
                numthreads=1,
            )
        )

    return encode
