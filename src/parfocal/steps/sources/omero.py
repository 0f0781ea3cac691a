"""Images on OMERO servers: their original files, or their raw pixels as OME-Zarr."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from parfocal.core.publish import write_json
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.found_image import FoundImage, columns_of
from parfocal.models.manifest import Manifest
from parfocal.models.source import OmeroSource
from parfocal.steps.sources.local import entry_of
from parfocal.steps.sources.order import Order
from parfocal.steps.sources.part import refuse_part

if TYPE_CHECKING:
    from parfocal.omero.connection import Connection
    from parfocal.omero.credentials import Credentials
    from parfocal.omero.images import OmeroImage
    from parfocal.omero.listing import ListedImage
    from parfocal.omero.originals import OriginalFile
    from parfocal.steps.sources.inquiry import Inquiry

__all__ = ["fetch_omero", "list_omero_images"]

DESCRIPTION_NAME = "omero.json"
"""What the server says about the image besides its pixels, in the folder of originals."""

ATTACHED = "attachments"
"""The folder of the files that are attached to it."""

ORIGINALS = "files"
"""The folder of the files that the image was imported from."""


def list_omero_images(source: OmeroSource, inquiry: Inquiry) -> list[FoundImage]:
    """Return the images of an image, dataset, project, well, plate or screen of a server.

    Sizes, owner, group, dataset, key-value pairs and tags are columns.

    Raises
    ------
    InputError
        If there is no such object, or omero-py is not installed.
    RemoteError
        If the server does not answer.
    """
    from parfocal.omero.connection import connect
    from parfocal.omero.listing import list_omero

    connection = connect(source.server)
    found = [each for each in list_omero(connection, source) if inquiry.wants(each.image.name)]
    if source.kind != "image":
        ours = [f"{each.image.id} ({each.image.name})" for each in found if each.image.is_result]
        found = [each for each in found if not each.image.is_result]
        inquiry.context.warn_of("label image(s) that Parfocal wrote were left out", ours)
    without = [f"{each.image.id} ({each.image.refused})" for each in found if each.image.refused]
    inquiry.context.warn_of("image(s) have no pixels that can be read, and will fail", without)
    return [_found(each, source) for each in found]


def _found(listed: ListedImage, source: OmeroSource) -> FoundImage:
    image = listed.image
    known = {"dataset": listed.dataset, "owner": image.owner, "group": image.group}
    if image.metadata:
        sizes = zip("tczyx", image.metadata.shape5, strict=True)
        known |= {f"size_{axis}": str(size) for axis, size in sizes}
        known |= {"dtype": image.metadata.dtype}
        known |= {"channels": "; ".join(image.metadata.channel_names())}
    told = columns_of(listed.pairs, listed.tags)
    columns = columns_of((key, value) for key, value in known.items() if value)
    columns |= {f"key:{key}" if key in known else key: value for key, value in told.items()}
    if source.kind != "image":
        columns["omero_container"] = source.uri
    place = OmeroSource(source.server, "image", image.id)
    name = " ".join(image.name.split())
    return FoundImage(place.uri, name, listed.plate, listed.well, listed.field, columns)


def fetch_omero(
    source: OmeroSource, order: Order, credentials: Credentials | None = None
) -> Manifest:
    """Download the original file of an image, or write its raw pixels as OME-Zarr.

    What the server says about the image lies beside it, in ``omero.json``, and what is attached
    to it in a folder, if that is asked for.

    Parameters
    ----------
    source : OmeroSource
        The image.
    order : Order
        What is to be fetched.
    credentials : Credentials, optional
        Who logs in; by default what the environment or a session file says.

    Raises
    ------
    ConfigurationError
        If it is not an image, or a part of one is wanted.
    InputError
        If there is no such image, it has no pixels, or its original file is asked for and
        cannot be had; or omero-py is not installed.
    RemoteError
        If the server does not answer, breaks off, or sends other bytes than it tells.
    """
    from parfocal.omero.connection import connect
    from parfocal.omero.images import read_image

    if source.kind != "image":
        what = f"A source must be one image, not a {source.kind}"
        remedy = "Let 'parfocal list-images' write a row for each image in it."
        raise ConfigurationError(what, where=order.text, remedy=remedy)
    if order.part:
        raise refuse_part(order.text)
    connection = connect(source.server, credentials)
    image = read_image(connection, source.id)
    order.context.warn_of("size(s) of pixels are no length or time, and not known", image.unknown)
    manifest = _fetch_original(connection, image, order) or _fetch_raw(connection, image, order)
    names = [DESCRIPTION_NAME, *_describe(connection, image, order)]
    entries = [entry_of(order.folder / name, name, order.context) for name in names]
    return manifest.model_copy(update={"files": (*manifest.files, *entries)})


def _describe(connection: Connection, image: OmeroImage, order: Order) -> list[str]:
    """Write down what the server says; return the names of what was attached and has come."""
    from parfocal.omero.attached_files import download_attached
    from parfocal.omero.description import describe

    described = describe(connection, image)
    fetched: dict[int, str] = {}
    if order.attachments:
        folder = order.folder / ATTACHED
        fetched = download_attached(connection, described["annotations"], folder)
        for annotation in described["annotations"]:
            if annotation["id"] in fetched:
                annotation["path"] = f"{ATTACHED}/{fetched[annotation['id']]}"
    write_json(order.folder / DESCRIPTION_NAME, described)
    return [f"{ATTACHED}/{name}" for name in fetched.values()]


def _fetch_original(connection: Connection, image: OmeroImage, order: Order) -> Manifest | None:
    """Download the files of an image; None, with the reason, where its pixels are to be read."""
    why = _why_not_original(image, order)
    if why is None and image.fileset_id is not None:
        from parfocal.omero.originals import download_originals, list_originals

        files = list_originals(connection, image.fileset_id)
        folder = order.folder / ORIGINALS
        download_originals(connection, files, folder, order.context.progress)
        series, why = _find_series(image, files, order)
        if why is None:
            _tell(order, "original")
            return _manifest(files, series, order)
        shutil.rmtree(folder)
        if order.pixels == "auto":
            order.context.warn(
                f"{order.text}: raw pixels are read instead of the file, since {why}"
            )
    if order.pixels == "original":
        what = "The original file of this image cannot be taken"
        remedy = "Set pixels of fetch-image to auto or raw."
        raise InputError(what, where=order.text, found=why, remedy=remedy)
    _tell(order, "raw", why)
    return None


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
            threads=context.threads,
            progress=context.progress,
        )
    entry = entry_of(order.folder / name, name, context)
    return Manifest(source=order.text, files=(entry,), primary=name)


def _tell(order: Order, pixels: str, why: str | None = None) -> None:
    told: dict[str, Any] = {"pixels": pixels}
    if why:
        told["why_not_original"] = why
    order.context.details["omero"] = told
