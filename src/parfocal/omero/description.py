"""All that an OMERO server says about an image besides its pixels, as plain values for JSON."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from parfocal.errors import InputError
from parfocal.omero.connection import Connection
from parfocal.omero.images import OmeroImage
from parfocal.omero.queries import find_all, project
from parfocal.omero.roi_parts import roi_parts

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

__all__ = ["describe"]

_IMAGE = (
    "select i from Image i left outer join fetch i.instrument n "
    "left outer join fetch n.microscope m left outer join fetch m.type "
    "left outer join fetch i.objectiveSettings s left outer join fetch s.objective o "
    "left outer join fetch o.immersion left outer join fetch o.correction "
    "left outer join fetch i.imagingEnvironment left outer join fetch i.stageLabel "
    "where i.id in (:ids)"
)
_CHANNELS = (
    "select p from Pixels p left outer join fetch p.channels c "
    "left outer join fetch c.logicalChannel l left outer join fetch l.illumination "
    "left outer join fetch l.mode left outer join fetch l.contrastMethod where p.image.id in (:ids)"
)
_ANNOTATIONS = (
    "select l from ImageAnnotationLink l join fetch l.child a "
    "join fetch a.details.owner join fetch l.details.owner "
    "left outer join fetch a.file where l.parent.id in (:ids) order by l.id"
)
_ROI_IDS = "select r.id from Roi r where r.image.id in (:ids) order by r.id"
_ROIS = "select r from Roi r left outer join fetch r.shapes where r.id in (:ids)"
_PARENTS = {
    "datasets": "select d.id, d.name from DatasetImageLink l join l.parent d "
    "where l.child.id in (:ids) order by d.id",
    "projects": "select p.id, p.name from ProjectDatasetLink l join l.parent p "
    "where l.child.id in (select k.parent.id from DatasetImageLink k where k.child.id in (:ids)) "
    "order by p.id",
    "wells": "select w.id, w.row, w.column, p.id, p.name from WellSample s join s.well w "
    "join w.plate p where s.image.id in (:ids) order by w.id",
}
_PARENT_KEYS = {
    "datasets": ("id", "name"),
    "projects": ("id", "name"),
    "wells": ("id", "row", "column", "plate", "plate_name"),
}
_TABLE = "OMERO.tables"
_UNTOLD = frozenset({"details", "version", "id"})


def describe(connection: Connection, image: OmeroImage) -> dict[str, Any]:
    """Return what the server says about an image.

    Parameters
    ----------
    connection : Connection
        To the server.
    image : OmeroImage
        What `read_image` found.

    Returns
    -------
    dict
        Ids, owner, group, permalink; instrument, objective, channels; where it lies; annotations
        with namespace and owner; tables and attachments by name; ROIs with their shapes.

    Raises
    ------
    InputError
        If the image is gone since then, or the server refuses.
    RemoteError
        If the server fails.
    """
    server = connection.server
    uri = f"{server.uri}/image/{image.id}"
    number = [image.id]
    rois = list(_rois(connection, number))
    found = connection.call(partial(_ask, number=number))
    if found is None:
        what = "The image is gone from the OMERO server since it was begun to be fetched"
        found_now = "none of this id that this user may see"
        remedy = "Ask its owner; if it was deleted, take it out of the sample sheet."
        raise InputError(what, where=uri, found=found_now, remedy=remedy)
    return {
        "uri": uri,
        "permalink": f"https://{server.host}/webclient/?show=image-{image.id}",
        "id": image.id,
        "name": image.name,
        "pixels_id": image.pixels_id,
        "fileset_id": image.fileset_id,
        "owner": image.owner,
        "group": {"id": image.group_id, "name": image.group},
        **found,
        "rois": rois,
    }


def _ask(gateway: BlitzGateway, number: Sequence[int]) -> dict[str, Any] | None:
    """Return what is asked for together, None where there is no such image."""
    pixels = find_all(gateway, _CHANNELS, number)
    links = find_all(gateway, _ANNOTATIONS, number)
    parents = {
        kind: [
            dict(zip(_PARENT_KEYS[kind], row, strict=True))
            for row in project(gateway, query, number)
        ]
        for kind, query in _PARENTS.items()
    }
    # Last: what came before is then of an image that was there, and not empty since it had gone.
    images = find_all(gateway, _IMAGE, number)
    if not images:
        return None
    image = images[0]
    settings = image.objectiveSettings
    return {
        "description": None if image.description is None else image.description.val,
        "acquired_ms": None if image.acquisitionDate is None else image.acquisitionDate.val,
        "microscope": _told(image.instrument.microscope) if image.instrument else None,
        "objective": _told(settings.objective) if settings else None,
        "objective_settings": _told(settings),
        "environment": _told(image.imagingEnvironment),
        "stage": _told(image.stageLabel),
        "channels": [
            (_told(channel) or {}) | {"logical": _told(channel.logicalChannel)}
            for each in pixels
            for channel in each.copyChannels()
        ],
        **parents,
        "annotations": [_annotation(link.child) for link in links],
    }


def _annotation(annotation: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "kind": type(annotation).__name__.removesuffix("I").removesuffix("Annotation").lower(),
        "id": annotation.id.val,
        "owner": annotation.details.owner.omeName.val,
    }
    values = _told(annotation) or {}
    told |= {name: value for name, value in values.items() if value is not None}
    pairs = getattr(annotation, "mapValue", None)
    if pairs is not None:
        told["pairs"] = [[pair.name, pair.value] for pair in pairs if pair is not None]
    file = getattr(annotation, "file", None)
    if file is not None:
        told["file"] = (_told(file) or {}) | {"id": file.id.val}
        if told["file"].get("mimetype") == _TABLE:
            told["kind"] = "table"
    return told


def _rois(connection: Connection, number: Sequence[int]) -> Iterator[dict[str, Any]]:
    rows = connection.call(partial(project, query=_ROI_IDS, ids=number))
    for part in roi_parts(connection, [row[0] for row in rows]):
        rois = connection.call(partial(find_all, query=_ROIS, ids=part))
        for roi in sorted(rois, key=lambda roi: roi.id.val):  # a server has no order of its own
            shapes = [shape for shape in roi.copyShapes() if shape is not None]
            yield {
                "id": roi.id.val,
                "name": None if roi.name is None else roi.name.val,
                "shapes": [
                    {"kind": type(shape).__name__.removesuffix("I").lower()} | (_told(shape) or {})
                    for shape in shapes
                ],
            }


def _told(entity: Any) -> dict[str, Any] | None:
    """Return the plain values of a loaded object of OMERO, with units, without what is not set."""
    if entity is None or not entity.isLoaded():
        return None
    told: dict[str, Any] = {}
    for name in type(entity)._field_info._fields:  # noqa: SLF001  # the only list of them
        value = None if name in _UNTOLD else _plain(getattr(entity, f"_{name}", None))
        if value is not None:
            told[name] = value
    return told


def _plain(value: Any) -> Any:
    """Return a value of the wire as one of JSON; None of what is neither plain nor a quantity."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if hasattr(value, "getUnit"):
        return {"value": value.getValue(), "unit": value.getUnit().name}
    if hasattr(value, "val"):
        return value.val
    named: Any = getattr(value, "_value", None)  # an enumeration
    return named.val if hasattr(named, "val") else None
