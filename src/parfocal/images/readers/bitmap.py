"""Open PNG and JPEG, which hold one plane and are decoded whole."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Region, Shape
from parfocal.errors import InputError
from parfocal.images.image import Image
from parfocal.images.libraries import library
from parfocal.images.readers.source import Source
from parfocal.models.image import Channel, ImageMetadata

__all__ = ["open_source"]

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_NAMES = {1: (None,), 2: (None, "Alpha"), 3: ("Red", "Green", "Blue")}
_EXIF, _ORIENTATION = b"Exif\0\0", 274
_LONGEST_SEGMENT = 1 << 16
_PALETTE = 3  # the colour type of a PNG
_COLORS = {"Red": "FF0000", "Green": "00FF00", "Blue": "0000FF"}


class _Plane:
    """Pixels (1, C, 1, Y, X) in memory."""

    def __init__(self, pixels: NDArray[Any]) -> None:
        self._pixels = pixels
        c, y, x = pixels.shape
        self.shape5: Shape = (1, c, 1, y, x)
        self.dtype = pixels.dtype

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X)."""
        _, c, _, y, x = region
        return np.ascontiguousarray(self._pixels[c, y, x])[np.newaxis, :, np.newaxis]


class BitmapSource(Source):
    """A PNG or JPEG file; its one image is decoded when it is asked for."""

    def image(self, place: int) -> Image:  # noqa: ARG002
        """Return the image, in memory."""
        import imagecodecs

        path = self.path
        decoders: dict[str, Callable[[bytes], NDArray[Any]]] = {
            "png": imagecodecs.png_decode,
            "jpeg": imagecodecs.jpeg8_decode,
        }
        try:
            content = path.read_bytes()
            kind = _kind(content, path)
            pixels = decoders[kind](content)
        except (RuntimeError, ValueError, TypeError) as error:
            what = f"The {path.suffix[1:].upper()} image cannot be decoded"
            remedy = "The file is truncated or damaged: copy, download or save it again."
            raise InputError(what, where=path, found=error, remedy=remedy) from error
        planes = np.moveaxis(np.atleast_3d(pixels), -1, 0)
        count, y, x = planes.shape
        inks = kind == "jpeg" and count == 4
        names = (None,) * 4 if inks else _NAMES.get(count, ("Red", "Green", "Blue", "Alpha"))
        plain = count == 1
        told = (
            _png_warnings(content, path.name)
            if kind == "png"
            else _jpeg_warnings(content, path.name)
        )
        if inks:
            told.append(
                f"{path.name} is in inks (CMYK): these are kept as channels as they are stored"
            )
        metadata = ImageMetadata(
            name=path.name,
            axes="YX" if plain else "CYX",
            shape=(y, x) if plain else (count, y, x),
            dtype=planes.dtype.name,
            channels=()
            if plain
            else tuple(Channel(name=n, color=_COLORS.get(n or "")) for n in names),
            rgb=count == 3,
        )
        return Image(
            metadata=metadata,
            pyramid=(_Plane(planes),),
            block5=(1, count, 1, y, x),
            reader=library("imagecodecs"),
            warnings=tuple(told),
            lossy=kind == "jpeg",
            plane_file=lambda _t, _c, _z: (path, 0),
        )


def _kind(content: bytes, path: Path) -> str:
    for kind, sign in (("png", _PNG), ("jpeg", _JPEG)):
        if content.startswith(sign):
            return kind
    what = f"The file is no {path.suffix[1:].upper()} image, whatever its name"
    remedy = "Copy, download or save it again, or rename it."
    found = f"a file that starts with {content[: len(_PNG)]!r}"
    raise InputError(what, where=path, expected="PNG or JPEG", found=found, remedy=remedy)


def _jpeg_warnings(content: bytes, name: str) -> list[str]:
    """Return what is to be known about the pixels of a JPEG."""
    warn = [f"{name} is a JPEG: its pixels were changed by lossy compression"]
    turned = _orientation(content)
    if turned in range(2, 9):
        how = f"turned or mirrored (Orientation {turned})"
        warn.append(f"{name} is to be shown {how}: pixels are kept as they are stored")
    return warn


def _orientation(content: bytes) -> int | None:
    """Return how the Exif metadata of a JPEG say that it is to be shown, if they do.

    Source: CIPA DC-008 (Exif 2.3), 4.5.4 and 4.6.4.
    """
    start = content.find(_EXIF, 0, _LONGEST_SEGMENT) + len(_EXIF)
    order = {b"II": "<", b"MM": ">"}.get(content[start : start + 2])
    if start < len(_EXIF) or order is None:
        return None
    try:
        (first,) = struct.unpack_from(f"{order}I", content, start + 4)
        (count,) = struct.unpack_from(f"{order}H", content, start + first)
        for number in range(count):
            at = start + first + 2 + 12 * number
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", content, at)
            if tag == _ORIENTATION:
                return int(value)
    except struct.error:
        pass  # the pixels could be decoded; only these metadata are damaged
    return None


def _png_warnings(content: bytes, name: str) -> list[str]:
    """Return what decoding changes or leaves out of a PNG that could be decoded.

    Source: W3C, Portable Network Graphics, 11.2.1 (IHDR) and 11.3.4 (acTL).
    """
    warn = []
    bits, color_type = content[24], content[25]
    if color_type == _PALETTE:
        warn.append(f"{name} has a palette: pixels are the colours, not their numbers")
    elif bits < 8:
        factor = 255 // (2**bits - 1)
        warn.append(f"{name} is a {bits}-bit PNG: its values are read multiplied by {factor}")
    offset = 8
    while content[offset + 4 : offset + 8] != b"IDAT":
        if content[offset + 4 : offset + 8] == b"acTL":
            (frames,) = struct.unpack_from(">I", content, offset + 8)
            warn.append(f"{name} is animated: only the first of {frames} pictures is read")
        offset += 12 + int.from_bytes(content[offset : offset + 4], "big")
    return warn


open_source = BitmapSource
