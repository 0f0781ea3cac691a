"""The images of a container on an OMERO server, with where they lie and what is written there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from parfocal.errors import InputError
from parfocal.models.annotation_entries import RUN_NAMESPACE
from parfocal.models.naming import well_name
from parfocal.models.source import OmeroSource
from parfocal.omero.connection import Connection
from parfocal.omero.images import OmeroImage, read_images
from parfocal.omero.queries import find_all, in_parts, project
from parfocal.omero.same_number import of_other_kinds

__all__ = ["ListedImage", "list_omero"]

_EXISTS = "select o.id from {} o where o.id in (:ids)"
_DATASET = (
    "select i.id, d.name from DatasetImageLink l join l.child i join l.parent d "
    "where d.id in (:ids) order by d.id, i.id"
)
_PROJECT = (
    "select i.id, d.name from ProjectDatasetLink k join k.child d join d.imageLinks l "
    "join l.child i where k.parent.id in (:ids) order by d.id, i.id"
)
_WELLS = (
    "select s.image.id, p.id, p.name, w.row, w.column, w.id, s.id from WellSample s join s.well w "
    "join w.plate p where {} in (:ids) order by p.id, w.row, w.column, s.id"
)
_SCREEN = "select l.child.id from ScreenPlateLink l where l.parent.id in (:ids) order by l.child.id"
_ANNOTATIONS = (
    "select l from {}AnnotationLink l join fetch l.child a where l.parent.id in (:ids) "
    "order by l.id"
)


@dataclass(frozen=True)
class ListedImage:
    """An image of a container.

    Attributes
    ----------
    image : OmeroImage
        What the server says of it.
    dataset : str
        Name of the dataset that it was found in; empty if in none.
    plate, well, field : str
        Where on a plate it was taken, such as ``B02`` and ``1``; empty if on none.
    tags : tuple of str
        Its tags, and those of its well.
    pairs : tuple of (str, str)
        Its key-value pairs of all namespaces but ours for runs, and those of its well.
    """

    image: OmeroImage
    dataset: str = ""
    plate: str = ""
    well: str = ""
    field: str = ""
    tags: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()


@dataclass
class _Place:
    dataset: str = ""
    plate: str = ""
    well: str = ""
    field: str = ""
    well_id: int | None = None
    tags: list[str] = dataclasses.field(default_factory=list)
    pairs: list[tuple[str, str]] = dataclasses.field(default_factory=list)


def list_omero(connection: Connection, source: OmeroSource) -> list[ListedImage]:
    """Return all images of an image, dataset, project, well, plate or screen, each once.

    Parameters
    ----------
    connection : Connection
        To the server of the source.
    source : OmeroSource
        What to list.

    Returns
    -------
    list of ListedImage
        In the order of datasets and images, or of plates, wells and fields.

    Raises
    ------
    InputError
        If there is no such object that the user may see.
    RemoteError
        If the server fails.
    """
    places = _places(connection, source)
    if not places:
        _demand(connection, source)
    ids = list(places)
    images = read_images(connection, ids)
    _annotate(connection, places)
    return [
        ListedImage(
            image,
            place.dataset,
            place.plate,
            place.well,
            place.field,
            tuple(place.tags),
            tuple(place.pairs),
        )
        for image, place in ((image, places[number]) for number, image in images.items())
    ]


def _demand(connection: Connection, source: OmeroSource) -> None:
    query = _EXISTS.format(source.kind.title())
    if not connection.call(partial(project, query=query, ids=[source.id])):
        what = f"There is no such {source.kind} on the OMERO server, or this user may not see it"
        others = of_other_kinds(connection, source)
        found = f"of this number {', '.join(others)}" if others else None
        remedy = "Check kind and id, and whether the user is in its group."
        raise InputError(what, where=source.uri, found=found, remedy=remedy)


def _places(connection: Connection, source: OmeroSource) -> dict[int, _Place]:
    ids = [source.id]
    if source.kind == "image":
        query = _EXISTS.format("Image")
        rows = connection.call(partial(project, query=query, ids=ids))
        return {number: _Place() for (number,) in rows}
    if source.kind in ("dataset", "project"):
        query = _DATASET if source.kind == "dataset" else _PROJECT
        rows = connection.call(partial(project, query=query, ids=ids))
        found: dict[int, _Place] = {}
        for number, dataset in rows:  # an image may lie in several datasets
            found.setdefault(number, _Place(dataset=dataset))
        return found
    if source.kind == "screen":
        plates = connection.call(partial(project, query=_SCREEN, ids=ids))
        ids = [plate for (plate,) in plates]
    column = "w.id" if source.kind == "well" else "p.id"
    return _fields(connection, _WELLS.format(column), ids) if ids else {}


def _fields(connection: Connection, query: str, ids: Sequence[int]) -> dict[int, _Place]:
    """Return the fields of wells; those of a well are numbered from 1 in their order."""
    rows = connection.call(partial(project, query=query, ids=ids))
    names = _plate_names(rows)
    seen: dict[int, int] = {}
    found: dict[int, _Place] = {}
    for number, plate, _, row, column, well, _ in rows:
        seen[well] = seen.get(well, 0) + 1
        name, position = well_name(row, column), str(seen[well])
        place = _Place(plate=names[plate], well=name, field=position, well_id=well)
        found.setdefault(number, place)
    return found


def _plate_names(rows: Sequence[tuple[object, ...]]) -> dict[object, str]:
    """Return a name of its own for each plate: with its number where two have the same."""
    names = {row[1]: str(row[2]) for row in rows}
    several = {name for name in names.values() if list(names.values()).count(name) > 1}
    return {
        plate: f"{name} [{plate}]" if name in several else name for plate, name in names.items()
    }


def _annotate(connection: Connection, places: Mapping[int, _Place]) -> None:
    """Add the tags and the key-value pairs of images, then those of their wells."""
    wells: dict[int, list[_Place]] = {}
    for place in places.values():
        if place.well_id is not None:
            wells.setdefault(place.well_id, []).append(place)
    for kind, told in (
        ("Image", {number: [place] for number, place in places.items()}),
        ("Well", wells),
    ):
        query = _ANNOTATIONS.format(kind)
        for part in in_parts(list(told)):
            for link in connection.call(partial(find_all, query=query, ids=part)):
                for place in told[link.parent.id.val]:
                    _add(place, link.child)


def _add(place: _Place, annotation: Any) -> None:
    kind = type(annotation).__name__
    if kind == "TagAnnotationI" and annotation.textValue is not None:
        place.tags.append(annotation.textValue.val)
    elif kind == "MapAnnotationI" and (annotation.ns is None or annotation.ns.val != RUN_NAMESPACE):
        place.pairs += [(pair.name, pair.value) for pair in annotation.mapValue or () if pair]
