"""Find out what a path holds, list its images, and open one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from parfocal.core.zipped_zarr import is_zip
from parfocal.errors import InputError
from parfocal.images.image import Image, ImageEntry, Origin
from parfocal.images.readers import source
from parfocal.images.readers.loading import choose_reader, find_named, load_reader
from parfocal.images.readers.ome_zarr import is_zarr
from parfocal.images.readers.registry import (
    HEAD_BYTES,
    OME_ZARR,
    Format,
    ReadOptions,
    find_format,
)
from parfocal.images.readers.source import Reader

__all__ = [
    "check_readable",
    "find_reader",
    "format_of",
    "list_images",
    "open_image",
    "other_files",
]

_REMEDY = "Give an image file, the folder of an OME-Zarr, or the index file of a plate."


def open_image(
    path: Path,
    series: str = "",
    *,
    axes: str | None = None,
    threads: int = 1,
    reader: str | None = None,
) -> Image:
    """Open an image for reading.

    Parameters
    ----------
    path : Path
        A file of any format, or the folder of an OME-Zarr.
    series : str
        Which of several images, as `list_images` names them.
    axes : str, optional
        The axes of the image in their order, such as ``TZYX``, where the file does not say.
    threads : int
        How many threads decode.
    reader : str, optional
        Module of the reader to use, such as ``bioformats``; the one for the format where None.

    Returns
    -------
    Image
        To be closed, or used as a context manager.

    Raises
    ------
    InputError
        If it is missing, damaged, of a format that no installed reader knows, or `series` is
        not one of its images, or empty while there are several.
    """
    path = Path(path)
    found, warning = _find(path, reader)
    image = source.open_series(found, path, series, ReadOptions(axes, threads))
    warnings = (warning, *image.warnings) if warning else image.warnings
    return replace(image, warnings=warnings, origin=Origin(path.absolute(), series, axes, reader))


def list_images(
    path: Path, *, axes: str | None = None, reader: str | None = None
) -> list[ImageEntry]:
    """List the images that a path holds.

    Parameters
    ----------
    path, axes, reader
        As for `open_image`.

    Returns
    -------
    list of ImageEntry
        In the order of the source.

    Raises
    ------
    InputError
        If the path cannot be read, or its only image cannot; one of several that cannot is in
        the list with the reason.
    """
    path = Path(path)
    return source.list_series(find_reader(path, reader), path, ReadOptions(axes))


def other_files(path: Path) -> list[Path]:
    """Return the other files that the images of a path consist of, there or missing, sorted.

    Raises
    ------
    InputError
        If the path cannot be read.
    """
    path = Path(path)
    if is_zip(path):
        return []
    return source.other_files(find_reader(path), path)


def find_reader(path: Path, name: str | None = None) -> Reader:
    """Return the reader for a path, or the one that is called `name`.

    Raises
    ------
    InputError
        If the path cannot be read, there is no such reader, or it is not installed.
    """
    return _find(path, name)[0]


def _find(path: Path, name: str | None) -> tuple[Reader, str | None]:
    """Return the reader, and a warning where it is not the one of the format."""
    format_ = format_of(path)
    if name is None:
        return choose_reader(path, format_)
    if format_ is None or name != format_.module:
        format_ = find_named(name)
    return load_reader(format_, path), None


def format_of(path: Path) -> Format | None:
    """Tell the format of a path; None where only Bio-Formats might know it.

    Raises
    ------
    InputError
        If the path cannot be read.
    """
    if check_readable(path) == "zarr":
        return OME_ZARR
    try:
        with path.open("rb") as file:
            return find_format(path, file.read(HEAD_BYTES))
    except OSError as error:
        raise _unreadable(path, error) from error


def check_readable(path: Path) -> str:
    """Return ``zarr`` or ``file``, or say why the path cannot be read.

    Raises
    ------
    InputError
        If it is missing, empty, not readable, or a folder that is no Zarr.
    """
    try:
        if path.is_dir():
            if is_zarr(path):
                return "zarr"
            what = "The folder is not an OME-Zarr"
            expected = "zarr.json or .zgroup in it"
            found = f"{sum(1 for _ in path.iterdir())} other entries"
            raise InputError(what, where=path, expected=expected, found=found, remedy=_REMEDY)
        size = path.stat().st_size
    except OSError as error:
        raise _unreadable(path, error) from error
    if not path.is_file():
        what = "The source is neither a file nor a folder"
        raise InputError(what, where=path, remedy=_REMEDY)
    if not os.access(path, os.R_OK):
        raise _unreadable(path, PermissionError(13, os.strerror(13)))
    if not size:
        what = "The file is empty"
        remedy = "Copy or download it again."
        raise InputError(what, where=path, expected="an image", found="0 bytes", remedy=remedy)
    return "file"


def _unreadable(path: Path, error: OSError) -> InputError:
    if isinstance(error, FileNotFoundError):
        what = "The source does not exist"
        remedy = "Check the path; a relative one starts at the working folder."
        return InputError(what, where=path, remedy=remedy)
    what = "The source cannot be read"
    remedy = "Check its permissions and those of the folders above it."
    return InputError(what, where=path, found=error.strerror, remedy=remedy)
