"""Label images that are kept as images beside their own on a server, and read back as they were.

OMERO keeps labels of more than 16 bits as floating point numbers. What the label image was is
told by key-value pairs on the new image, by which it is found, too. As of attached files, each
user replaces and removes only his or her own, and who has none reads that of another. An image that
somebody has annotated or drawn ROIs on is not deleted: it only is no stored label image any more.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from parfocal.core.blocks import Readable, Region, Shape
from parfocal.errors import InputError, ParfocalError
from parfocal.models.annotation_entries import LabelImage, ResultFile
from parfocal.models.base import explain_validation
from parfocal.models.image import ImageMetadata
from parfocal.models.source import OmeroSource
from parfocal.omero.annotate.label_images import datasets_of, write_label_image
from parfocal.omero.annotate.materials import OpenLabels
from parfocal.omero.annotate.targets import Place
from parfocal.omero.annotate.texts import new_link
from parfocal.omero.attachments import place_to_annotate
from parfocal.omero.connection import Connection
from parfocal.omero.deleting import delete_objects
from parfocal.omero.queries import in_parts, project

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

__all__ = ["KeptLabels", "StoredLabels", "find_labels", "remove_labels", "store_labels"]

logger = logging.getLogger(__name__)

_METADATA = "metadata"
_FIND = (
    "select l.parent.id, a.id, a.details.group.id, a.details.owner.id, "
    "a.details.updateEvent.time from ImageAnnotationLink l, MapAnnotation a "
    "where l.child.id = a.id and a.ns = :ns and a.description = :key "
    "and l.parent.details.owner.id = a.details.owner.id "
    "and l.details.creationEvent.id = a.details.creationEvent.id order by a.id desc"
)
"""Nobody makes an image of somebody else a label image by annotating it, nor one of their own by
linking our pairs to it: these are saved in one call with their link.
"""

_ANNOTATED = "select l.parent.id, l.child.id from ImageAnnotationLink l where l.parent.id in (:ids)"
_DRAWN_ON = "select r.image.id, r.id from Roi r where r.image.id in (:ids)"
"""What would go with an image: its id, and the id of what it carries."""


@dataclass(frozen=True)
class StoredLabels:
    """A label image on the server.

    Attributes
    ----------
    image_id, annotation_id, group_id, owner_id : int
        Of the image that holds it, of the key-value pairs that say so, of their group and owner.
    updated_s : float
        When it was stored, by the clock of the server, in seconds since 1970.
    metadata : ImageMetadata
        Of the label image as it was.
    told : dict of str to str
        What else was told when it was stored.
    """

    image_id: int
    annotation_id: int
    group_id: int
    owner_id: int
    updated_s: float
    metadata: ImageMetadata
    told: dict[str, str]


class KeptLabels:
    """Pixels of an image on the server, as the labels that they were.

    Parameters
    ----------
    pixels : Readable
        As OMERO keeps them.
    dtype : str
        What they were.
    """

    def __init__(self, pixels: Readable, dtype: str) -> None:
        self._pixels = pixels
        self._dtype = np.dtype(dtype)

    @property
    def shape5(self) -> Shape:
        """Size along T, C, Z, Y, X."""
        return self._pixels.shape5

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the labels."""
        return self._dtype

    def read(self, region: Region) -> NDArray[Any]:
        """Return the labels of `region` as an array (T, C, Z, Y, X)."""
        return self._pixels.read(region).astype(self._dtype)


def find_labels(
    connection: Connection, target: OmeroSource, name: str, namespace: str
) -> list[StoredLabels]:
    """Return the label images of a name that were stored for an image.

    The user's own come first, then those of others; of each the newest first.

    Raises
    ------
    ParfocalError
        As `Connection.call` does.
    """
    return connection.call(partial(_find, key=_key(target, name), namespace=namespace))


def store_labels(
    connection: Connection,
    target: OmeroSource,
    labels: OpenLabels,
    told: Mapping[str, str],
    name: str,
    namespace: str,
) -> None:
    """Write a label image as a new image in the datasets of its image.

    The user's own of that name is removed when the new one is there; those of others stay.

    Parameters
    ----------
    connection : Connection
        To the server of `target`.
    target : OmeroSource
        The image that it belongs to.
    labels : OpenLabels
        Its pixels (T, 1, Z, Y, X).
    told : mapping of str to str
        What else is to be known when it is read back.
    name, namespace : str
        Of the new image, and of the key-value pairs by which it is found.

    Raises
    ------
    InputError
        If there is no such image, the user may not annotate it, it is no label image, or its
        labels are too large for a number that OMERO keeps.
    RemoteError
        If the server fails.
    """
    if labels.shape5[1] != 1 or labels.dtype.kind not in "ui":
        what = "This is no label image"
        found = f"{labels.shape5[1]} channel(s) of {labels.dtype}"
        expected = "one channel of integers"
        raise InputError(what, where=name, expected=expected, found=found)
    try:
        entry = LabelImage.planned(target.uri, name=name, labels=ResultFile(path="labels"))
    except ValidationError as error:
        what = f"OMERO cannot hold this label image: {explain_validation(error)}"
        raise InputError(what, where=name) from error
    place = place_to_annotate(connection, target)
    pairs = {**told, _METADATA: labels.metadata.model_dump_json()}
    with connection.in_group(place.group_id):
        old = _own(connection, target, name, namespace)
        datasets = datasets_of(connection, entry, place)
        token, key = str(uuid4()), _key(target, name)
        try:
            image_id = write_label_image(connection, entry, labels, place, token)
            made = Place(OmeroSource(target.server, "image", image_id), place.group_id)
            tell = partial(_tell, made=made, datasets=datasets, pairs=pairs)
            connection.call(partial(tell, key=key, namespace=namespace))
        except ParfocalError:
            with suppress(ParfocalError):
                connection.call(partial(_delete_made, token=token))
            raise
        _remove(connection, old)


def remove_labels(connection: Connection, target: OmeroSource, name: str, namespace: str) -> None:
    """Remove the user's own label images of a name that were stored for an image.

    Raises
    ------
    ParfocalError
        As `Connection.call` does.
    """
    found = _own(connection, target, name, namespace)
    for group_id in {each.group_id for each in found}:
        with connection.in_group(group_id):
            _remove(connection, [each for each in found if each.group_id == group_id])


def _own(
    connection: Connection, target: OmeroSource, name: str, namespace: str
) -> list[StoredLabels]:
    found = find_labels(connection, target, name, namespace)
    return [each for each in found if each.owner_id == connection.user_id]


def _remove(connection: Connection, found: list[StoredLabels]) -> None:
    if found:
        connection.call(partial(_delete, found=found))


def _delete(gateway: BlitzGateway, found: list[StoredLabels]) -> None:
    """Delete label images; of those that carry something of users, only what marks them."""
    marks = {each.image_id: each.annotation_id for each in found}
    carrying = {
        image
        for query, ours in ((_ANNOTATED, marks), (_DRAWN_ON, {}))
        for part in in_parts(list(marks))
        for image, other in project(gateway, query, part)
        if other != ours.get(image)
    }
    delete_objects(gateway, "Image", [image for image in marks if image not in carrying])
    delete_objects(gateway, "MapAnnotation", [marks[image] for image in sorted(carrying)])
    for image in sorted(carrying):
        told = (
            "image %d was a label image and stays, since somebody annotated it or drew ROIs on it"
        )
        logger.warning(told, image)


def _key(target: OmeroSource, name: str) -> str:
    return f"labels of image {target.id}: {name}"


def _find(gateway: BlitzGateway, key: str, namespace: str) -> list[StoredLabels]:
    from omero.rtypes import rstring, unwrap
    from omero.sys import ParametersI

    parameters = ParametersI()
    parameters.add("ns", rstring(namespace))
    parameters.add("key", rstring(key))
    service = gateway.getQueryService()
    found = []
    for row in service.projection(_FIND, parameters, gateway.SERVICE_OPTS):
        image, annotation, group, owner, updated_ms = unwrap(row)
        pairs = service.get("MapAnnotation", annotation, gateway.SERVICE_OPTS).getMapValue()
        told = {pair.name: pair.value for pair in pairs}
        metadata = ImageMetadata.model_validate_json(told.pop(_METADATA))
        updated_s = updated_ms / 1000
        found.append(StoredLabels(image, annotation, group, owner, updated_s, metadata, told))
    return sorted(found, key=lambda each: each.owner_id != gateway.getUserId())


def _tell(
    gateway: BlitzGateway,
    made: Place,
    datasets: list[int],
    pairs: dict[str, str],
    key: str,
    namespace: str,
) -> None:
    """Tell what a new image is, and put it into datasets, unless an earlier call has done it."""
    import omero
    from omero.rtypes import rstring

    if any(each.image_id == made.source.id for each in _find(gateway, key, namespace)):
        return
    annotation = omero.model.MapAnnotationI()
    annotation.ns, annotation.description = rstring(namespace), rstring(key)
    annotation.mapValue = [omero.model.NamedValue(*pair) for pair in pairs.items()]
    links = [new_link(made, annotation)]
    for dataset in datasets:
        link = omero.model.DatasetImageLinkI()
        link.parent = omero.model.DatasetI(dataset, False)
        link.child = omero.model.ImageI(made.source.id, False)
        links.append(link)
    gateway.getUpdateService().saveArray(links, gateway.SERVICE_OPTS)


def _delete_made(gateway: BlitzGateway, token: str) -> None:
    from omero.rtypes import rstring, unwrap
    from omero.sys import ParametersI

    parameters = ParametersI()
    parameters.add("within", rstring(f"%{token}%"))
    query = "select i.id from Image i where i.description like :within"
    rows = gateway.getQueryService().projection(query, parameters, gateway.SERVICE_OPTS)
    delete_objects(gateway, "Image", [unwrap(row)[0] for row in rows])
