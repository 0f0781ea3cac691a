"""What a sample sheet says about the images of a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp

from parfocal.core.digest import is_zarr
from parfocal.core.step import Context
from parfocal.core.zipped_zarr import find_zipped_zarr
from parfocal.errors import InputError
from parfocal.images.image import ImageEntry
from parfocal.images.opening import list_images
from parfocal.images.readers import ome_zarr

__all__ = ["Listed", "list_file"]


@dataclass(frozen=True)
class Listed:
    """An image as a sheet lists it.

    Attributes
    ----------
    series : str
        Which image of the file it is; empty where that cannot be read.
    name : str
        What the source calls it, in one line.
    plate, well, field : str
        Where on a plate it was taken; empty if on none.
    group : str
        The series of several files that it is one of, as the source calls it.
    """

    series: str
    name: str = ""
    plate: str = ""
    well: str = ""
    field: str = ""
    group: str = ""


def list_file(path: Path, context: Context) -> list[Listed]:
    """List the images of a file or OME-Zarr; the file itself where it cannot be read.

    Parameters
    ----------
    path : Path
        The file.
    context : Context
        Takes a warning for all that cannot be read, is left out or is doubtful.
    """
    try:
        path = _unzipped(path, context.scratch)
        images = list_images(path)
    except InputError as error:
        context.warn(f"An image cannot be read and will fail: {error}")
        return _unread(path)
    for image in images:
        if image.refused:
            what = f"Image {image.series} of {path.name} cannot be read and will fail"
            context.warn(f"{what}: {image.refused}")
    aside = [f"{path.name}: {name}" for image in images for name in image.aside]
    what = "picture(s) beside images, such as a slide's label or projections, were left out"
    context.warn_of(what, aside)
    doubts = [f"{image.series}: {text}" for image in images for text in image.warnings]
    context.warn_of(f"warning(s) about images of {path.name}", doubts, at_most=10)
    return [_on_plate(_listed(image), path) for image in images]


def _unzipped(path: Path, scratch: Path) -> Path:
    """Return what a zip file says of its OME-Zarr, without the pixels; or `path` as it is."""
    zipped = find_zipped_zarr(path)
    if zipped is None:
        return path
    return zipped.unpack(Path(mkdtemp(dir=scratch)), documents_only=True)


def _unread(path: Path) -> list[Listed]:
    try:
        return [Listed(series) for series in ome_zarr.series_names(path)]
    except InputError:
        return [Listed("")]


def _listed(image: ImageEntry) -> Listed:
    name = "" if image.refused else image.metadata.name or ""
    texts = (name, image.plate, image.well, image.field, image.group)
    return Listed(image.series, *(_in_one_line(text) for text in texts))


def _on_plate(one: Listed, path: Path) -> Listed:
    """Add where an image of an OME-Zarr lies, if that is a plate."""
    if one.plate or not is_zarr(path):
        return one
    plate = ome_zarr.read_attributes(path)["ome"].get("plate")
    if plate is None:
        return one
    place = PurePosixPath(one.series)
    name = _in_one_line(str(plate.get("name") or path.name))
    return replace(one, plate=name, well="".join(place.parent.parts), field=place.name)


def _in_one_line(text: str) -> str:
    return " ".join(text.split())
