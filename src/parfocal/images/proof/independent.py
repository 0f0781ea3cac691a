"""Read pixels by libraries that had no part in the conversion."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Readable, Region, Shape, region_shape
from parfocal.errors import InputError
from parfocal.images.image import Image
from parfocal.images.libraries import library
from parfocal.images.readers.tiff_axes import TiffLayout, interpret_axes
from parfocal.models.image import AXES

__all__ = ["OtherReader", "read_otherwise", "zarr_python_levels"]

_PLANE_BYTES = 64 * 2**20
_LOSSLESS = {1, 5, 8, 32773, 32946}  # none, LZW, deflate, PackBits, old deflate


@dataclass(frozen=True)
class OtherReader:
    """Pixels, the library that reads them, and whether it is another than the converter's."""

    pixels: Readable
    library: str
    independent: bool
    close: Callable[[], None]


class _ZarrPythonLevel:
    """An array read by zarr-python, in the axes (T, C, Z, Y, X)."""

    def __init__(self, array: Any, axes: str, path: Path) -> None:
        self._array = array
        self._axes = axes
        self._path = path
        sizes = dict(zip(axes, array.shape, strict=True))
        t, c, z, y, x = (int(sizes.get(axis, 1)) for axis in AXES)
        self.shape5: Shape = (t, c, z, y, x)
        self.dtype: np.dtype[Any] = np.dtype(array.dtype).newbyteorder("=")

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X).

        Raises
        ------
        InputError
            If a chunk is damaged.
        """
        kept = zip(AXES, region, strict=True)
        parts = tuple(part for axis, part in kept if axis in self._axes)
        try:
            pixels = self._array[parts]
        except (ValueError, RuntimeError, OSError) as error:
            what = "A chunk of the OME-Zarr cannot be read"
            raise InputError(what, where=self._path, found=error) from error
        return np.asarray(pixels, self.dtype).reshape(region_shape(region))


def zarr_python_levels(
    path: Path, datasets: list[str], axes: str, threads: int
) -> tuple[Readable, ...]:
    """Open the levels of an OME-Zarr by zarr-python.

    Parameters
    ----------
    path : Path
        The image.
    datasets : list of str
        The paths of its levels, the full resolution first.
    axes : str
        Its axes.
    threads : int
        How many chunks are decoded at once.

    Raises
    ------
    InputError
        If a level cannot be opened or has not these axes.
    """
    import zarr

    zarr.config.set({"async.concurrency": max(1, threads), "threading.max_workers": threads})
    levels = []
    for name in datasets:
        try:
            array = zarr.open_array(path / name, mode="r")
        except (ValueError, OSError, KeyError, TypeError) as error:
            what = "A level of the OME-Zarr cannot be opened"
            raise InputError(what, where=path / name, found=error) from error
        if len(array.shape) != len(axes):
            what = "A level of the OME-Zarr has not as many dimensions as axes"
            raise InputError(what, where=path / name, expected=axes, found=array.shape)
        levels.append(_ZarrPythonLevel(array, axes, path / name))
    return tuple(levels)


class _PillowPages:
    """Planes of a TIFF or PNG read by Pillow, in the axes (T, C, Z, Y, X)."""

    def __init__(
        self, layout: TiffLayout, dtype: np.dtype[Any], pages: list[tuple[Path, int]]
    ) -> None:
        self.shape5: Shape = layout.shape5
        self.dtype = dtype
        self._layout = layout
        self._pages = pages
        self._samples = layout.size("S")
        self._open: dict[Path, Any] = {}
        self._lock = threading.Lock()
        self._latest: tuple[int, NDArray[Any]] | None = None

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X).

        Raises
        ------
        InputError
            If Pillow cannot read a page.
        """
        ts, cs, zs, ys, xs = region
        out = np.empty(region_shape(region), self.dtype)
        for c in range(cs.start, cs.stop):
            for t in range(ts.start, ts.stop):
                for z in range(zs.start, zs.stop):
                    number = self._layout.plane(t, c // self._samples, z)
                    plane = self._plane(number)
                    out[t - ts.start, c - cs.start, z - zs.start] = plane[ys, xs, c % self._samples]
        return out

    def _plane(self, number: int) -> NDArray[Any]:
        """Return a plane (Y, X, samples), kept for the next call."""
        with self._lock:
            if self._latest is None or self._latest[0] != number:
                self._latest = (number, self._load(*self._pages[number]))
            return self._latest[1]

    def _load(self, path: Path, index: int) -> NDArray[Any]:
        from PIL import Image as PillowImage

        try:
            if path not in self._open:
                self._open[path] = PillowImage.open(path)
            image = self._open[path]
            image.seek(index)
            pixels = np.asarray(image)
        except (OSError, ValueError, EOFError, SyntaxError) as error:
            what = "Pillow cannot read a page"
            raise InputError(what, where=f"{path}, page {index}", found=error) from error
        return pixels.astype(self.dtype, casting="equiv").reshape(*pixels.shape[:2], -1)

    def fits(self) -> bool:
        """Tell whether Pillow gives pixels of the right size and type for the first plane."""
        try:
            plane = self._plane(0)
            frames = {path: self._open_frames(path) for path in {path for path, _ in self._pages}}
        except (InputError, TypeError):
            return False
        expected = (*self.shape5[3:], self._samples)
        return plane.shape == expected and all(i < frames[path] for path, i in self._pages)

    def _open_frames(self, path: Path) -> int:
        from PIL import Image as PillowImage

        if path not in self._open:
            self._open[path] = PillowImage.open(path)
        return int(getattr(self._open[path], "n_frames", 1))

    def close(self) -> None:
        """Close the files."""
        for image in self._open.values():
            image.close()


def read_otherwise(
    path: Path, series: str, axes: str | None, image: Image, threads: int
) -> OtherReader:
    """Read a source by another library than the one that converts it, where one can.

    Pillow reads TIFF of 8 or 16 bits without sign, float32, and 8-bit RGB, uncompressed or
    with lossless compression, and PNG of 8 bits; zarr-python reads OME-Zarr. JPEG is left
    out, as decoders differ in rounding. Which page is which plane comes from the metadata
    as the converter read them.

    Parameters
    ----------
    path : Path
        The source.
    series : str
        Which image of it.
    axes : str or None
        The axes that the user stated.
    image : Image
        The source as the converter opens it, which is used where nothing else fits.
    threads : int
        How many chunks are decoded at once.

    Raises
    ------
    InputError
        If the source cannot be read.
    """
    if path.is_dir():
        return _zarr_otherwise(path, series, threads)
    pages: _PillowPages | None
    if image.reader.startswith("tifffile"):
        pages = _pillow_tiff(path, series, axes, image)
    else:
        pages = _pillow_png(path, image)
    if pages is not None:
        if pages.fits():
            return OtherReader(pages, library("pillow", "Pillow"), True, pages.close)
        pages.close()
    return OtherReader(image, image.reader, False, _nothing)


def _nothing() -> None:
    """Close nothing."""


def _zarr_otherwise(path: Path, series: str, threads: int) -> OtherReader:
    from parfocal.images.ngff import read_axes
    from parfocal.images.readers.ome_zarr import read_attributes

    where = path / series if series else path
    multiscale = read_attributes(where)["ome"]["multiscales"][0]
    axes, _ = read_axes(multiscale, where)
    first = str(multiscale["datasets"][0]["path"])
    level = zarr_python_levels(where, [first], axes, threads)[0]
    return OtherReader(level, library("zarr", "zarr-python"), True, _nothing)


def _pillow_tiff(path: Path, series: str, axes: str | None, image: Image) -> _PillowPages | None:
    from parfocal.images.readers.tiff import TiffSource

    with TiffSource(path) as opened:
        found = opened.series[opened.choose(series)]
        keyframe = found.keyframe
        layout = interpret_axes(
            found.get_axes(squeeze=False), found.get_shape(squeeze=False), axes, path, []
        )
        samples = layout.size("S")
        t, c, z, y, x = layout.shape5
        turned = keyframe.tags.get("Orientation")  # Pillow turns such pixels
        simple = (
            (turned is None or turned.value not in range(2, 9))
            and keyframe.compression in _LOSSLESS
            and keyframe.photometric in (1, 2, 3)
            and keyframe.planarconfig == 1
            and keyframe.bitspersample == image.dtype.itemsize * 8
            and keyframe.predictor in (1, 2)
            and samples in (1, 3)
            and image.dtype.name in (("uint8", "uint16", "float32") if samples == 1 else ("uint8",))
            and t * c * z == len(found.pages) * samples
            and y * x * samples * image.dtype.itemsize <= _PLANE_BYTES
        )
        if not simple or any(isinstance(page.index, tuple) for page in found.pages):
            return None
        pages = [(Path(page.parent.filehandle.path), int(page.index)) for page in found.pages]
    return _PillowPages(layout, image.dtype, pages)


def _pillow_png(path: Path, image: Image) -> _PillowPages | None:
    _, c, _, y, x = image.shape5
    if not image.reader.startswith("imagecodecs") or image.warnings or image.dtype != np.uint8:
        return None
    if y * x * c > _PLANE_BYTES:
        return None
    return _PillowPages(TiffLayout("YXS", (y, x, c)), image.dtype, [(path, 0)])
