"""Label images as new images on the server, plane by plane."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from parfocal.core.blocks import Shape
from parfocal.errors import AccessError, InputError
from parfocal.models.annotation_entries import LabelImage
from parfocal.models.image import ImageMetadata
from parfocal.omero.annotate.deletion import mark_of
from parfocal.omero.annotate.materials import OpenLabels
from parfocal.omero.annotate.targets import Place, group_text, parse_target
from parfocal.omero.annotate.told import MAY_LINK
from parfocal.omero.connection import Connection
from parfocal.omero.queries import find_all, in_parts, project

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

__all__ = ["check_datasets", "datasets_of", "write_label_image"]

_LINKS = "select l.child.id, l.parent.id from DatasetImageLink l where l.child.id in (:ids)"
_DETAILS = "select d from Dataset d join fetch d.details.group where d.id in (:ids)"
_DATASETS = "select l.parent.id from DatasetImageLink l where l.child.id in (:ids) order by l.id"
_TYPES = {"uint8": "uint8", "uint16": "uint16", "int8": "int8", "int16": "int16"}
_WIDE = "double"
"""For labels of more than 16 bits: OMERO shows no image of 32-bit integers."""

_EXACT = 1 << 53
_STRIP_BYTES = 8 << 20


def check_datasets(connection: Connection, wanted: Sequence[tuple[LabelImage, Place]]) -> list[str]:
    """Refuse label images that may not go to their datasets, before anything is written.

    Parameters
    ----------
    connection : Connection
        To the server.
    wanted : sequence of (LabelImage, Place)
        What is to be made, and the image that it belongs to.

    Returns
    -------
    list of str
        Those that will lie in no dataset, since their images lie in none.

    Raises
    ------
    InputError
        If a dataset is missing, of another group, or the user may not put images into it.
    RemoteError
        If the server fails.
    """
    of_image: dict[int, list[int]] = {}
    for part in in_parts([place.source.id for _, place in wanted]):
        for image, dataset in connection.call(partial(project, query=_LINKS, ids=part)):
            of_image.setdefault(int(image), []).append(int(dataset))
    goes = [
        (entry, place, [parse_target(entry.dataset).id])
        if entry.dataset
        else (entry, place, of_image.get(place.source.id, []))
        for entry, place in wanted
    ]
    known = _details_of(connection, sorted({number for *_, several in goes for number in several}))
    for entry, place, several in goes:
        for number in several:
            _check_dataset(entry, place, number, known.get(number), connection.user_name)
    return [f"{entry.title} of {place.source.uri}" for entry, place, several in goes if not several]


def _details_of(connection: Connection, numbers: Sequence[int]) -> dict[int, Any]:
    """Return the details of those datasets that are there."""
    return {
        one.id.val: one.details
        for part in in_parts(numbers)
        for one in connection.call(partial(find_all, query=_DETAILS, ids=part))
    }


def _check_dataset(entry: LabelImage, place: Place, number: int, details: Any, user: str) -> None:
    where = f"{entry.title} of {place.source.uri}, dataset {number}"
    if details is None:
        what = "The dataset of a label image is not on the OMERO server, or not to be seen"
        remedy = "Correct its id, and plan the annotations again. Nothing was written."
        raise InputError(what, where=where, remedy=remedy)
    told = group_text(details)
    if details.group.id.val != place.group_id:
        what = "A label image goes to a dataset of another group than its image's"
        remedy = "Name a dataset of that group. Nothing was written."
        raise InputError(what, where=where, expected=place.group, found=told, remedy=remedy)
    if not details.permissions.canLink():
        what = "This user may not put a label image into the dataset"
        remedy = (
            "Ask the owner of the group to change it, log in as who owns the dataset, or plan "
            "with label_images=false. Nothing was written."
        )
        found = f"{user} in the group {told}"
        raise AccessError(what, where=where, expected=MAY_LINK, found=found, remedy=remedy)


def datasets_of(connection: Connection, entry: LabelImage, place: Place) -> list[int]:
    """Return the datasets that a label image goes to: the one that is named, or its image's.

    One comes once, also where several users have put the image into it.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    if entry.dataset is not None:
        return [parse_target(entry.dataset).id]
    rows = connection.call(partial(project, query=_DATASETS, ids=[place.source.id]))
    return list(dict.fromkeys(int(row[0]) for row in rows))


def write_label_image(
    connection: Connection, entry: LabelImage, labels: OpenLabels, place: Place, token: str
) -> int:
    """Write a label image as a new image, which lies in no dataset yet, and return its id.

    Parameters
    ----------
    connection : Connection
        In the group of the target.
    entry : LabelImage
        Its name.
    labels : OpenLabels
        The pixels (T, 1, Z, Y, X).
    place : Place
        The image that it belongs to.
    token : str
        By which it can be found.

    Raises
    ------
    InputError
        If its labels are too large for a number that OMERO keeps.
    RemoteError
        If the server fails.
    """
    return connection.once(
        partial(_write, entry=entry, labels=labels, image_id=place.source.id, token=token)
    )


def _write(
    gateway: BlitzGateway, entry: LabelImage, labels: OpenLabels, image_id: int, token: str
) -> int:
    kind = _TYPES.get(labels.dtype.name, _WIDE)
    told = f"Label image of image {image_id} [{mark_of(token)}]"
    number, pixels_id = _create(gateway, labels.metadata, kind, entry.name, told)
    # What one store has saved, no other may write again.
    store = gateway.c.sf.createRawPixelsStore(gateway.SERVICE_OPTS)
    try:
        store.setPixelsId(pixels_id, True, gateway.SERVICE_OPTS)
        for t, z, rows in _strips(labels.shape5):
            every = slice(0, labels.shape5[4])
            strip = labels.read((slice(t, t + 1), slice(0, 1), slice(z, z + 1), rows, every))
            data = _bytes(strip[0, 0, 0], kind)
            store.setTile(data, z, 0, t, 0, rows.start, every.stop, rows.stop - rows.start)
        store.save()
    finally:
        store.close()
    return number


def _strips(shape5: Shape) -> Iterator[tuple[int, int, slice]]:
    """Yield T, Z and rows of what is sent at once."""
    times, _, depth, height, width = shape5
    rows = max(1, _STRIP_BYTES // (width * 8))
    for t, z, start in itertools.product(range(times), range(depth), range(0, height, rows)):
        yield t, z, slice(start, min(start + rows, height))


def _bytes(tile: Any, kind: str) -> bytes:
    if kind != _WIDE:
        return bytes(tile.astype(tile.dtype.newbyteorder(">")).tobytes())
    if tile.size and int(tile.max()) > _EXACT:
        what = "A label is too large for OMERO, which keeps it as a floating point number"
        raise InputError(what, expected=f"up to {_EXACT}", found=int(tile.max()))
    return bytes(tile.astype(np.dtype(">f8")).tobytes())


def _create(
    gateway: BlitzGateway, metadata: ImageMetadata, kind: str, name: str, told: str
) -> tuple[int, int]:
    from omero.rtypes import rstring, unwrap
    from omero.sys import ParametersI

    parameters = ParametersI()
    parameters.add("kind", rstring(kind))
    query = "select t from PixelsType t where t.value = :kind"
    type_ = gateway.getQueryService().findByQuery(query, parameters, gateway.SERVICE_OPTS)
    t, _, z, y, x = metadata.shape5
    service = gateway.getPixelsService()
    number = service.createImage(x, y, z, t, [0], type_, name, told, gateway.SERVICE_OPTS)
    image_id = int(unwrap(number))
    pixels = project(gateway, "select p.id from Pixels p where p.image.id in (:ids)", [image_id])
    pixels_id = int(pixels[0][0])
    _set_sizes(gateway, pixels_id, metadata)
    return image_id, pixels_id


def _set_sizes(gateway: BlitzGateway, pixels_id: int, metadata: ImageMetadata) -> None:
    import omero
    from omero.model.enums import UnitsLength

    sizes = {"X": metadata.x_um, "Y": metadata.y_um, "Z": metadata.z_um}
    if not any(sizes.values()):
        return
    pixels = gateway.getQueryService().get("Pixels", pixels_id, gateway.SERVICE_OPTS)
    for axis, size in sizes.items():
        if size:
            setattr(
                pixels, f"physicalSize{axis}", omero.model.LengthI(size, UnitsLength.MICROMETER)
            )
    gateway.getUpdateService().saveObject(pixels, gateway.SERVICE_OPTS)
