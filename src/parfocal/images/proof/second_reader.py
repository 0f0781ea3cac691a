"""Open a source by another library than the one that converts it, where one can."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from parfocal.core.blocks import Readable, Region
from parfocal.errors import ConfigurationError, InputError
from parfocal.images.image import Image, ImageEntry
from parfocal.images.libraries import library
from parfocal.images.opening import find_reader, format_of, other_files
from parfocal.images.proof.certificate import Difference
from parfocal.images.proof.pillow_planes import PillowPlanes
from parfocal.images.proof.tiff_planes import TiffPlanes, find_pages, refuse_unused_pages
from parfocal.images.proof.zarr_levels import zarr_python_levels
from parfocal.images.readers.registry import BIO_FORMATS, FORMATS, Format, ReadOptions
from parfocal.images.readers.source import list_series, open_series

__all__ = ["NONE", "READERS_DISAGREE", "SecondReader", "SecondReaderError", "second_readers"]

NONE = "none"
"""The name of a second reader that stands for no other than the converter's."""

_ALONE = ("bitmap", "dicom", "tiff")

READERS_DISAGREE = "Two readers of the source disagree"


class SecondReaderError(InputError):
    """A second reader cannot read the source, or only a part of it."""


@dataclass(frozen=True)
class SecondReader:
    """The source, open in another library.

    Parameters
    ----------
    pixels : Readable
        The image; reading raises SecondReaderError.
    library : str
        Name and version of the library.
    differences : tuple of Difference
        In what the two readers disagree besides pixels; these are then not comparable.
    close : callable
        Releases the files.
    """

    pixels: Readable
    library: str
    differences: tuple[Difference, ...]
    close: Callable[[], None]


@dataclass(frozen=True)
class _Question:
    """What is asked for: an image of a source, as the converter reads it."""

    path: Path
    image: Image
    entries: list[ImageEntry]
    place: int
    options: ReadOptions
    free_order: bool
    alone: bool


def second_readers(
    path: Path,
    image: Image,
    entries: list[ImageEntry],
    place: int,
    options: ReadOptions,
    wanted: str | None,
) -> Iterator[SecondReader | str]:
    """Open a source by one library after the other, the best first, as long as asked.

    Parameters
    ----------
    path : Path
        The source.
    image : Image
        The image as the converter opens it.
    entries : list of ImageEntry
        All images of the source, as its reader lists them.
    place : int
        Which of them it is.
    options : ReadOptions
        As for the converter.
    wanted : str or None
        The reader that the user wants, `NONE` for no other one, None for any.

    Yields
    ------
    SecondReader or str
        The reader, to be closed by the caller; or why one cannot be used.

    Raises
    ------
    ConfigurationError
        If there is no reader of the wanted name.
    """
    if wanted == NONE:
        yield "second_reader is none"
        return
    format_ = format_of(path) or BIO_FORMATS
    ome = any(name.lower().endswith(".ome.xml") for name in image.original_metadata)
    # Files that do not say what their pages are may be read with other axes elsewhere.
    free = options.axes is not None or (format_.module == "tiff" and not ome)
    # Bio-Formats takes files of like names, or of one series of DICOM, for one image.
    alone = format_.module in _ALONE and not other_files(path)
    asked = _Question(path, image, entries, place, options, free, alone)
    tried = False
    for name in _candidates(format_, image, wanted):
        try:
            found: SecondReader | str | None = _open(name, asked)
        except InputError as error:
            found = _why(error)
        if found is not None:
            tried = True
            yield found
    if not tried:
        yield f"there is no second reader of {format_.name}"


def _candidates(format_: Format, image: Image, wanted: str | None) -> list[str]:
    """Name the readers that may prove what another one read, the best first."""
    known = {NONE, "pillow", "zarr_python", *(one.module for one in (*FORMATS, BIO_FORMATS))}
    if wanted and wanted not in known:
        what = f"There is no second reader {wanted!r}"
        expected = f"one of {', '.join(sorted(known))}"
        raise ConfigurationError(what, where="second_reader", expected=expected)
    used = BIO_FORMATS.module if image.reader.startswith("Bio-Formats") else format_.module
    names = [wanted] if wanted else [format_.module, *format_.second]
    return [name for name in names if name != used]


def _why(error: InputError) -> str:
    """Return in one line why a reader cannot be used."""
    found = f" ({error.found})" if error.found else ""
    return f"{error.what}{found}" + (f": {error.remedy}" if error.remedy else "")


def _open(name: str, asked: _Question) -> SecondReader | None:
    """Open the source by the reader `name`; None where that is no other, or not for such images."""
    if name == "pillow":
        return _by_pillow(asked)
    if name == "zarr_python":
        return _by_zarr_python(asked)
    if name in asked.image.misread_by:
        what = f"{name} is known to read this image wrongly"
        raise InputError(what, where=asked.path, found=asked.image.misread_by[name])
    if name == "openslide" and not (asked.image.metadata.rgb and asked.image.dtype == np.uint8):
        return None  # it reads colour pictures only
    reader = find_reader(asked.path, name)
    options = replace(asked.options, alone=asked.alone)
    entries = list_series(reader, asked.path, options)
    if len(entries) != len(asked.entries):
        return _other_count(asked, name, len(entries))
    image = open_series(reader, asked.path, entries[asked.place].series, options)
    if _name(image.reader) == _name(asked.image.reader):
        image.close()
        return None
    return _compared(_Guarded(image, image.shape5, image.dtype), image.reader, asked, image.close)


def _other_count(asked: _Question, name: str, count: int) -> SecondReader:
    """Tell that another library finds more or fewer images in the source."""
    if asked.free_order:
        what = f"{name} finds {count} images where the converter finds {len(asked.entries)}"
        raise InputError(what, where=asked.path)
    difference = Difference(
        what=READERS_DISAGREE,
        where="the number of images",
        expected=f"{count} by {name}",
        found=f"{len(asked.entries)} by {asked.image.reader}",
    )
    return SecondReader(asked.image, f"{name} -", (difference,), _nothing)


def _nothing() -> None:
    """Close nothing."""


def _name(reader: str) -> str:
    return reader.rpartition(" ")[0]


def _by_pillow(asked: _Question) -> SecondReader:
    plane_file = asked.image.plane_file
    if plane_file is None:
        what = "The planes are not pages or files that Pillow could read"
        raise InputError(what, where=asked.path)
    shape, name = asked.image.shape5, library("pillow", "Pillow")
    try:
        pages = find_pages(plane_file, shape)
    except InputError:
        pages = {}  # a picture, or a TIFF of a kind that Pillow itself may decode
    if pages:
        alike = [entry.metadata.shape5 for entry in asked.entries if not entry.refused]
        refuse_unused_pages(
            pages, sum(t * c * z for t, c, z, *size in alike if (*size,) == shape[3:])
        )
    try:
        planes = TiffPlanes(pages, shape) if pages else None
    except InputError:
        planes = None
    if planes is not None:
        return _compared(_Guarded(planes, planes.shape5, planes.dtype), name, asked, _nothing)
    pictures = PillowPlanes(plane_file, shape, asked.image.dtype)
    guarded = _Guarded(pictures, pictures.shape5, pictures.dtype)
    return _compared(guarded, name, asked, pictures.close)


def _by_zarr_python(asked: _Question) -> SecondReader:
    from parfocal.images.ngff import read_axes
    from parfocal.images.readers.ome_zarr import read_attributes

    series = asked.entries[asked.place].series
    where = asked.path / series if series else asked.path
    multiscale = read_attributes(where)["ome"]["multiscales"][0]
    axes, _ = read_axes(multiscale, where)
    first = str(multiscale["datasets"][0]["path"])
    level = zarr_python_levels(where, [first], axes, asked.options.threads)[0]
    guarded = _Guarded(level, level.shape5, level.dtype)
    return _compared(guarded, library("zarr", "zarr-python"), asked, _nothing)


def _compared(
    pixels: _Guarded, name: str, asked: _Question, close: Callable[[], None]
) -> SecondReader:
    """Compare size and data type with what the converter reads."""
    image = asked.image
    if pixels.shape5 != image.shape5 and asked.free_order:
        pixels = pixels.in_order_of(image)
    if (pixels.shape5, pixels.dtype) == (image.shape5, image.dtype):
        return SecondReader(pixels, name, (), close)
    difference = Difference(
        what=READERS_DISAGREE,
        where="size (T, C, Z, Y, X) and data type",
        expected=f"{pixels.shape5} {pixels.dtype} by {name}",
        found=f"{image.shape5} {image.dtype} by {image.reader}",
    )
    return SecondReader(pixels, name, (difference,), close)


class _Guarded:
    """Pixels of which reading fails by SecondReaderError, so that the fault can be told apart."""

    def __init__(
        self,
        pixels: Readable,
        shape: tuple[int, int, int, int, int],
        dtype: np.dtype[np.generic],
        axes: tuple[int, int] | None = None,
    ) -> None:
        self._pixels = pixels
        self._axes = axes
        self.shape5 = shape
        self.dtype = dtype

    def in_order_of(self, image: Image) -> _Guarded:
        """Return the planes along the axis of `image` where both have only one but Y and X."""
        own, other = (
            [axis for axis in range(3) if shape[axis] > 1] for shape in (self.shape5, image.shape5)
        )
        if len(own) != 1 or len(other) != 1 or self.shape5[own[0]] != image.shape5[other[0]]:
            return self
        shape = (*image.shape5[:3], *self.shape5[3:])
        return _Guarded(self._pixels, shape, self.dtype, (own[0], other[0]))

    def read(self, region: Region) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X).

        Raises
        ------
        SecondReaderError
            If they cannot be read.
        """
        parts = list(region)
        if self._axes:
            own, other = self._axes
            parts[own], parts[other] = parts[other], parts[own]
        t, c, z, y, x = parts
        try:
            pixels = self._pixels.read((t, c, z, y, x))
        except InputError as error:
            raise SecondReaderError(error.what, where=error.where, found=error.found) from error
        return np.swapaxes(pixels, *self._axes) if self._axes else pixels
