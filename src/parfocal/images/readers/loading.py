"""Load the reader of a format, or Bio-Formats where it is not installed."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from parfocal.errors import InputError
from parfocal.images.readers.bioformats.java import check_installed
from parfocal.images.readers.registry import BIO_FORMATS, FORMATS, OME_ZARR, Format
from parfocal.images.readers.source import Reader

__all__ = ["choose_reader", "find_named", "load_reader"]


def load_reader(format_: Format, path: Path) -> Reader:
    """Return the reader of a format.

    Raises
    ------
    InputError
        If what it needs is not installed.
    """
    if format_ is BIO_FORMATS:
        check_installed(path)
    elif not format_.installed:
        what = f"The reader of {format_.name} is not installed"
        remedy = f"{_install(format_)}."
        expected = f"the library {format_.library}"
        raise InputError(what, where=path, expected=expected, remedy=remedy)
    reader: Reader = import_module(f"parfocal.images.readers.{format_.module}")
    return reader


def choose_reader(path: Path, format_: Format | None) -> tuple[Reader, str | None]:
    """Return the reader for a path, or Bio-Formats where that one is not installed.

    Parameters
    ----------
    path : Path
        The source.
    format_ : Format or None
        Its format, if it is one of ours.

    Returns
    -------
    tuple of (Reader, str or None)
        The reader, and a warning where it is not the one of the format.

    Raises
    ------
    InputError
        If neither is installed.
    """
    if format_ is None:
        try:
            return load_reader(BIO_FORMATS, path), None
        except InputError as error:
            what = "The source is not an image of a known format"
            remedy = f"{error.what}, which may know it. {error.remedy}"
            expected = "a format of docs/reference/formats.md"
            raise InputError(what, where=path, expected=expected, remedy=remedy) from error
    try:
        return load_reader(format_, path), None
    except InputError:
        try:
            other = load_reader(BIO_FORMATS, path)
        except InputError:
            other = None
        if other is None:
            raise
    warning = (
        f"{path.name} is read by Bio-Formats, since the reader of {format_.name} is not installed. "
        f"{_install(format_)}"
    )
    return other, warning


def find_named(name: str) -> Format:
    """Return a format by the module of its reader.

    Raises
    ------
    InputError
        If there is no such reader.
    """
    every = (*FORMATS, OME_ZARR, BIO_FORMATS)
    for one in every:
        if one.module == name:
            return one
    what = "There is no such reader"
    expected = ", ".join(sorted({one.module for one in every}))
    raise InputError(what, where="reader", expected=f"one of {expected}", found=name)


def _install(format_: Format) -> str:
    return f"Install it: pip install 'parfocal[{format_.extra}]'"
