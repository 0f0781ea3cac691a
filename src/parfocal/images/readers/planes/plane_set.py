"""Sets of images whose planes lie in files of their own: what they hold, and what is missing."""

from __future__ import annotations

import dataclasses
import itertools
import string
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from parfocal.errors import InputError
from parfocal.images.image import Image

__all__ = [
    "REMEDY",
    "Plane",
    "PlaneImage",
    "PlaneSet",
    "consecutive",
    "even_step",
    "well_name",
    "whole_images",
]

Plane = tuple[int, int, int]
"""Numbers of time point, channel and plane along Z, from 0, in the order of the labels."""

REMEDY = "Copy all files of the set again, or leave this image out."
"""What helps where files of a set are missing or wrong."""

_AXES = ("time point", "channel", "plane")
_TOLD = 3
_TRIED = 3


def well_name(row: int, column: int) -> str:
    """Return the name of a well, such as ``B02`` or ``AF48``, of row and column from 1.

    Raises
    ------
    ValueError
        If there is no such well on any plate.
    """
    if not (1 <= row <= 26 * 27 and 1 <= column <= 999):
        msg = f"row {row}, column {column}"
        raise ValueError(msg)
    high, low = divmod(row - 1, 26)
    letters = (string.ascii_uppercase[high - 1] if high else "") + string.ascii_uppercase[low]
    return f"{letters}{column:02}"


def even_step(values: Sequence[float]) -> float | None:
    """Return the distance of values that rise or fall evenly, to 1 %; None of others."""
    steps = np.abs(np.diff(np.asarray(values, float)))
    signs = np.sign(np.diff(np.asarray(values, float)))
    if not steps.size or abs(signs.sum()) != steps.size:
        return None
    mean = float(steps.mean())
    return round(mean, 6) or None if float(np.abs(steps - mean).max()) <= mean / 100 else None


@dataclass(frozen=True)
class PlaneImage:
    """One image of a set.

    Parameters
    ----------
    series, name, plate, well, field : str
        As in `ImageEntry`.
    files : mapping of Plane to Path
        Where each of its planes is, or should be.
    fields : mapping
        Fields of ImageMetadata that are its own, such as the place of the stage.
    warnings : tuple of str
        What was assumed or left out.
    problem : InputError, optional
        Why it cannot be opened.
    """

    series: str
    name: str
    plate: str
    well: str
    field: str
    files: Mapping[Plane, Path]
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    problem: InputError | None = None

    @property
    def place(self) -> str:
        """Where on its plate it was taken, for errors."""
        known = {"well": self.well, "field": self.field}
        return ", ".join(f"{key} {value}" for key, value in known.items() if value) or self.name


@dataclass(frozen=True)
class PlaneSet:
    """Images of one size, each of whose planes is a file.

    Parameters
    ----------
    path : Path
        The file that was opened to find them.
    images : mapping of str to PlaneImage
        By series, in order.
    labels : three tuples of str
        What the set calls its time points, channels and planes.
    fields : mapping
        Fields of ImageMetadata that all images share.
    texts : mapping of str to bytes
        Original metadata, by file name.
    warnings : tuple of str
        What was assumed or left out for all images.
    axes : str, optional
        The axes of one file, where it does not say.
    many : bool
        Whether a file may hold several planes, and images may differ in size.
    own : callable, optional
        ``own(image, first)`` returns fields of ImageMetadata for an image whose first file is
        open as `first`.
    """

    path: Path
    images: Mapping[str, PlaneImage]
    labels: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    texts: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    axes: str | None = None
    many: bool = False
    own: Callable[[PlaneImage, Image], dict[str, Any]] | None = None

    def files(self) -> set[Path]:
        """Return the files of all planes, there or missing."""
        return {file for image in self.images.values() for file in image.files.values()}

    def place(self, image: PlaneImage, plane: Plane) -> str:
        """Return where a plane is, for errors."""
        names = (
            f"{axis} {labels[n]}" for axis, labels, n in zip(_AXES, self.labels, plane, strict=True)
        )
        return ", ".join((image.place, *names))

    def planes(self) -> Iterator[Plane]:
        """Iterate over the planes that an image should have."""
        t, c, z = (range(len(labels)) for labels in self.labels)
        yield from itertools.product(t, c, z)

    def check(self, image: PlaneImage, folders: dict[Path, set[str]] | None = None) -> None:
        """Refuse an image of which the set does not hold each plane once.

        Parameters
        ----------
        image : PlaneImage
            One of the set.
        folders : dict, optional
            The names that each folder holds, as far as known; grows. Saves looking for each file.

        Raises
        ------
        InputError
            If a plane is missing, or the set has it twice.
        """
        if image.problem is not None:
            raise image.problem
        absent = [
            (plane, image.files.get(plane))
            for plane in self.planes()
            if plane not in image.files or not _exists(image.files[plane], folders)
        ]
        if absent:
            told = [
                f"{self.place(image, plane)}" + (f" ({path})" if path else "")
                for plane, path in absent[:_TOLD]
            ]
            more = f" and {len(absent) - _TOLD} more" if len(absent) > _TOLD else ""
            what = "Planes of the image are missing"
            count = sum(1 for _ in self.planes())
            found = f"no file for {'; '.join(told)}{more}"
            expected = f"{count} planes"
            raise InputError(what, where=self.path, expected=expected, found=found, remedy=REMEDY)


def _exists(path: Path, folders: dict[Path, set[str]] | None) -> bool:
    try:
        if folders is None:
            return path.is_file()
        if path.parent not in folders:
            there = path.parent.iterdir() if path.parent.is_dir() else ()
            folders[path.parent] = {entry.name for entry in there}
    except OSError:
        return False  # such as a name that is too long for any file
    return path.name in folders[path.parent]


def consecutive(where: Path, axis: str, numbers: Collection[int]) -> list[int]:
    """Return numbers along an axis in order, which must have no gap.

    Raises
    ------
    InputError
        If there is one; it names the first.
    """
    ordered = sorted(numbers)
    for one, other in itertools.pairwise(ordered):
        if other != one + 1:
            what = f"The files have a gap in their {axis}"
            found = f"no file of {one + 1}, and some of {other}"
            expected = f"all from {ordered[0]} to {ordered[-1]}"
            remedy = "Copy all files again, or number them one after the other."
            raise InputError(what, where=where, expected=expected, found=found, remedy=remedy)
    return ordered


def whole_images(found: PlaneSet) -> Iterator[PlaneImage]:
    """Iterate over the first few images of which all files are there.

    Raises
    ------
    InputError
        If no image is whole; it tells about the first.
    """
    folders: dict[Path, set[str]] = {}
    problem: InputError | None = None
    count = 0
    for image in found.images.values():
        try:
            found.check(image, folders)
        except InputError as error:
            problem = problem or error
            continue
        yield image
        count += 1
        if count == _TRIED:
            return
    if not count:
        what = "The set holds no image"
        raise problem or InputError(what, where=found.path, remedy=REMEDY)
