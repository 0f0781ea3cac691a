"""Open PNG and JPEG, which hold one plane and are decoded whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Region, Shape
from parfocal.errors import InputError
from parfocal.images.image import Image
from parfocal.images.libraries import library
from parfocal.models.image import Channel, ImageMetadata

__all__ = ["open_bitmap"]

_NAMES = {1: (None,), 2: (None, "Alpha"), 3: ("Red", "Green", "Blue")}
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


def open_bitmap(path: Path, kind: str) -> Image:
    """Open a PNG or JPEG file.

    Parameters
    ----------
    path : Path
        The file.
    kind : {"png", "jpeg"}
        Its format.

    Raises
    ------
    InputError
        If it is damaged.
    """
    import imagecodecs

    decoders: dict[str, Callable[[bytes], NDArray[Any]]] = {
        "png": imagecodecs.png_decode,
        "jpeg": imagecodecs.jpeg8_decode,
    }
    try:
        pixels = decoders[kind](path.read_bytes())
    except (RuntimeError, ValueError, TypeError) as error:
        what = f"The {kind.upper()} cannot be decoded"
        remedy = "The file is truncated or damaged: copy, download or save it again."
        raise InputError(what, where=path, found=error, remedy=remedy) from error
    planes = np.moveaxis(np.atleast_3d(pixels), -1, 0)
    count, y, x = planes.shape
    names = _NAMES.get(count, ("Red", "Green", "Blue", "Alpha"))
    plain = count == 1
    lossy = f"{path.name} is a JPEG: its pixels were changed by lossy compression"
    metadata = ImageMetadata(
        name=path.name,
        axes="YX" if plain else "CYX",
        shape=(y, x) if plain else (count, y, x),
        dtype=planes.dtype.name,
        channels=() if plain else tuple(Channel(name=n, color=_COLORS.get(n or "")) for n in names),
        rgb=count == 3,
    )
    return Image(
        metadata=metadata,
        pyramid=(_Plane(planes),),
        block5=(1, count, 1, y, x),
        reader=library("imagecodecs"),
        warnings=(lossy,) if kind == "jpeg" else (),
    )
