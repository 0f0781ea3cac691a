"""Read planes that are pages of TIFF files: Pillow finds the pixels, zlib decodes them.

This has nothing in common with tifffile and imagecodecs, by which TIFFs are converted. Only
the parts of a page that a region needs are read, so that planes may be of any size.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Region, Shape, region_shape
from parfocal.errors import InputError
from parfocal.images.proof.tiff_directory import TiffDirectories, TiffPage
from parfocal.images.rawfile import RawFile

__all__ = ["PlaneFile", "TiffPlanes", "find_pages", "refuse_unused_pages"]

PlaneFile = Callable[[int, int, int], tuple[Path, int]]
Pages = Mapping[tuple[int, int, int], TiffPage]

_PLAIN, _DEFLATE, _ZSTD = (1,), (8, 32946), (50000,)
_PART_BYTES = 32 * 2**20


def find_pages(plane_file: PlaneFile, shape: Shape) -> dict[tuple[int, int, int], TiffPage]:
    """Find the page of each plane (T, C, Z).

    Raises
    ------
    InputError
        If Pillow cannot parse a file.
    """
    pages: dict[tuple[int, int, int], TiffPage] = {}
    places = {
        (t, c, z): plane_file(t, c, z)
        for t in range(shape[0])
        for c in range(shape[1])
        for z in range(shape[2])
    }
    by_file: dict[Path, list[tuple[int, int, int]]] = {}
    for key, (path, _) in places.items():
        by_file.setdefault(path, []).append(key)
    for path, keys in by_file.items():
        with TiffDirectories(path) as directories:
            known: dict[int, TiffPage] = {}
            for key in keys:
                number = places[key][1]
                if number not in known:
                    known[number] = directories.page(number)
                pages[key] = known[number]
    return pages


def refuse_unused_pages(pages: Pages, planes: int) -> None:
    """Refuse files with more pages like these than all images of the source have planes.

    A reader that overlooks time points or scenes would otherwise pass.

    Parameters
    ----------
    pages : mapping
        The page of each plane of one image.
    planes : int
        How many planes of that size all images of the source have.

    Raises
    ------
    InputError
        If there are more pages.
    """
    first = pages[0, 0, 0]
    count = 0
    for path in {page.path for page in pages.values()}:
        with TiffDirectories(path) as directories:
            count += directories.count_like(first)
    if count * first.samples > planes:
        what = "Pages of the TIFF are in none of its images"
        expected = f"{planes // first.samples} pages"
        raise InputError(what, where=first.path, expected=expected, found=f"{count} pages")


class TiffPlanes:
    """Planes that are pages, in the axes (T, C, Z, Y, X).

    Parameters
    ----------
    pages : mapping
        The page of each plane (T, C, Z); the samples of a page are channels side by side.
    shape : tuple of int
        Size along T, C, Z, Y, X.

    Raises
    ------
    InputError
        If the pages are not all of the same kind, or of one that cannot be decoded here.
    """

    def __init__(self, pages: Pages, shape: Shape) -> None:
        first = pages[0, 0, 0]
        t, c, z, _, _ = shape
        self.shape5: Shape = (t, c, z, first.height, first.width)
        self.dtype: np.dtype[Any] = first.dtype.newbyteorder("=")
        self._pages = pages
        self._samples = first.samples
        self._latest = threading.local()
        for page in set(pages.values()):
            if page.form != first.form:
                what = "The pages of the planes differ"
                raise InputError(what, where=page.path, expected=first.form, found=page.form)
            _check(page)

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X).

        Raises
        ------
        InputError
            If a part is damaged.
        """
        ts, cs, zs, ys, xs = region
        out = np.empty(region_shape(region), self.dtype)
        for first, samples in self._groups(cs):
            at = slice(first - cs.start, first - cs.start + len(samples))
            for t in range(ts.start, ts.stop):
                for z in range(zs.start, zs.stop):
                    page = self._pages[t, first, z]
                    self._read_page(page, samples, (ys, xs), out[t - ts.start, at, z - zs.start])
        return out

    def _groups(self, channels: slice) -> Iterator[tuple[int, range]]:
        """Divide channels into those of one page: the first channel, and its samples."""
        start = channels.start
        while start < channels.stop:
            sample = start % self._samples
            count = min(self._samples - sample, channels.stop - start)
            yield start, range(sample, sample + count)
            start += count

    def _read_page(
        self, page: TiffPage, samples: range, window: tuple[slice, slice], out: NDArray[Any]
    ) -> None:
        """Fill `out` (samples, Y, X) with a window of a page."""
        file = RawFile(page.path)
        try:
            planes = samples if page.planar else [None]
            for number, plane in enumerate(planes):
                targets = out[number : number + 1] if page.planar else out
                side = slice(0, 1) if page.planar else slice(samples.start, samples.stop)
                self._read_parts(file, page, plane or 0, window, (side, targets))
        finally:
            file.close()

    def _read_parts(
        self,
        file: RawFile,
        page: TiffPage,
        plane: int,
        window: tuple[slice, slice],
        into: tuple[slice, NDArray[Any]],
    ) -> None:
        ys, xs = window
        side, targets = into
        down, across = -(-page.height // page.part_height), -(-page.width // page.part_width)
        for i in range(ys.start // page.part_height, -(-ys.stop // page.part_height)):
            for j in range(xs.start // page.part_width, -(-xs.stop // page.part_width)):
                number = (plane * down + i) * across + j
                top, left = i * page.part_height, j * page.part_width
                rows = slice(max(top, ys.start), min(top + page.part_height, ys.stop))
                columns = slice(max(left, xs.start), min(left + page.part_width, xs.stop))
                inside = slice(rows.start - top, rows.stop - top)
                if _is_plain_rows(page, window):
                    _read_rows(file, page, number, inside, targets[0, rows.start - ys.start :])
                    continue
                part = self._part(file, page, number, (i, inside))
                pixels = part[:, columns.start - left : columns.stop - left, side]
                targets[
                    :,
                    rows.start - ys.start : rows.stop - ys.start,
                    columns.start - xs.start : columns.stop - xs.start,
                ] = np.moveaxis(pixels, -1, 0)

    def _part(
        self, file: RawFile, page: TiffPage, number: int, rows: tuple[int, slice]
    ) -> NDArray[Any]:
        """Return rows of a strip or tile as (Y, X, samples)."""
        i, inside = rows
        height = page.part_height
        if not page.tiled:
            height = min(height, page.height - i * page.part_height)
        samples = 1 if page.planar else page.samples
        shape = (height, page.part_width, samples)
        try:
            offset, count = page.offsets[number], page.counts[number]
            if page.compression in _PLAIN:
                pixels = np.empty((inside.stop - inside.start, *shape[1:]), page.dtype)
                _read_rows(file, page, number, inside, pixels)
                return pixels
            key = (page.path, offset)
            if getattr(self._latest, "key", None) != key:
                self._latest.part = _decode(page, file.read_bytes(offset, count), shape)
                self._latest.key = key
            return np.asarray(self._latest.part[inside])
        except (zlib.error, ValueError, IndexError, RuntimeError) as error:
            what = "A part of the TIFF cannot be decoded by zlib"
            raise InputError(what, where=f"{page.path}, part {number}", found=error) from error


def _check(page: TiffPage) -> None:
    """Refuse a page that is encoded in a way that cannot be decoded here."""
    known = page.compression in (*_PLAIN, *_DEFLATE, *_ZSTD) and page.predictor in (1, 2, 3)
    down, across = -(-page.height // page.part_height), -(-page.width // page.part_width)
    parts = down * across * (page.samples if page.planar else 1)
    size = page.part_height * page.part_width * page.samples * page.dtype.itemsize
    stored = len(page.offsets) == len(page.counts) == parts and all(page.counts)
    bounded = size <= _PART_BYTES or page.compression in _PLAIN
    if not (known and stored and bounded):
        what = "The pages are not plain, deflate or zstd in parts of moderate size"
        found = (
            f"compression {page.compression}, predictor {page.predictor}, {size} bytes a part, "
            f"{len(page.offsets)} of {parts} parts"
        )
        raise InputError(what, where=page.path, found=found)


def _is_plain_rows(page: TiffPage, window: tuple[slice, slice]) -> bool:
    """Tell whether rows of a window lie in the file as they lie in memory."""
    whole = window[1] == slice(0, page.width) and page.part_width == page.width
    single = page.samples == 1 or page.planar
    return whole and single and page.compression in _PLAIN and page.dtype.isnative


def _read_rows(file: RawFile, page: TiffPage, number: int, rows: slice, into: NDArray[Any]) -> None:
    """Read rows of a part that is not compressed into the first rows of `into`."""
    row = page.part_width * page.dtype.itemsize * (1 if page.planar else page.samples)
    if page.counts[number] < rows.stop * row:
        what = "A part of the TIFF is too short"
        found = f"{page.counts[number]} bytes"
        raise InputError(what, where=f"{page.path}, part {number}", found=found)
    file.read_into(into[: rows.stop - rows.start], page.offsets[number] + rows.start * row)


def _decode(page: TiffPage, data: bytes, shape: tuple[int, int, int]) -> NDArray[Any]:
    """Decompress a part, and undo its predictor."""
    size = shape[0] * shape[1] * shape[2] * page.dtype.itemsize
    if page.compression in _DEFLATE:
        plain = zlib.decompressobj().decompress(data, size)
    else:
        from numcodecs.zstd import Zstd

        plain = Zstd().decode(data)
    if len(plain) != size:
        msg = f"{len(plain)} bytes instead of {size}"
        raise ValueError(msg)
    if page.predictor == 3:
        return _from_bytes_apart(plain, page.dtype, shape)
    pixels = np.frombuffer(plain, page.dtype).reshape(shape)
    if page.predictor == 1:
        return pixels
    whole = np.dtype(f"u{page.dtype.itemsize}")
    steps = pixels.astype(page.dtype.newbyteorder("=")).view(whole)
    return np.cumsum(steps, axis=1, dtype=whole).view(page.dtype.newbyteorder("="))


def _from_bytes_apart(
    plain: bytes, dtype: np.dtype[Any], shape: tuple[int, int, int]
) -> NDArray[Any]:
    """Undo the predictor of floats, which keeps the bytes of a row by their significance.

    Source: Adobe Photoshop TIFF Technical Note 3.
    """
    height, width, samples = shape
    steps = np.frombuffer(plain, np.uint8).reshape(height, width * dtype.itemsize, samples)
    apart = np.cumsum(steps, axis=1, dtype=np.uint8).reshape(height, dtype.itemsize, -1)
    together = np.ascontiguousarray(apart.transpose(0, 2, 1))
    return together.view(dtype.newbyteorder(">"))[..., 0].reshape(shape)
