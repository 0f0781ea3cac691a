"""Open a result by libraries that had no part in writing it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from parfocal.core.blocks import Readable, Region, Shape
from parfocal.core.digest import is_zarr
from parfocal.errors import InputError
from parfocal.images.image import Image
from parfocal.images.libraries import library
from parfocal.images.opening import open_image
from parfocal.images.proof.tiff_directory import TiffDirectories
from parfocal.images.proof.tiff_planes import TiffPlanes, find_pages
from parfocal.images.proof.zarr_levels import zarr_python_levels
from parfocal.images.readers.ome_zarr import read_attributes
from parfocal.models.image import ImageMetadata

__all__ = ["LevelPlace", "Result", "ResultError", "open_result"]


class ResultError(InputError):
    """The result cannot be read, which is a difference from its source."""


class _Guarded:
    """Pixels of which reading fails by ResultError, so that the fault can be told apart."""

    def __init__(self, pixels: Readable) -> None:
        self._pixels = pixels
        self.shape5 = pixels.shape5
        self.dtype = pixels.dtype

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X).

        Raises
        ------
        ResultError
            If they cannot be read.
        """
        try:
            return self._pixels.read(region)
        except InputError as error:
            raise _as_result_error(error) from error


def _as_result_error(error: InputError) -> ResultError:
    return ResultError(error.what, where=error.where, expected=error.expected, found=error.found)


@dataclass(frozen=True)
class LevelPlace:
    """Where a level of an OME-Zarr lies, for each of its axes in its own unit.

    Parameters
    ----------
    scale : tuple of float
        Size of a pixel.
    translation : tuple of float
        Place of the first pixel.
    """

    scale: tuple[float, ...]
    translation: tuple[float, ...]

    @classmethod
    def of(cls, dataset: Mapping[str, Any], axes: str) -> Self:
        """Read it from an entry of ``datasets``.

        Raises
        ------
        InputError
            If it has not one number for each axis.
        """
        values = {"scale": (1.0,) * len(axes), "translation": (0.0,) * len(axes)}
        try:
            for one in dataset.get("coordinateTransformations", ()):
                name = str(one["type"])
                values[name] = tuple(float(number) for number in one[name])
            fits = all(len(values[name]) == len(axes) for name in ("scale", "translation"))
        except (KeyError, TypeError, ValueError):
            fits = False
        if not fits:
            what = "The place of a level is not valid"
            found = dataset.get("coordinateTransformations")
            raise InputError(what, where=dataset.get("path"), expected=axes, found=found)
        return cls(values["scale"], values["translation"])


@dataclass(frozen=True)
class Result:
    """A result, open for comparison; to be closed.

    Parameters
    ----------
    metadata : ImageMetadata
        What it says about itself.
    levels : tuple of Readable
        All its resolutions, the full one first.
    library : str
        Name and version of the library that reads them.
    is_zarr : bool
        Whether it is an OME-Zarr, which keeps axes of length 1.
    shown : tuple of (str or None, str or None)
        Name and colour of each channel as viewers show them.
    original_metadata : mapping of str to bytes
        The texts of the source that it keeps.
    places : tuple of LevelPlace
        Where each level of an OME-Zarr lies.
    labels : bool
        Whether an OME-Zarr says that its pixels are labels.
    close : callable
        Releases the files.
    """

    metadata: ImageMetadata
    levels: tuple[Readable, ...]
    library: str
    is_zarr: bool
    close: Callable[[], None]
    shown: tuple[tuple[str | None, str | None], ...] = ()
    original_metadata: Mapping[str, bytes] = field(default_factory=dict)
    places: tuple[LevelPlace, ...] = ()
    labels: bool = False

    @property
    def shape5(self) -> Shape:
        """Size along T, C, Z, Y, X."""
        return self.levels[0].shape5

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along each of its axes."""
        sizes = zip("TCZYX", self.shape5, strict=True)
        return tuple(size for axis, size in sizes if axis in self.metadata.axes)


def open_result(path: Path, series: str, threads: int) -> Result:
    """Open one image of an OME-Zarr or OME-TIFF.

    Parameters
    ----------
    path : Path
        The result.
    series : str
        Which image of it; empty for the only one.
    threads : int
        How many chunks are decoded at once.

    Raises
    ------
    ResultError
        If it cannot be read.
    """
    with ExitStack() as undo:
        try:
            image = undo.enter_context(open_image(path, series, threads=threads))
            if is_zarr(path):
                result = _open_zarr(path / series if series else path, image, threads)
            else:
                result = _open_tiff(path, image)
        except InputError as error:
            raise _as_result_error(error) from error
        undo.pop_all()
    return replace(result, levels=tuple(_Guarded(level) for level in result.levels))


def _open_zarr(path: Path, image: Image, threads: int) -> Result:
    ome = read_attributes(path)["ome"]
    datasets, axes = ome["multiscales"][0]["datasets"], image.metadata.axes
    names = [str(one["path"]) for one in datasets]
    levels = zarr_python_levels(path, names, axes, threads, fast=True)
    return Result(
        metadata=image.metadata,
        levels=levels,
        library=f"{library('zarr', 'zarr-python')} with {library('zarrs')}",
        is_zarr=True,
        close=image.close,
        shown=_shown(ome),
        original_metadata=image.original_metadata,
        places=tuple(LevelPlace.of(one, axes) for one in datasets),
        labels="image-label" in ome,
    )


def _shown(ome: Mapping[str, Any]) -> tuple[tuple[str | None, str | None], ...]:
    rows = (ome.get("omero") or {}).get("channels") or ()
    return tuple((row.get("label"), row.get("color")) for row in rows)


def _open_tiff(path: Path, image: Image) -> Result:
    if image.plane_file is None:
        what = "The planes of the result are not pages"
        raise InputError(what, where=path)
    pages = find_pages(image.plane_file, image.shape5)
    levels: list[Readable] = [TiffPlanes(pages, image.shape5)]
    with TiffDirectories(path) as directories:
        different = set(pages.values())
        for number in range(len(pages[0, 0, 0].below)):
            found = {page: directories.at(page.below[number]) for page in different}
            smaller = {key: found[page] for key, page in pages.items()}
            levels.append(TiffPlanes(smaller, image.shape5))
    return Result(
        metadata=image.metadata,
        levels=tuple(levels),
        library=library("pillow", "Pillow"),
        is_zarr=False,
        close=image.close,
        original_metadata=image.original_metadata,
    )
