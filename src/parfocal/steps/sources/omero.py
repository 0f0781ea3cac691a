"""Images on OMERO servers: their original files, or their raw pixels as OME-Zarr."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parfocal.core.publish import write_json
from parfocal.errors import ConfigurationError
from parfocal.models.found_image import FoundImage, columns_of
from parfocal.models.manifest import Manifest
from parfocal.models.source import OmeroSource
from parfocal.steps.sources.entry import entry_of
from parfocal.steps.sources.omero_pixels import fetch_part, fetch_whole
from parfocal.steps.sources.order import Order

if TYPE_CHECKING:
    from parfocal.omero.connection import Connection
    from parfocal.omero.credentials import Credentials
    from parfocal.omero.images import OmeroImage
    from parfocal.omero.listing import ListedImage
    from parfocal.steps.sources.inquiry import Inquiry

__all__ = ["fetch_omero", "list_omero_images"]

DESCRIPTION_NAME = "omero.json"
"""What the server says about the image besides its pixels, in the folder of originals."""

ATTACHED = "attachments"
"""The folder of the files that are attached to it."""

_TOLD = ("permalink", "id", "owner", "group")
"""What of the description the record tells too."""


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
    """Download the original file of an image, or write its raw pixels or a part as OME-Zarr.

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
        If it is not an image, or the server has no such part of it.
    InputError
        If there is no such image, it has no pixels, or its original file is asked for and
        cannot be had; or omero-py is not installed.
    RemoteError
        If the server does not answer, breaks off, or sends other bytes than it tells.
    """
    from parfocal.omero.connection import connect
    from parfocal.omero.images import read_image
    from parfocal.remote.kept import Kept

    if source.kind != "image":
        what = f"A source must be one image, not a {source.kind}"
        remedy = "Let 'parfocal list-images' write a row for each image in it."
        raise ConfigurationError(what, where=order.text, remedy=remedy)
    connection = connect(source.server, credentials)
    image = read_image(connection, source.id)
    order.context.warn_of("size(s) of pixels are no length or time, and not known", image.unknown)
    kept = Kept(order.folder, order.text)
    with kept.until_done():
        if order.part:
            manifest = fetch_part(connection, image, order)
        else:
            manifest = fetch_whole(connection, image, order, kept)
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
    order.context.details["omero"] |= {name: described[name] for name in _TOLD}
    return [f"{ATTACHED}/{name}" for name in fetched.values()]
