"""Sources on this machine: left in place, looked at for changes."""

from __future__ import annotations

import os
import time
from pathlib import Path

from parfocal.core.digest import is_zarr, zarr_keys
from parfocal.core.step import Context
from parfocal.errors import InputError
from parfocal.models.manifest import Manifest
from parfocal.models.source import LocalSource
from parfocal.steps.sources.entry import entry_of
from parfocal.steps.sources.order import Order
from parfocal.steps.sources.part import crop_zarr, refuse_part, write_zarr_part

__all__ = ["fetch_local", "state_of_local"]

_TOLD = 10
_MANY_FILES = 500
_LOOK_S = 10.0
_looks: dict[Path, tuple[float, str]] = {}
"""The latest look at a source of many files, which its images share, and until when it counts."""


def fetch_local(source: LocalSource, order: Order) -> Manifest:
    """Leave a file or an OME-Zarr in place; copy a part, where one is wanted.

    Raises
    ------
    InputError
        If it is missing, may not be read, or is a folder but no OME-Zarr.
    """
    path = source.path.absolute()
    _check(path)
    if order.part:
        if not is_zarr(path):
            raise refuse_part(order.text)
        return write_zarr_part(path, crop_zarr(path, order), path.name, order)
    return _leave_in_place(order.text, path, order.context)


def _check(path: Path) -> None:
    try:
        mere_folder = path.is_dir() and not is_zarr(path)
    except PermissionError as error:
        what = "The source may not be read"
        remedy = "Give yourself read permission, or name another file."
        raise InputError(what, where=path, remedy=remedy) from error
    if mere_folder:
        what = "The source is a folder, but no OME-Zarr"
        remedy = "Let 'parfocal list-images' write a row for each image in it."
        expected = "a file, or a folder with zarr.json, .zgroup or .zattrs"
        raise InputError(what, where=path, expected=expected, remedy=remedy)


def _leave_in_place(text: str, path: Path, context: Context) -> Manifest:
    there = [path, *(file for file in _other_files(path, context) if _is_there(file))]
    files = tuple(entry_of(file, str(file), context) for file in there)
    return Manifest(source=text, files=files, primary=str(path))


def _other_files(path: Path, context: Context) -> list[Path]:
    """Return the other files of a set, there or not; the latter are told."""
    from parfocal.images import other_files

    if is_zarr(path):
        return []
    try:
        files = other_files(path)
    except InputError as error:
        context.warn(f"The source cannot be read: only the file itself is kept: {error}")
        return []
    missing = [str(file) for file in files if not _is_there(file)]
    if missing:
        more = f" and {len(missing) - _TOLD} more" if len(missing) > _TOLD else ""
        context.warn(
            f"{path}: {len(missing)} files of the set are missing, and their images will fail: "
            f"{', '.join(missing[:_TOLD])}{more}"
        )
    return files


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False  # such as a name that is too long for any file


def state_of_local(source: LocalSource) -> str:
    """Say whether a local source changed: its place, sizes and modification times."""
    path = source.path.absolute()
    known = _looks.get(path)
    if known and time.monotonic() < known[0]:
        return known[1]
    count, state = _look(path)
    _looks.clear()
    if count >= _MANY_FILES:
        _looks[path] = (time.monotonic() + _LOOK_S, state)
    return state


def _look(path: Path) -> tuple[int, str]:
    """Return how many files a source has, and their state."""
    try:
        if is_zarr(path):
            stats = [(path / key).stat() for key in zarr_keys(path)]
        else:
            stats = [path.stat(), *(file.stat() for file in _known_files(path) if file.is_file())]
    except OSError as error:
        return 0, f"{path} {os.strerror(error.errno or 0)}"
    newest = max(stat.st_mtime_ns for stat in stats)
    size = sum(stat.st_size for stat in stats)
    return len(stats), f"{path} {len(stats)} files {size} bytes {newest}"


def _known_files(path: Path) -> list[Path]:
    """Return the other files of a set, as far as they are known without reading images."""
    from parfocal.images.candidates import leads
    from parfocal.images.opening import format_of, other_files
    from parfocal.remote.filesets import named_files

    try:
        format_ = format_of(path)
        if format_ is None:  # Java would have to be started
            return []
        if format_.module == "tiff" and not leads(path):
            return [path.with_name(name) for name in named_files(path)]
        return other_files(path)
    except InputError:
        return []
