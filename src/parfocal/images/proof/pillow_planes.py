"""Read planes that Pillow decodes whole: PNG, JPEG, and TIFF of further compressions."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Region, Shape, region_shape
from parfocal.errors import InputError
from parfocal.images.proof.tiff_planes import PlaneFile

__all__ = ["PillowPlanes"]

_PLANE_BYTES = 64 * 2**20
_MODES = ("L", "RGB", "I;16", "I;16B", "F")
_COMPRESSION, _PHOTOMETRIC, _ORIENTATION, _PLANAR = 259, 262, 274, 284
_LZW, _JPEG, _PACK_BITS = 5, 7, 32773
_AS_STORED = (1, 2)  # black is zero, RGB
_YCBCR = 6
_KINDS = ("PNG", "JPEG", "TIFF")


class PillowPlanes:
    """Planes that Pillow decodes, in the axes (T, C, Z, Y, X).

    Parameters
    ----------
    plane_file : callable
        In which file, and on which page of it, a plane lies.
    shape : tuple of int
        Size along T, C, Z, Y, X.
    dtype : numpy.dtype
        The data type that is expected.

    Raises
    ------
    InputError
        If the first plane is not such that Pillow gives the pixels as they are stored.
    """

    def __init__(self, plane_file: PlaneFile, shape: Shape, dtype: np.dtype[Any]) -> None:
        self._plane_file = plane_file
        self._opened: list[Any] = []
        self._lock = threading.Lock()
        self._local = threading.local()
        if shape[3] * shape[4] * dtype.itemsize > _PLANE_BYTES:
            what = "The planes are too large for Pillow, which decodes them whole"
            raise InputError(what, expected=f"{_PLANE_BYTES} bytes", found=shape[3:])
        try:
            first = self._plane(*plane_file(0, 0, 0))
        except InputError:
            self.close()
            raise
        self._samples = first.shape[2]
        self.shape5: Shape = (*shape[:3], *first.shape[:2])
        self.dtype: np.dtype[Any] = first.dtype

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X).

        Raises
        ------
        InputError
            If Pillow cannot read a plane, or it is not like the first.
        """
        ts, cs, zs, ys, xs = region
        out = np.empty(region_shape(region), self.dtype)
        for t in range(ts.start, ts.stop):
            for z in range(zs.start, zs.stop):
                for c in range(cs.start, cs.stop):
                    place = self._plane_file(t, c, z)
                    plane = self._plane(*place)
                    alike = (*self.shape5[3:], self._samples)
                    if plane.shape != alike or plane.dtype != self.dtype:
                        what = "Pillow finds a plane that is not like the first"
                        found = f"{plane.shape} {plane.dtype}"
                        expected = f"{alike} {self.dtype}"
                        raise InputError(what, where=place, expected=expected, found=found)
                    pixels = plane[ys, xs, c % self._samples]
                    out[t - ts.start, c - cs.start, z - zs.start] = pixels
        return out

    def _plane(self, path: Path, page: int) -> NDArray[Any]:
        """Return a plane (Y, X, samples), kept for the next call of the same thread."""
        if getattr(self._local, "place", None) != (path, page):
            self._local.pixels = self._load(path, page)
            self._local.place = (path, page)
        pixels: NDArray[Any] = self._local.pixels
        return pixels

    def _load(self, path: Path, page: int) -> NDArray[Any]:
        try:
            image = self._open(path)
            image.seek(page)
            _check(image, path)
            pixels = np.asarray(image)
        except (OSError, ValueError, EOFError, SyntaxError, TypeError, KeyError) as error:
            what = "Pillow cannot read a plane"
            raise InputError(what, where=f"{path}, page {page}", found=error) from error
        native = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        return native.reshape(*native.shape[:2], -1)

    def _open(self, path: Path) -> Any:
        """Open a file for this thread, which keeps the latest open."""
        from PIL import Image

        if getattr(self._local, "path", None) != path:
            if hasattr(self._local, "image"):
                self._local.image.close()
            self._local.image = Image.open(path, formats=_KINDS)
            self._local.path = path
            with self._lock:
                self._opened.append(self._local.image)
        return self._local.image

    def close(self) -> None:
        """Close the files."""
        for image in self._opened:
            image.close()


def _check(image: Any, path: Path) -> None:
    """Refuse an image of which Pillow gives other values than are stored."""
    found = f"{image.format} of mode {image.mode}"
    stored = image.mode in _MODES
    if image.format == "TIFF":
        tags = image.tag_v2
        compression = tags.get(_COMPRESSION, 1)
        photometric = tags.get(_PHOTOMETRIC)
        found += f", compression {compression}, photometric {photometric}"
        colors = photometric in _AS_STORED or (compression == _JPEG and photometric == _YCBCR)
        stored = stored and colors and compression in (_LZW, _JPEG, _PACK_BITS)
        stored = stored and tags.get(_ORIENTATION, 1) == 1 and tags.get(_PLANAR, 1) == 1
    if not stored:
        what = "Pillow does not give the values as they are stored"
        raise InputError(what, where=path, found=found)
