"""A small slide as Hamamatsu's scanners write them: JPEGs of many tiles, and a macro picture."""

import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image

_ASCII, _SHORT, _LONG, _RATIONAL, _FLOAT, _SIGNED = 2, 3, 4, 5, 11, 9


def write_ndpi(path: Path, planes: list[np.ndarray], lens: float = 20.0) -> Path:
    """Write focal planes (Y, X, 3) uint8 that lie 1.5 micrometres apart, and a macro picture.

    The planes are JPEGs of 32 x 8 pixels a restart interval, of which tags state the starts.
    """
    pages = [(plane, lens, number * 1500) for number, plane in enumerate(planes)]
    pages.append((planes[0][:16, :32], -1.0, 0))
    content = bytearray(b"II*\0" + struct.pack("<Q", 0))
    link = 4
    for pixels, magnification, focus in pages:
        jpeg, starts = _jpeg(pixels)
        strip = len(content)
        content += jpeg
        height, width, _ = pixels.shape
        tags = [
            (256, _LONG, [width]),
            (257, _LONG, [height]),
            (258, _SHORT, [8, 8, 8]),
            (259, _SHORT, [7]),
            (262, _SHORT, [6]),
            (271, _ASCII, b"Hamamatsu\0"),
            (273, _LONG, [strip]),
            (277, _SHORT, [3]),
            (278, _LONG, [height]),
            (279, _LONG, [len(jpeg)]),
            (282, _RATIONAL, [40000, 1]),
            (283, _RATIONAL, [20000, 1]),
            (296, _SHORT, [3]),
            (65420, _LONG, [1]),
            (65421, _FLOAT, [magnification]),
            (65424, _SIGNED, [focus]),
            (65426, _LONG, starts),
        ]
        entries = bytearray()
        for tag, kind, values in tags:
            data = _packed(kind, values)
            if len(data) > 4:
                data, place = struct.pack("<I", len(content)), data
                content += place
            count = len(values) // (2 if kind == _RATIONAL else 1)
            entries += struct.pack("<HHI", tag, kind, count) + data.ljust(4, b"\0")
        content += b"\0" * (len(content) % 2)
        struct.pack_into("<Q", content, link, len(content))
        content += struct.pack("<H", len(tags)) + entries
        link = len(content)
        # The next page, and the high bits of each tag.
        content += struct.pack("<Q", 0) + b"\0\0\0\0" * len(tags)
    path.write_bytes(content)
    return path


def _jpeg(pixels: np.ndarray) -> tuple[bytes, list[int]]:
    """Return a JPEG, and where its restart intervals start."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95, subsampling=0, restart_marker_blocks=4)
    jpeg = stream.getvalue()
    scan = jpeg.index(b"\xff\xda")
    starts = [scan + 2 + int.from_bytes(jpeg[scan + 2 : scan + 4], "big")]
    starts += [
        at + 2
        for at in range(starts[0], len(jpeg) - 1)
        if jpeg[at] == 0xFF and 0xD0 <= jpeg[at + 1] <= 0xD7
    ]
    return jpeg, starts


def _packed(kind: int, values: bytes | list) -> bytes:
    if kind == _ASCII:
        return bytes(values)
    letter = {_SHORT: "H", _LONG: "I", _RATIONAL: "I", _FLOAT: "f", _SIGNED: "i"}[kind]
    return struct.pack(f"<{len(values)}{letter}", *values)
