"""Read images whose planes lie in files of their own: the fields of a plate, or a set of files."""

from __future__ import annotations

import itertools
import threading
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Region, Shape, region_shape
from parfocal.errors import InputError
from parfocal.images.image import Image, ImageEntry
from parfocal.images.readers.dimensions import kept_axes
from parfocal.images.readers.planes.plane_set import (
    REMEDY,
    Plane,
    PlaneImage,
    PlaneSet,
    whole_images,
)
from parfocal.images.readers.source import Source
from parfocal.models.image import ImageMetadata

__all__ = ["PlaneFilesSource"]

_KEPT_OPEN = 2


class PlaneFilesSource(Source):
    """A source that says which files are the planes of its images."""

    @cached_property
    def planes(self) -> PlaneSet:
        """The images and their files."""
        return self._find()

    @abstractmethod
    def _find(self) -> PlaneSet:
        """Return the images and their files.

        Raises
        ------
        InputError
            If what describes them is damaged.
        """

    def names(self) -> list[str]:
        """Return wells and fields, such as ``B02/1``."""
        return list(self.planes.images)

    def titles(self) -> list[str]:
        """Return what the images are called."""
        return [one.name for one in self.planes.images.values()]

    def entries(self) -> list[ImageEntry]:
        """List the images; one file is opened for size and data type.

        Raises
        ------
        InputError
            If no image is whole, or its first file cannot be read.
        """
        found = self.planes
        image, first = _reference(found)
        with first:
            shared = _describe(found, image, first, {**found.fields})
        folders: dict[Path, set[str]] = {}
        return [_entry(found, one, shared, folders) for one in found.images.values()]

    def image(self, place: int) -> Image:
        """Return an image.

        Raises
        ------
        InputError
            If a plane of it is missing or doubled, its first file is damaged, or differs in size
            or data type from those of the set.
        """
        return self._image(self.planes, place)

    def _image(self, found: PlaneSet, place: int) -> Image:
        image = list(found.images.values())[place]
        found.check(image)
        if not found.many:
            _check_alike(found, image)
        with _open(found, image, (0, 0, 0)) as first:
            told = found.own(image, first) if found.own else {}
            own = {**found.fields, **image.fields, **told}
            metadata = _describe(found, image, first, own)
            pixels = _PlaneFiles(found, image, first, metadata)
            self._held.callback(pixels.close)
            return Image(
                metadata=metadata,
                pyramid=(pixels,),
                block5=first.block5,
                reader=first.reader,
                warnings=(*found.warnings, *image.warnings, *first.warnings),
                original_metadata=found.texts,
                plane_file=pixels.plane_file if first.plane_file else None,
            )

    def other_files(self) -> list[Path]:
        """Return the files of all planes, there or missing."""
        return sorted(self.planes.files() - {self.path})


def _entry(
    found: PlaneSet, one: PlaneImage, shared: ImageMetadata, folders: dict[Path, set[str]]
) -> ImageEntry:
    warnings = one.warnings
    try:
        found.check(one, folders)
    except InputError as error:
        warnings = (*warnings, f"It will fail: {error}")
    return ImageEntry(
        series=one.series,
        found=shared.model_copy(update={**one.fields, "name": one.name}),
        plate=one.plate,
        well=one.well,
        field=one.field,
        warnings=warnings,
    )


def _reference(found: PlaneSet) -> tuple[PlaneImage, Image]:
    """Open the first file of the first image that is whole, or of one of the next.

    Raises
    ------
    InputError
        If none can be opened; it tells about the first.
    """
    problem: InputError | None = None
    for image in whole_images(found):
        try:
            return image, _open(found, image, (0, 0, 0))
        except InputError as error:
            problem = problem or error
    assert problem is not None
    raise problem


def _check_alike(found: PlaneSet, image: PlaneImage) -> None:
    """Refuse an image that is unlike the first of its set."""
    other, expected = _reference(found)
    with expected:
        if other is not image:
            with _open(found, image, (0, 0, 0)) as first:
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
            remedy=REMEDY,
        )


def _open(found: PlaneSet, image: PlaneImage, plane: Plane) -> Image:
    """Open a file of a set; what is wrong with it is told with its place."""
    from parfocal.images.opening import open_image

    where, path = found.place(image, plane), image.files[plane]
    try:
        opened = open_image(path, axes=found.axes)
    except InputError as error:
        raise _placed(error, where) from error
    if not found.many and opened.shape5[:3] != (1, 1, 1):
        opened.close()
        what = "A file of the plate holds more than one plane"
        remedy = "Describe the files by a .fileset.yaml, which may hold such files."
        size = opened.metadata.shape
        raise InputError(what, where=f"{where}: {path}", expected="Y, X", found=size, remedy=remedy)
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
    t, c, z = (a * b for a, b in zip(inner, outer, strict=False))
    values = {"name": image.name, "dtype": first.dtype.name}
    return ImageMetadata(**{**fields, **values, **kept_axes((t, c, z, *inner[3:]))})


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
            file = _open(self._set, self._image, plane)
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
            raise InputError(what, where=where, found="; ".join(news), remedy=REMEDY)
