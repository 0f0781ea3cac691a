"""Pixels of an image on an OMERO server: its original file, its raw pixels, or a part of these."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from parfocal.core.publish import remove_tree
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.image import ImageMetadata
from parfocal.models.manifest import Manifest
from parfocal.steps.sources.entry import entry_of
from parfocal.steps.sources.order import Order
from parfocal.steps.sources.part import manifest_of_part, part_path

if TYPE_CHECKING:
    from parfocal.images.cropping import Level
    from parfocal.omero.connection import Connection
    from parfocal.omero.images import OmeroImage
    from parfocal.omero.originals import OriginalFile
    from parfocal.omero.resolutions import Resolution
    from parfocal.remote.kept import Kept

__all__ = ["fetch_part", "fetch_whole"]

logger = logging.getLogger(__name__)

ORIGINALS = "files"
"""The folder of the files that the image was imported from."""

_WHY = "why_not_original"


def fetch_whole(connection: Connection, image: OmeroImage, order: Order, kept: Kept) -> Manifest:
    """Download the original file of an image, or write its raw pixels as OME-Zarr.

    What an interrupted attempt at the same image left in the folder is gone on with.

    Parameters
    ----------
    connection : Connection
        To the server.
    image : OmeroImage
        What it says about the image.
    order : Order
        What is to be fetched.
    kept : Kept
        The note of the folder, which the caller removes when all has come.

    Raises
    ------
    InputError
        If it has no pixels, or its original file is asked for and cannot be had.
    RemoteError
        If the server does not answer, breaks off, or sends other bytes than it tells.
    """
    facts = {"pixels": image.pixels_id, "updated_ms": image.updated_ms, "from": order.pixels}
    why = kept.facts().get(_WHY)
    if kept.begin(facts | ({_WHY: why} if why else {})):
        logger.info("%s: going on with what an interrupted attempt left", order.text)
    else:
        for entry in list(order.folder.iterdir()):
            remove_tree(entry)
        kept.note(facts)
        why = None
    why = why or _why_not_original(image, order)
    if why is None:
        found = _fetch_original(connection, image, order)
        if isinstance(found, Manifest):
            _tell(order, "original")
            return found
        why = found
        if order.pixels == "auto":
            kept.note(facts | {_WHY: why})
    _tell_refused(image, why, order)
    return _fetch_raw(connection, image, order)


def _tell_refused(image: OmeroImage, why: str, order: Order) -> None:
    """Say why the pixels are read, and not the file that is there.

    Raises
    ------
    InputError
        If the file was asked for.
    """
    if order.pixels == "original":
        what = "The original file of this image cannot be taken"
        remedy = "Set pixels of fetch-image to auto or raw."
        raise InputError(what, where=order.text, found=why, remedy=remedy)
    if _why_not_original(image, order) is None:
        order.context.warn(f"{order.text}: raw pixels are read instead of the file, since {why}")
    _tell(order, "raw", why)


def _fetch_original(connection: Connection, image: OmeroImage, order: Order) -> Manifest | str:
    """Download the files of an image; return the reason where its pixels are to be read."""
    from parfocal.omero.originals import download_originals, list_originals

    if image.fileset_id is None:
        return "the server has no file of it"
    files = list_originals(connection, image.fileset_id)
    folder = order.folder / ORIGINALS
    download_originals(connection, files, folder, order.context.progress)
    series, why = _find_series(image, files, order)
    if why is None:
        return _manifest(files, series, order)
    remove_tree(folder)
    return why


def _why_not_original(image: OmeroImage, order: Order) -> str | None:
    if order.pixels == "raw":
        return "raw pixels are asked for"
    if image.fileset_id is None:
        return "the server has no file of it"
    if not image.downloadable:
        return "the server does not let this user download its file"
    if image.in_fileset > 1 and order.pixels == "auto":
        # Each image would bring the files of all.
        return f"its files hold {image.in_fileset} images"
    return None


def _find_series(
    image: OmeroImage, files: list[OriginalFile], order: Order
) -> tuple[str | None, str | None]:
    """Return which image of the files it is, if they hold several; or why it is not there."""
    from parfocal.images import list_images

    if not files:
        return None, "the server tells of no file"
    try:
        entries = list_images(order.folder / ORIGINALS / files[0].path)
    except InputError as error:
        return None, f"its file cannot be read here: {error}"
    if len(entries) != image.in_fileset or image.series >= len(entries):
        return None, f"its files hold {len(entries)} images here, {image.in_fileset} on the server"
    entry = entries[image.series]
    if entry.refused:
        return None, f"its file cannot be read here: {entry.refused}"
    found, told = entry.metadata, image.metadata
    if told and (found.shape5, found.dtype) != (told.shape5, told.dtype):
        here, there = (f"{one.shape5} {one.dtype}" for one in (found, told))
        return None, f"its file is (T, C, Z, Y, X) {here} here, and {there} on the server"
    return (entry.series if len(entries) > 1 else None), None


def _manifest(files: list[OriginalFile], series: str | None, order: Order) -> Manifest:
    names = [f"{ORIGINALS}/{file.path}" for file in files]
    entries = [entry_of(order.folder / name, name, order.context) for name in names]
    return Manifest(source=order.text, files=tuple(entries), primary=names[0], series=series)


def _fetch_raw(connection: Connection, image: OmeroImage, order: Order) -> Manifest:
    from parfocal.images import write_ome_zarr
    from parfocal.omero.pixels import OmeroPixels

    name = f"image-{image.id}.ome.zarr"
    context = order.context
    credentials = connection.credentials
    with OmeroPixels(connection.server, image, credentials=credentials) as pixels:
        write_ome_zarr(
            order.folder / name,
            pixels.metadata,
            pixels,
            threads=max(context.threads, pixels.reads_at_once),
            progress=context.progress,
            resume=True,
        )
    entry = entry_of(order.folder / name, name, context)
    return Manifest(source=order.text, files=(entry,), primary=name)


def fetch_part(connection: Connection, image: OmeroImage, order: Order) -> Manifest:
    """Write a level of an image, or a region of one, as OME-Zarr; no other pixels come.

    Raises
    ------
    ConfigurationError
        If the server has no such level, the region reaches beyond it, or the part is to come from
        the original file.
    InputError
        If the image has no pixels.
    RemoteError
        If the server does not answer, or breaks off.
    """
    from parfocal.images.cropping import plan_crop, write_crop
    from parfocal.omero.pixels import OmeroPixels, known_pixels
    from parfocal.omero.resolutions import read_resolutions

    if order.pixels == "original":
        what = "Of an original file no part can be fetched"
        remedy = "Set pixels to raw, or leave out level, max_pixel_um and region."
        raise ConfigurationError(what, where=order.text, found="pixels: original", remedy=remedy)
    metadata, pixels_id = known_pixels(image, order.text)
    resolutions = read_resolutions(connection, pixels_id, *metadata.shape5[3:])
    levels = [_level(metadata, each) for each in resolutions]
    part, context = order.part, order.context
    crop = plan_crop(metadata, levels, part.level, part.max_pixel_um, part.region, order.text)
    target = part_path(f"image-{image.id}", order)
    with OmeroPixels(
        connection.server,
        image,
        credentials=connection.credentials,
        resolution=resolutions[crop.level],
    ) as pixels:
        threads = max(context.threads, pixels.reads_at_once)
        write_crop(crop, pixels, target, threads=threads, progress=context.progress)
    _tell(order, "raw", "a part is asked for")
    return manifest_of_part(crop, target, order)


def _level(metadata: ImageMetadata, resolution: Resolution) -> Level:
    """Return what is known of a resolution; its first pixel covers the first of the full one."""
    from parfocal.images.cropping import Level

    t, c, z, _, _ = metadata.shape5
    factors = {"Y": resolution.factor_y, "X": resolution.factor_x}
    full = {
        "T": metadata.time_increment_s,
        "Z": metadata.z_um,
        "Y": metadata.y_um,
        "X": metadata.x_um,
    }
    known = {axis: size for axis, size in full.items() if size is not None}
    return Level(
        (t, c, z, resolution.height, resolution.width),
        {axis: size * factors.get(axis, 1.0) for axis, size in known.items()},
        {axis: (factors[axis] - 1) / 2 * known[axis] for axis in "YX" if axis in known},
    )


def _tell(order: Order, pixels: str, why: str | None = None) -> None:
    told: dict[str, Any] = {"pixels": pixels}
    if why:
        told["why_not_original"] = why
    order.context.details["omero"] = told
