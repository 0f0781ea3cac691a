"""Find the images that a path, a folder or a glob pattern names, without opening them."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from parfocal.core.digest import is_zarr
from parfocal.errors import InputError

__all__ = ["Candidate", "Listing", "expand_path", "home_of_glob"]


@dataclass(frozen=True)
class Candidate:
    """A file or OME-Zarr that should hold an image.

    Attributes
    ----------
    path : Path
        As the user would write it: relative if the listed path is.
    home : str
        The listed folder.
    name : str
        The path below it.
    """

    path: Path
    home: str
    name: str


@dataclass
class Listing:
    """What was found, and what was passed over."""

    candidates: list[Candidate] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    unsearched: list[str] = field(default_factory=list)


def expand_path(
    text: str, *, recursive: bool, pattern: str, is_image: Callable[[Path], bool]
) -> Listing:
    """Find the images that `text` names.

    Parameters
    ----------
    text : str
        A file, an OME-Zarr, a folder, or a glob pattern. What exists under this very name
        is not taken for a pattern.
    recursive : bool
        Whether to search folders in folders.
    pattern : str
        Which names to take from folders.
    is_image : callable
        Tells whether a file should hold an image.

    Returns
    -------
    Listing
        Sorted by path. Hidden files and what lies inside an OME-Zarr are not in it.

    Raises
    ------
    InputError
        If there is no such thing, or a folder may not be read.
    """
    path = Path(text)
    listing = Listing()
    try:
        if path.is_file() or is_zarr(path):
            listing.candidates.append(Candidate(path, str(path.parent), path.name))
        elif path.is_dir():
            for file in _walk(path, listing, recursive=recursive):
                _sort_in(file, path, pattern, listing, is_image)
        elif glob.has_magic(text):
            home = home_of_glob(text)
            for match in sorted(glob.glob(text, recursive=True)):  # noqa: PTH207
                if not _is_hidden(Path(match).name) and not _is_inside_zarr(Path(match), home):
                    _sort_in(Path(match), home, "*", listing, is_image)
        else:
            what = "There is no such file or folder"
            remedy = "Check the path; a relative one starts at the working folder."
            raise InputError(what, where=text, remedy=remedy)
    except PermissionError as error:
        what = "A file or folder may not be read"
        remedy = "Give yourself read permission, or list another folder."
        raise InputError(what, where=error.filename or text, remedy=remedy) from error
    return listing


def _walk(folder: Path, listing: Listing, *, recursive: bool) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        paths = sorted(Path(entry.path) for entry in entries if not _is_hidden(entry.name))
    for path in paths:
        inner = path.is_dir() and not is_zarr(path)
        if not inner:
            yield path
        elif recursive and not path.is_symlink():
            yield from _walk(path, listing, recursive=True)
        else:
            listing.unsearched.append(str(path))


def _sort_in(
    path: Path, home: Path, pattern: str, listing: Listing, is_image: Callable[[Path], bool]
) -> None:
    if path.is_dir() and not is_zarr(path):
        listing.unsearched.append(str(path))
    elif not (path.is_dir() or is_image(path)):
        listing.ignored.append(str(path))
    elif fnmatch.fnmatchcase(path.name, pattern):
        name = path.relative_to(home).as_posix()
        listing.candidates.append(Candidate(path, str(home), name))


def _is_hidden(name: str) -> bool:
    """Tell what belongs to the system, or is a stamp, lease or partial output of Parfocal."""
    return name.startswith(".")


def _is_inside_zarr(path: Path, home: Path) -> bool:
    """Tell whether a folder between `home` and `path` is an OME-Zarr."""
    between = path.relative_to(home).parents
    return any(is_zarr(home / folder) for folder in between if folder.name)


def home_of_glob(text: str) -> Path:
    """Return the folder before the first wildcard of a glob pattern."""
    fixed = []
    for part in Path(text).parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)
