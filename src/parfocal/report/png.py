"""PNG files whose bytes depend on their pixels alone.

libpng compresses by the zlib of the machine, and some have one that gives other bytes.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["write_png"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPES = {1: 0, 3: 2, 4: 6}
"""Grey, RGB and RGBA, by the bytes of a pixel."""
_LEVEL = 6


def write_png(image: NDArray[np.uint8]) -> bytes:
    """Return (Y, X), (Y, X, 3) or (Y, X, 4) uint8 as a PNG file, compressed by libdeflate.

    Source: W3C, "Portable Network Graphics (PNG) Specification (Third Edition)", 2025.

    Parameters
    ----------
    image : (Y, X), (Y, X, 3) or (Y, X, 4) uint8
        Grey, RGB or RGBA.
    """
    import imagecodecs

    height, width = image.shape[:2]
    pixels = image.reshape(height, width, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOR_TYPES[pixels.shape[2]], 0, 0, 0)
    rows = _filtered(pixels)
    data = imagecodecs.deflate_encode(rows.tobytes(), level=_LEVEL, raw=False)
    parts = ((b"IHDR", header), (b"IDAT", bytes(data)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(name, content) for name, content in parts)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", _crc(name, content))


def _crc(name: bytes, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(name))


def _filtered(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return rows (Y, 1 + bytes) as differences to the left or above, or as they are.

    Of each row it is what has the smallest sum, which the specification recommends.
    """
    left, above = pixels.copy(), pixels.copy()
    left[:, 1:] -= pixels[:, :-1]
    above[1:] -= pixels[:-1]
    ways = [way.reshape(len(pixels), -1) for way in (pixels, left, above)]
    sums = [np.minimum(way, -way).sum(axis=1, dtype=np.int64) for way in ways]
    best = np.argmin(sums, axis=0)
    rows = np.choose(best[:, None], ways)
    return np.concatenate([best[:, None].astype(np.uint8), rows], axis=1)
