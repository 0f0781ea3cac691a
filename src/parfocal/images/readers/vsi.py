"""Open Olympus VSI by Bio-Formats, and see to it that the pixels in its folder are read.

A VSI holds an overview, and names of pixels that lie in the folder ``_<name>_`` beside it. Without
the folder the overview would pass for the image.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from parfocal.images.image import Image, ImageEntry
from parfocal.images.readers.loading import load_reader
from parfocal.images.readers.registry import BIO_FORMATS, ReadOptions

__all__ = ["list_series", "open_series", "other_files"]


def list_series(path: Path) -> list[ImageEntry]:
    """List the images of a VSI, as Bio-Formats counts them.

    Raises
    ------
    InputError
        If Bio-Formats is not installed, or finds the file damaged.
    """
    return load_reader(BIO_FORMATS, path).list_series(path)


def open_series(path: Path, series: str, options: ReadOptions) -> Image:
    """Open one image of a VSI.

    Raises
    ------
    InputError
        As for `list_series`, or if there is no such image, or several and `series` is empty.
    """
    reader = load_reader(BIO_FORMATS, path)
    shown, frames = len(reader.list_series(path)), len(_frames(path))
    image = reader.open_series(path, series, options)
    folder = _folder(path).name
    if not frames:
        warning = (
            f"{path.name} has no folder {folder} with pixels beside it: only what lies in itself "
            "is read, which may be an overview"
        )
    elif shown <= frames:
        warning = (
            f"{path.name} has {frames} files of pixels in {folder} and Bio-Formats shows {shown} "
            "images, one of which may be an overview"
        )
    else:
        return image
    return replace(image, warnings=(*image.warnings, warning))


def other_files(path: Path) -> list[Path]:
    """Return all files in the folder of a VSI, sorted."""
    return sorted(one for one in _folder(path).rglob("*") if one.is_file())


def _folder(path: Path) -> Path:
    return path.with_name(f"_{path.stem}_")


def _frames(path: Path) -> list[Path]:
    """Return the files of pixels."""
    return sorted(_folder(path).glob("*/*.ets"))
