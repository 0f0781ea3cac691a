"""Read regions of a TIFF series: only the strips and tiles that they need."""

from __future__ import annotations

import struct
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Region, Shape, region_shape
from parfocal.errors import InputError
from parfocal.images.rawfile import RawFile
from parfocal.images.readers.tiff.axes import TiffLayout

__all__ = ["DAMAGE", "ContiguousPixels", "PagePixels", "TiffPixels"]

DAMAGE = (
    ValueError,
    RuntimeError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    ZeroDivisionError,
    AssertionError,
    EOFError,
    struct.error,
)
"""What tifffile and imagecodecs raise when a file is damaged or of an unknown kind."""

_ENCODING = ("compression", "predictor", "fillorder", "bitspersample")
_DAMAGED = "The file is damaged: copy, download or save it again."
_CACHE_BYTES = 32 * 2**20


class TiffPixels(ABC):
    """The pixels of one TIFF series; regions are put together from planes.

    Parameters
    ----------
    layout : TiffLayout
        The axes of the series.
    dtype : numpy.dtype
        The data type, in native byte order.
    """

    def __init__(self, layout: TiffLayout, dtype: np.dtype[Any]) -> None:
        self.layout = layout
        self.shape5: Shape = layout.shape5
        self.dtype = dtype
        self._samples = layout.size("S")

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X).

        Raises
        ------
        InputError
            If the file is damaged there.
        """
        ts, cs, zs, ys, xs = region
        out = np.empty(region_shape(region), self.dtype)
        for c in range(cs.start // self._samples, -(-cs.stop // self._samples)):
            first = c * self._samples
            samples = range(max(cs.start, first) - first, min(cs.stop - first, self._samples))
            place = slice(first + samples.start - cs.start, first + samples.stop - cs.start)
            for t in range(ts.start, ts.stop):
                for z in range(zs.start, zs.stop):
                    target = out[t - ts.start, place, z - zs.start]
                    self._read_plane((t, c, z), samples, (ys, xs), target)
        return out

    @abstractmethod
    def _read_plane(
        self,
        index: tuple[int, int, int],
        samples: range,
        window: tuple[slice, slice],
        out: NDArray[Any],
    ) -> None:
        """Fill `out` (samples, Y, X) with a window of the plane `index` (T, C, Z)."""


class ContiguousPixels(TiffPixels):
    """Pixels that lie uncompressed in one piece, as one array with the axes of the layout."""

    def __init__(
        self, layout: TiffLayout, dtype: np.dtype[Any], file: RawFile, offset: int
    ) -> None:
        super().__init__(layout, dtype.newbyteorder("="))
        self._stored = dtype
        self._file = file
        self._offset = offset
        self._strides = layout.strides()

    @property
    def packed(self) -> int:
        """How many samples of a pixel lie side by side."""
        return self._strides["X"]

    def _read_plane(
        self,
        index: tuple[int, int, int],
        samples: range,
        window: tuple[slice, slice],
        out: NDArray[Any],
    ) -> None:
        base = sum(i * self._strides.get(axis, 0) for axis, i in zip("TCZ", index, strict=True))
        if self.packed == 1:
            for number, sample in enumerate(samples):
                start = base + sample * self._strides.get("S", 0)
                self._read_rows(start, window, out[number][..., np.newaxis])
            return
        pixels = np.empty((*out.shape[1:], self.packed), self.dtype)
        self._read_rows(base, window, pixels)
        out[...] = np.moveaxis(pixels[..., samples.start : samples.stop], -1, 0)

    def _read_rows(self, start: int, window: tuple[slice, slice], out: NDArray[Any]) -> None:
        """Fill `out` (Y, X, samples side by side), whose rows are contiguous."""
        ys, xs = window
        stride = self._strides["Y"]
        size = self.dtype.itemsize
        first = start + ys.start * stride + xs.start * self.packed
        if out.shape[1] * self.packed == stride and out.flags.c_contiguous:
            self._file.read_into(out, self._offset + first * size)
        else:
            for y, row in enumerate(out):
                self._file.read_into(row, self._offset + (first + y * stride) * size)
        if not self._stored.isnative:
            out.byteswap(inplace=True)


class PagePixels(TiffPixels):
    """Pixels in the strips or tiles of pages, which are decoded one by one.

    Parameters
    ----------
    layout : TiffLayout
        The axes of the series.
    pages : list
        Pages of tifffile, in the order of the planes.
    files : list of RawFile
        For each page the file in which it lies.
    """

    def __init__(
        self, layout: TiffLayout, dtype: np.dtype[Any], pages: list[Any], files: list[RawFile]
    ) -> None:
        super().__init__(layout, dtype)
        self._pages = pages
        self._files = files
        keyframe = pages[0].keyframe
        self._planar, self._depth, self._height, self._width, self._contig = keyframe.shaped
        self._is_bit = dtype == np.uint8 and keyframe.dtype == np.bool_
        self._cache: OrderedDict[tuple[int, int], NDArray[Any]] = OrderedDict()
        self._cached_bytes = 0
        self._checked: set[int] = set()
        self._lock = threading.Lock()

    @property
    def block5(self) -> Shape:
        """Sizes (T, C, Z, Y, X) of what is decoded at once."""
        _, height, width = self._segment_size(0)
        return 1, self._contig, 1, min(height, self._height), min(width, self._width)

    def _read_plane(
        self,
        index: tuple[int, int, int],
        samples: range,
        window: tuple[slice, slice],
        out: NDArray[Any],
    ) -> None:
        page, d = divmod(self.layout.plane(*index), self._depth)
        for number, sample in enumerate(samples):
            planar, contig = (sample, 0) if self._planar > 1 else (0, sample)
            for segment, (d0, y0, x0) in self._touched(page, planar, d, window):
                decoded = self._decoded(page, segment)
                self._place(decoded[d - d0, :, :, contig], (y0, x0), window, out[number])

    def _segment_size(self, page: int) -> tuple[int, int, int]:
        """Return the size (Z, Y, X) of the strips or tiles of a page; files of a set differ."""
        keyframe = self._pages[page].keyframe
        if keyframe.is_tiled:
            return keyframe.tiledepth, keyframe.tilelength, keyframe.tilewidth
        return 1, min(keyframe.rowsperstrip, self._height), self._width

    def _touched(
        self, page: int, planar: int, d: int, window: tuple[slice, slice]
    ) -> list[tuple[int, tuple[int, int, int]]]:
        """List the segments that a window needs: number, and place (Z, Y, X) of the first pixel."""
        ys, xs = window
        depth, height, width = self._segment_size(page)
        down, across = -(-self._height // height), -(-self._width // width)
        deep = -(-self._depth // depth)
        first = (planar * deep + d // depth) * down
        return [
            ((first + i) * across + j, (d - d % depth, i * height, j * width))
            for i in range(ys.start // height, -(-ys.stop // height))
            for j in range(xs.start // width, -(-xs.stop // width))
        ]

    @staticmethod
    def _place(
        pixels: NDArray[Any],
        corner: tuple[int, int],
        window: tuple[slice, slice],
        out: NDArray[Any],
    ) -> None:
        """Copy the part of a segment that lies in the window."""
        source, target = [], []
        for start, size, part in zip(corner, pixels.shape, window, strict=True):
            low, high = max(start, part.start), min(start + size, part.stop)
            source.append(slice(low - start, high - start))
            target.append(slice(low - part.start, high - part.start))
        out[tuple(target)] = pixels[tuple(source)]

    def _decoded(self, page: int, segment: int) -> NDArray[Any]:
        """Return a segment (Z, Y, X, samples) from the cache of the latest, or decode it."""
        key = (page, segment)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
            self._check_page(page)
        pixels = self._decode(page, segment)
        with self._lock:
            if key not in self._cache:
                self._cache[key] = pixels
                self._cached_bytes += pixels.nbytes
            while self._cached_bytes > _CACHE_BYTES:
                self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return pixels

    def _check_page(self, number: int) -> None:
        """Refuse a page that is not encoded as its keyframe, by which tifffile decodes it."""
        page = self._pages[number]
        if number in self._checked or page is page.keyframe or page.is_virtual:
            return
        handle = page.parent.filehandle
        closed = handle.closed  # tifffile closes the other files of a set
        if closed:
            handle.open()
        where = f"{self._files[number].path}, page {page.index}"
        try:
            pages = (page.aspage(), page.keyframe)
            found, expected = (
                {name: int(getattr(each, name)) for name in _ENCODING} for each in pages
            )
        except DAMAGE as error:
            what = "A page of the TIFF is damaged"
            raise InputError(what, where=where, found=error, remedy=_DAMAGED) from error
        finally:
            if closed:
                handle.close()
        if found != expected:
            what = "A page of the TIFF is encoded differently from the first one"
            remedy = "Save the image again with one compression for all pages."
            raise InputError(what, where=where, expected=expected, found=found, remedy=remedy)
        self._checked.add(number)

    def _decode(self, number: int, segment: int) -> NDArray[Any]:
        page, file = self._pages[number], self._files[number]
        keyframe = page.keyframe
        where = f"{file.path}, page {page.index}, segment {segment}"
        try:
            offset, count = page.dataoffsets[segment], page.databytecounts[segment]
            data = file.read_bytes(offset, count) if count else None
            tables = {}
            if keyframe.compression in _JPEG:
                tables = {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader}
            pixels, _, shape = keyframe.decode(data, segment, **tables)
        except DAMAGE as error:
            what = "A part of the TIFF cannot be decoded"
            remedy = "The file is damaged or uses an unusual compression: save it again."
            raise InputError(
                what, where=where, expected=keyframe.compression, found=error, remedy=remedy
            ) from error
        if pixels is None:  # a sparse file leaves out what is empty
            return np.full(shape, keyframe.nodata, self.dtype)
        return np.asarray(pixels, self.dtype) if self._is_bit else self._native(pixels, where)

    def _native(self, pixels: NDArray[Any], where: str) -> NDArray[Any]:
        native = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        if native.dtype != self.dtype:
            what = "A part of the TIFF decodes to another data type"
            raise InputError(what, where=where, expected=self.dtype, found=native.dtype)
        return native


_JPEG = {6, 7, 34892, 33007}
