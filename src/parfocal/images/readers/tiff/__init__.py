"""Open TIFF, BigTIFF, OME-TIFF and ImageJ files of any axes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from parfocal.core.blocks import Readable, Shape
from parfocal.errors import InputError
from parfocal.images.image import Image
from parfocal.images.libraries import library
from parfocal.images.ome_xml import OmeImage, parse_ome_xml
from parfocal.images.rawfile import RawFile
from parfocal.images.readers.dimensions import kept_axes
from parfocal.images.readers.source import Source
from parfocal.images.readers.tiff.axes import TiffLayout, interpret_axes
from parfocal.images.readers.tiff.metadata import describe
from parfocal.images.readers.tiff.misread import misread_by
from parfocal.images.readers.tiff.opening import DAMAGED, open_tiff
from parfocal.images.readers.tiff.pixels import DAMAGE, ContiguousPixels, PagePixels
from parfocal.images.readers.tiff.vendors import vendor_axes
from parfocal.models.image import ImageMetadata

__all__ = ["TiffSource", "open_source"]

_BLOCK_BYTES = 8 * 2**20
_LOSSY = {6, 7, 33003, 33005, 33007, 34712, 34892, 34927, 34933, 50001, 50002, 52546}
_SLIDES = ("svs", "ndpi", "qpi", "philips", "bif", "avs")
_ASIDE = ("Thumbnail", "Label", "Macro", "Map")


class TiffSource(Source):
    """A TIFF file whose pages are known, and the files that its images lie in."""

    def _open(self) -> None:
        self._files: dict[str, RawFile] = {}
        self._opened = open_tiff(self.path)
        self._tiff = self._opened.tiff
        self._held.callback(self._tiff.close)
        found = self._opened.series
        full = [one for one in found if not one.keyframe.is_reduced] or found
        # Scanners keep pictures of the whole slide and of its paper label beside the scan.
        pictures = [one for one in found if one.kind in _SLIDES and one.name in _ASIDE]
        self.aside = tuple(one.name for one in pictures)
        self.series = [one for one in full if one not in pictures] or full
        self.warnings = list(self._opened.warnings)
        self._described: list[OmeImage] = []
        if self._opened.ome_xml is not None:
            self._described = parse_ome_xml(self._opened.ome_xml, self.warnings)
            self._check_count()

    def _check_count(self) -> None:
        """Refuse a file of which images that the OME-XML describes cannot be made up."""
        count = sum(one.kind == "ome" for one in self._opened.series)
        if count < len(self._described):
            what = "Pages of images that the OME-XML describes are missing, or do not fit it"
            expected, found = f"{len(self._described)} images", f"{count} images"
            remedy = "Put all files of the set into one folder, or set reader=bioformats."
            raise InputError(what, where=self.path, expected=expected, found=found, remedy=remedy)

    def names(self) -> list[str]:
        """Return the numbers of the images."""
        return [str(number) for number in range(len(self.series))]

    def titles(self) -> list[str]:
        """Return what tifffile calls the images."""
        return [one.name for one in self.series]

    def other_files(self) -> list[Path]:
        """Return the other files in which pages of its images lie, there or missing."""
        found = {
            Path(page.parent.filehandle.path)
            for one in self.series
            for page in one.pages
            if page is not None
        }
        own = self.path.absolute()
        named = {path.absolute() for path in (*found, *self._opened.named)}
        return sorted(named - {own})

    def image(self, place: int) -> Image:
        """Return an image, whose pixels can be read until `close`.

        Raises
        ------
        InputError
            If its axes, its pixels or its tags are damaged or not supported.
        """
        try:
            return self._image(place)
        except DAMAGE as error:
            what = "The TIFF is damaged"
            raise InputError(what, where=self.path, found=error, remedy=DAMAGED) from error

    def _image(self, number: int) -> Image:
        series = self.series[number]
        warn = list(self.warnings)
        if self.aside:
            names = ", ".join(self.aside)
            warn.append(f"{self.path.name} holds pictures of the slide, left out: {names}")
        sizes = series.get_shape(squeeze=False)
        if not all(sizes):
            what = "The image has no pixels"
            raise InputError(what, where=self.path, expected="sizes of at least 1", found=sizes)
        letters = vendor_axes(self._tiff, series)
        layout = interpret_axes(letters, sizes, self.options.axes, self.path, warn)
        pixels, block5 = self._pixels(series, layout, warn)
        described = describe(self._opened, series, self._ome_image(number, warn), layout, warn)
        metadata = ImageMetadata(
            **kept_axes(layout.shape5),
            dtype=pixels.dtype.name,
            **({"name": series.name or self.path.name} | described.fields),
        )
        return Image(
            metadata=metadata,
            pyramid=(pixels,),
            block5=block5,
            reader=library("tifffile"),
            warnings=tuple(warn),
            original_metadata=described.texts,
            lossy=int(series.keyframe.compression) in _LOSSY,
            plane_file=_plane_file(series, layout),
            misread_by=misread_by(self._tiff, series),
        )

    def _ome_image(self, number: int, warn: list[str]) -> OmeImage | None:
        """Return what the OME-XML says of an image; both list them in the same order."""
        if len(self._described) == len(self.series):
            return self._described[number]
        if self._described:
            warn.append(
                f"The OME-XML describes {len(self._described)} images and the file holds "
                f"{len(self.series)}: sizes of pixels and names of channels are left out"
            )
        return None

    def _pixels(self, series: Any, layout: TiffLayout, warn: list[str]) -> tuple[Readable, Shape]:
        keyframe = series.keyframe
        dtype = _dtype(series.dtype, self.path, warn)
        # What fits together by its offsets is in one piece only where it is in one file.
        whole = series.dataoffset is not None and not series.is_multifile
        if whole and series.dtype.kind != "b":
            file = self._file(keyframe)
            offset = int(series.dataoffset)
            self._check_extent(file, offset + int(series.nbytes))
            stored = np.dtype(series.dtype).newbyteorder(keyframe.parent.byteorder)
            plain = ContiguousPixels(layout, stored, file, offset)
            return plain, _rows_block(layout, dtype, plain.packed)
        pages = list(series.pages)
        if any(page is None for page in pages):
            missing = sum(page is None for page in pages)
            what = "Planes of the image are missing"
            found = f"{len(pages) - missing} of {len(pages)} planes"
            remedy = "Put all files of the set into one folder, or copy the file again."
            raise InputError(what, where=self.path, expected="all", found=found, remedy=remedy)
        self._check_pages(pages, layout)
        files = [self._file(page) for page in pages]
        for page, file in zip(pages, files, strict=True):
            self._check_page(page, file, warn)
        coded = PagePixels(layout, dtype, pages, files)
        return coded, _coded_block(coded.block5, layout, dtype)

    def _check_pages(self, pages: list[Any], layout: TiffLayout) -> None:
        """Refuse pages that do not make up the planes of the image."""
        planar, depth, height, width, contig = pages[0].keyframe.shaped
        t, c, z, y, x = layout.shape5
        inside = layout.axes.replace("T", "").replace("C", "").replace("Z", "")
        fits = (
            all(page.keyframe.shaped == pages[0].keyframe.shaped for page in pages)
            and (y, x) == (height, width)
            and planar * contig in (layout.size("S"), 1)
            and layout.size("S") == planar * contig
            and t * c * z == len(pages) * depth * layout.size("S")
            and inside in ("YX", "YXS", "SYX")
        )
        if not fits:
            what = "The pages of the TIFF do not make up the planes of the image"
            found = f"{len(pages)} pages {pages[0].keyframe.shape} for {layout.shape5}"
            remedy = "Save the image again as OME-TIFF."
            raise InputError(what, where=self.path, found=found, remedy=remedy)

    def _file(self, page: Any) -> RawFile:
        name = str(page.parent.filehandle.path)
        if name not in self._files:
            self._files[name] = RawFile(Path(name))
            self._held.callback(self._files[name].close)
        return self._files[name]

    def _check_extent(self, file: RawFile, needed: int) -> None:
        size = file.size()
        if needed > size:
            what = "The TIFF ends before its pixels do"
            raise InputError(
                what,
                where=file.path,
                expected=f"at least {needed} bytes",
                found=f"{size} bytes",
                remedy=DAMAGED,
            )

    def _check_page(self, page: Any, file: RawFile, warn: list[str]) -> None:
        """Refuse a page of which a strip or tile is lost or lies beyond the end of the file."""
        offsets, counts = page.dataoffsets, page.databytecounts
        needed = int(np.prod(page.keyframe.chunked))
        if len(offsets) < needed or len(counts) < needed:
            what = "A page of the TIFF has too few strips or tiles"
            where = f"{self.path}, page {page.index}"
            raise InputError(what, where=where, expected=needed, found=len(offsets), remedy=DAMAGED)
        ends = [o + n for o, n in zip(offsets, counts, strict=False)]
        self._check_extent(file, int(max(ends)))
        empty = sum(1 for count in counts[:needed] if not count)
        if empty:
            warn.append(
                f"{self.path.name}, page {page.index}: {empty} strips or tiles are not stored; "
                f"they are read as {page.keyframe.nodata}"
            )


def _plane_file(
    series: Any, layout: TiffLayout
) -> Callable[[int, int, int], tuple[Path, int]] | None:
    """Return what tells the file and the page of a plane, None where planes are not pages."""
    samples = layout.size("S")
    t, c, z, _, _ = layout.shape5
    if len(series.pages) * samples != t * c * z or series.keyframe.imagedepth > 1:
        return None

    def find(t: int, c: int, z: int) -> tuple[Path, int]:
        page = series.pages[layout.plane(t, c // samples, z)]
        if isinstance(page.index, tuple):
            what = "The plane is not in the main chain of pages"
            raise InputError(what, where=f"{page.parent.filehandle.path}, page {page.index}")
        return Path(page.parent.filehandle.path), int(page.index)

    return find


def _dtype(found: Any, path: Path, warn: list[str]) -> np.dtype[Any]:
    """Return the data type of the pixels, or refuse it."""
    dtype: np.dtype[Any] | None = None if found is None else np.dtype(found).newbyteorder("=")
    if dtype is not None and dtype.kind == "b":
        warn.append(f"{path.name} has 1 bit a pixel: it is read as uint8, 0 and 1")
        return np.dtype(np.uint8)
    if dtype is None or dtype.kind not in "iuf":
        what = "The data type of the TIFF is not supported"
        expected = "integers or floats"
        remedy = "Save magnitude and phase, or real and imaginary part, as separate channels."
        raise InputError(
            what, where=path, expected=expected, found=dtype or "unknown", remedy=remedy
        )
    return np.dtype(dtype)


def _rows_block(layout: TiffLayout, dtype: np.dtype[Any], packed: int) -> Shape:
    """Return the block of whole rows that is cheap to read from an uncompressed file."""
    _, _, _, y, x = layout.shape5
    rows = max(1, min(y, _BLOCK_BYTES // (x * packed * dtype.itemsize)))
    return 1, packed, 1, rows, x


def _coded_block(block: Shape, layout: TiffLayout, dtype: np.dtype[Any]) -> Shape:
    """Return a block of several strips or tiles, where these are small."""
    t, c, z, height, width = block
    _, _, _, y, x = layout.shape5
    while c * height * width * dtype.itemsize * 2 <= _BLOCK_BYTES and (height < y or width < x):
        if height < y and (height <= width or width >= x):
            height = min(y, height * 2)
        else:
            width = min(x, width * 2)
    return t, c, z, height, width


open_source = TiffSource
