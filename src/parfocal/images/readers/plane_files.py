"""Images whose planes lie in files of their own: the fields of a plate, or a set of files."""

from __future__ import annotations

import itertools
import string
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Region, Shape, region_shape
from parfocal.errors import InputError
from parfocal.images.image import Image, ImageEntry
from parfocal.images.readers.series import choose_series
from parfocal.models.image import ImageMetadata

__all__ = [
    "Plane",
    "PlaneImage",
    "PlaneSet",
    "even_step",
    "first_file",
    "list_set",
    "open_in_set",
    "well_name",
]

Plane = tuple[int, int, int]
"""Numbers of time point, channel and plane along Z, from 0, in the order of the labels."""

_AXES = ("time point", "channel", "plane")
_REMEDY = "Copy all files of the set again, or leave this image out."
_KEPT_OPEN = 2
_TOLD = 3


def _nothing(_image: PlaneImage, _first: Image) -> dict[str, Any]:
    """Tell nothing more about an image."""
    return {}


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
    fields: Mapping[str, Any] = field(default_factory=dict)
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
    own : callable
        ``own(image, first)`` returns fields of ImageMetadata for an image whose first file is
        open as `first`.
    """

    path: Path
    images: Mapping[str, PlaneImage]
    labels: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
    fields: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, bytes] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    axes: str | None = None
    many: bool = False
    own: Callable[[PlaneImage, Image], dict[str, Any]] = _nothing

    def place(self, image: PlaneImage, plane: Plane) -> str:
        """Return where a plane is, for errors."""
        names = (
            f"{axis} {labels[n]}"
            for axis, labels, n in zip(_AXES, self.labels, plane, strict=True)
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
            raise InputError(
                what, where=self.path, expected=expected, found=found, remedy=_REMEDY
            )


def _exists(path: Path, folders: dict[Path, set[str]] | None) -> bool:
    if folders is None:
        return path.is_file()
    if path.parent not in folders:
        inside = path.parent.is_dir()
        folders[path.parent] = {entry.name for entry in path.parent.iterdir()} if inside else set()
    return path.name in folders[path.parent]


def first_file(found: PlaneSet) -> tuple[PlaneImage, Path]:
    """Return the first image of a set that is whole, and the file of its first plane.

    Raises
    ------
    InputError
        If no image is whole; it tells about the first.
    """
    folders: dict[Path, set[str]] = {}
    problem: InputError | None = None
    for image in found.images.values():
        try:
            found.check(image, folders)
        except InputError as error:
            problem = problem or error
            continue
        return image, image.files[0, 0, 0]
    if problem is not None:
        raise problem
    what = "The set holds no image"
    raise InputError(what, where=found.path, remedy=_REMEDY)


def list_set(found: PlaneSet, aside: Mapping[str, Sequence[str]] | None = None) -> list[ImageEntry]:
    """List the images of a set; one file is opened for size and data type.

    Parameters
    ----------
    found : PlaneSet
        The set.
    aside : mapping of str to sequence of str, optional
        By series, names of pictures beside an image.

    Raises
    ------
    InputError
        If no image is whole, or its first file cannot be read.
    """
    image, path = first_file(found)
    with _open(found, image, (0, 0, 0), path) as first:
        shared = _describe(found, image, first, {**found.fields})
    folders: dict[Path, set[str]] = {}
    entries = []
    for one in found.images.values():
        warnings = one.warnings
        try:
            found.check(one, folders)
        except InputError as error:
            warnings = (*warnings, f"It will fail: {error}")
        metadata = shared.model_copy(update={**one.fields, "name": one.name})
        entry = ImageEntry(
            series=one.series,
            metadata=metadata,
            aside=tuple((aside or {}).get(one.series, ())),
            plate=one.plate,
            well=one.well,
            field=one.field,
            warnings=warnings,
        )
        entries.append(entry)
    return entries


def open_in_set(found: PlaneSet, series: str) -> Image:
    """Open one image of a set.

    Raises
    ------
    InputError
        If there is no such image, a plane of it is missing or doubled, its first file is
        damaged, or differs in size or data type from those of the set.
    """
    names = [one.name for one in found.images.values()]
    number = choose_series(found.path, series, list(found.images), names)
    image = list(found.images.values())[number]
    found.check(image)
    if not found.many:
        _check_alike(found, image)
    with _open(found, image, (0, 0, 0), image.files[0, 0, 0]) as first:
        own = {**found.fields, **image.fields, **found.own(image, first)}
        metadata = _describe(found, image, first, own)
        pixels = _PlaneFiles(found, image, first, metadata)
        return Image(
            metadata=metadata,
            pyramid=(pixels,),
            block5=first.block5,
            reader=first.reader,
            warnings=(*found.warnings, *image.warnings, *first.warnings),
            original_metadata=found.texts,
            plane_file=pixels.plane_file if first.plane_file else None,
            close=pixels.close,
        )


def _check_alike(found: PlaneSet, image: PlaneImage) -> None:
    """Refuse an image that is unlike the first of its set."""
    other, path = first_file(found)
    if other is image:
        return
    with (
        _open(found, other, (0, 0, 0), path) as expected,
        _open(found, image, (0, 0, 0), image.files[0, 0, 0]) as first,
    ):
        _check_file(found, image, (0, 0, 0), first, expected)


def _check_file(
    found: PlaneSet, image: PlaneImage, plane: Plane, opened: Image, first: Image
) -> None:
    """Refuse a file whose sizes or data type are not those of the first."""
    if (opened.shape5, opened.dtype) != (first.shape5, first.dtype):
        what = "The files of the set differ in size or data type"
        raise InputError(
            what,
            where=f"{found.place(image, plane)}: {image.files[plane]}",
            expected=f"{first.metadata.shape} {first.dtype} as in {first.metadata.name}",
            found=f"{opened.metadata.shape} {opened.dtype}",
            remedy=_REMEDY,
        )


def _open(found: PlaneSet, image: PlaneImage, plane: Plane, path: Path) -> Image:
    """Open a file of a set; what is wrong with it is told with its place."""
    from parfocal.images.opening import open_image

    where = found.place(image, plane)
    try:
        opened = open_image(path, axes=found.axes)
    except InputError as error:
        raise _placed(error, where) from error
    if not found.many and opened.shape5[:3] != (1, 1, 1):
        opened.close()
        what = "A file of the plate holds more than one plane"
        remedy = "Describe the files by a .fileset.yaml, which may hold such files."
        size = opened.metadata.shape
        raise InputError(
            what, where=f"{where}: {path}", expected="Y, X", found=size, remedy=remedy
        )
    return opened


def _placed(error: InputError, where: str) -> InputError:
    return InputError(
        error.what,
        where=f"{where}: {error.where}",
        expected=error.expected,
        found=error.found,
        remedy=error.remedy,
    )


def _describe(
    found: PlaneSet, image: PlaneImage, first: Image, fields: dict[str, Any]
) -> ImageMetadata:
    """Return the metadata of an image whose first file is open."""
    inner = first.shape5
    outer = [len(labels) for labels in found.labels]
    for axis, inside, outside in zip("TCZ", inner, outer, strict=False):
        if inside > 1 and outside > 1:
            what = f"Both the names of the files and the files themselves have the axis {axis}"
            where = f"{found.path}: {first.metadata.name}"
            remedy = "Leave the axis out of the pattern, or state what the file's axes are."
            found_ = f"{outside} by name, {inside} in a file"
            raise InputError(what, where=where, found=found_, remedy=remedy)
    sizes = [a * b for a, b in zip(inner, [*outer, 1, 1], strict=True)]
    kept = [(a, s) for a, s in zip("TCZYX", sizes, strict=True) if s > 1 or a in "YX"]
    values = {
        "name": image.name,
        "axes": "".join(axis for axis, _ in kept),
        "shape": tuple(size for _, size in kept),
        "dtype": first.dtype.name,
    }
    return ImageMetadata(**{**fields, **values})


class _PlaneFiles:
    """The pixels of an image; a `Readable`. Few files are open at once."""

    def __init__(
        self, found: PlaneSet, image: PlaneImage, first: Image, metadata: ImageMetadata
    ) -> None:
        self._set = found
        self._image = image
        self._first = first  # closed: only its metadata are asked for
        self._inner = first.shape5
        self.shape5: Shape = metadata.shape5
        self.dtype = first.dtype
        self._idle: OrderedDict[Path, Image] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X).

        Raises
        ------
        InputError
            If a file is damaged, or unlike the first.
        """
        out = np.empty(region_shape(region), self.dtype)
        touched = (
            range(part.start // size, -(-part.stop // size))
            for part, size in zip(region[:3], self._inner, strict=False)
        )
        for t, c, z in itertools.product(*touched):
            inside, target = [], []
            for part, size, n in zip(region[:3], self._inner, (t, c, z), strict=False):
                low, high = max(part.start, n * size), min(part.stop, (n + 1) * size)
                inside.append(slice(low - n * size, high - n * size))
                target.append(slice(low - part.start, high - part.start))
            wanted: Region = (inside[0], inside[1], inside[2], region[3], region[4])
            with self._borrow((t, c, z)) as file:
                out[tuple(target)] = file.read(wanted)
        return out

    def plane_file(self, t: int, c: int, z: int) -> tuple[Path, int]:
        """Return in which file, and on which page of it, a plane lies.

        Raises
        ------
        InputError
            If the file is damaged, or unlike the first.
        """
        (ft, it), (fc, ic), (fz, iz) = (
            divmod(n, size) for n, size in zip((t, c, z), self._inner, strict=False)
        )
        with self._borrow((ft, fc, fz)) as file:
            if file.plane_file is None:
                return self._image.files[ft, fc, fz], 0
            return file.plane_file(it, ic, iz)

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            while self._idle:
                self._idle.popitem()[1].close()

    @contextmanager
    def _borrow(self, plane: Plane) -> Iterator[Image]:
        """Open a file for the caller alone, and keep it open for the next one for a while."""
        path = self._image.files[plane]
        with self._lock:
            file = self._idle.pop(path, None)
        if file is None:
            file = _open(self._set, self._image, plane, path)
            try:
                self._check(plane, file)
            except InputError:
                file.close()
                raise
        try:
            yield file
        except InputError as error:
            raise _placed(error, self._set.place(self._image, plane)) from error
        finally:
            self._give_back(path, file)

    def _give_back(self, path: Path, file: Image) -> None:
        with self._lock:
            if path in self._idle:
                file.close()
                return
            self._idle[path] = file
            while len(self._idle) > _KEPT_OPEN:
                self._idle.popitem(last=False)[1].close()

    def _check(self, plane: Plane, file: Image) -> None:
        _check_file(self._set, self._image, plane, file, self._first)
        names = (self._image.files[0, 0, 0].name, self._image.files[plane].name)
        known = {text.replace(names[0], "") for text in self._first.warnings}
        news = [text for text in file.warnings if text.replace(names[1], "") not in known]
        if news:
            what = "A file of the set is unlike the first"
            where = f"{self._set.place(self._image, plane)}: {self._image.files[plane]}"
            raise InputError(what, where=where, found="; ".join(news), remedy=_REMEDY)

