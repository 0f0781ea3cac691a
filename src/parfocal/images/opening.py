"""Find out what a path holds, list its images, and open one."""

from __future__ import annotations

import os
from pathlib import Path

from parfocal.errors import InputError
from parfocal.images import ome_zarr
from parfocal.images.formats import HEAD_BYTES, name_format
from parfocal.images.image import Image, ImageEntry

__all__ = ["check_readable", "list_images", "open_image"]

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_REMEDY = "Give a TIFF, OME-TIFF, PNG or JPEG file, or the folder of an OME-Zarr."


def open_image(path: Path, series: str = "", *, axes: str | None = None, threads: int = 1) -> Image:
    """Open an image for reading.

    Parameters
    ----------
    path : Path
        A TIFF, PNG or JPEG file, or the folder of an OME-Zarr.
    series : str
        Which of several images, as `list_images` names them.
    axes : str, optional
        The axes of a TIFF in their order, such as ``TZYX``, where the file does not say.
    threads : int
        How many threads decode the chunks of an OME-Zarr.

    Returns
    -------
    Image
        To be closed, or used as a context manager.

    Raises
    ------
    InputError
        If it is missing, damaged, of an unknown format, or `series` is not one of its
        images, or empty while there are several.
    """
    path = Path(path)
    if check_readable(path) == "zarr":
        available = ome_zarr.list_series(path)
        chosen = _choose(path, series, available)
        return ome_zarr.open_series(path, chosen, threads)
    kind = _sniff(path)
    if kind == "tiff":
        from parfocal.images.tiff import open_series

        return open_series(path, series, axes)
    from parfocal.images.bitmap import open_bitmap

    _choose(path, series, ["0"])
    return open_bitmap(path, kind)


def list_images(path: Path) -> list[ImageEntry]:
    """List the images that a path holds.

    Parameters
    ----------
    path : Path
        As for `open_image`.

    Returns
    -------
    list of ImageEntry
        In the order of the source.

    Raises
    ------
    InputError
        If the path cannot be read, or one of its images cannot.
    """
    path = Path(path)
    if check_readable(path) == "zarr":
        names = ome_zarr.list_series(path)
    elif _sniff(path) == "tiff":
        from parfocal.images.tiff import list_series

        return list_series(path)
    else:
        names = ["0"]
    entries = []
    for name in names:
        with open_image(path, name) as image:
            entries.append(ImageEntry(name, image.metadata))
    return entries


def check_readable(path: Path) -> str:
    """Return ``zarr`` or ``file``, or say why the path cannot be read.

    Raises
    ------
    InputError
        If it is missing, empty, not readable, or a folder that is no Zarr.
    """
    try:
        if path.is_dir():
            if ome_zarr.is_zarr(path):
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


def _sniff(path: Path) -> str:
    """Tell the format of a file from its first bytes."""
    try:
        with path.open("rb") as file:
            start = file.read(HEAD_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from error
    if start[:4] in _TIFF:
        return "tiff"
    if start.startswith(_PNG):
        return "png"
    if start.startswith(_JPEG):
        return "jpeg"
    raise _not_readable(path, start)


def _not_readable(path: Path, start: bytes) -> InputError:
    """Return the error about a file that is none of the formats read here."""
    expected = "the signature of TIFF, PNG or JPEG"
    format_ = name_format(path, start)
    if format_ is None:
        what = "The file is not an image of a known format"
        return InputError(what, where=path, expected=expected, found="another", remedy=_REMEDY)
    name, sign = format_
    what = f"A file of format {name} (by its {sign}) cannot be read in this version"
    remedy = "Convert it to OME-TIFF or OME-Zarr first, with the microscope's program or Fiji."
    return InputError(what, where=path, expected=expected, remedy=remedy)


def _choose(path: Path, series: str, available: list[str]) -> str:
    """Return the image to open; the only one where none is stated."""
    if series in available:
        return series
    shown = ", ".join(available[:20]) + (", ..." if len(available) > 20 else "")
    if not series and len(available) == 1:
        return available[0]
    if series == "0" and available == [""]:
        return ""
    what = "The source has no such image" if series else "The source holds several images"
    example = f"--set series={available[-1]}, or in the sheet's column"
    remedy = f"State one, such as {example}. There are: {shown}."
    raise InputError(
        what,
        where=path,
        expected="one image",
        found=repr(series) if series else f"{len(available)} images",
        remedy=remedy,
    )
