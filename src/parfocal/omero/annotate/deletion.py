"""Delete what is ours on a server, and only that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from parfocal.models.source import OmeroSource
from parfocal.omero.annotate.journal import Objects, Owned
from parfocal.omero.annotate.targets import kind_name
from parfocal.omero.connection import Connection
from parfocal.omero.deleting import delete_objects, still_there
from parfocal.omero.images import RESULT_MARK
from parfocal.omero.queries import in_parts, project

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

__all__ = ["TAG_SET", "delete_owned", "existing", "find_marked", "linked_elsewhere", "mark_of"]

TAG_SET = "TagSet"
"""What the journal calls a tag that holds tags."""

_LINKED = (
    *("Channel", "Dataset", "Detector", "Dichroic", "Experimenter", "ExperimenterGroup"),
    *("Fileset", "Filter", "Folder", "Image", "Instrument", "LightPath", "LightSource"),
    *("Namespace", "Node", "Objective", "OriginalFile", "PlaneInfo", "Plate"),
    *("PlateAcquisition", "Project", "Reagent", "Roi", "Screen", "Session", "Shape", "Well"),
)
"""All that OMERO links annotations to, but other annotations: our tags lie in our sets."""

_HELD = "select l.child.id from {}AnnotationLink l where l.child.id in (:ids)"
_BEARERS = "select l.parent.id, l.child.id from {}AnnotationLink l where l.child.id in (:ids)"
_OF_FILE = "select a.file.id from FileAnnotation a where a.file.id in (:ids)"
_IN_SET = "select l.parent.id from AnnotationAnnotationLink l where l.parent.id in (:ids)"
_PART = 5_000
_ORDER = ("Link", "Annotation", TAG_SET, "Roi", "Image", "OriginalFile")
_ANNOTATION = "select a.id from {} a where a.description = :mark"
_WITH_MARK = ("MapAnnotation", "LongAnnotation", "CommentAnnotation", "FileAnnotation")
_MARKED = {
    **{kind: _ANNOTATION.format(kind) for kind in _WITH_MARK},
    "Roi": "select r.id from Roi r where r.description = :mark",
    "Image": "select i.id from Image i where i.description like :within",
    "OriginalFile": "select f.id from OriginalFile f where f.path like :within",
}


def mark_of(token: str) -> str:
    """Return the text by which the objects of a token are known on the server."""
    return f"{RESULT_MARK}{token}"


def find_marked(connection: Connection, owned: Owned) -> Objects:
    """Return the objects on the server that were made for an entry and are not in the journal.

    Parameters
    ----------
    connection : Connection
        In the group of the target.
    owned : Owned
        What was begun.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    found = connection.call(partial(_find, mark=mark_of(owned.token), token=owned.token))
    return {kind: ids for kind, ids in found.items() if ids}


def _find(gateway: BlitzGateway, mark: str, token: str) -> dict[str, list[int]]:
    from omero.rtypes import rstring, unwrap
    from omero.sys import ParametersI

    found: dict[str, list[int]] = {}
    for kind, query in _MARKED.items():
        parameters = ParametersI()
        name, text = ("mark", mark) if ":mark" in query else ("within", f"%{token}%")
        parameters.add(name, rstring(text))
        rows = gateway.getQueryService().projection(query, parameters, gateway.SERVICE_OPTS)
        found[kind] = [int(unwrap(row[0])) for row in rows]
    return found


def delete_owned(connection: Connection, objects: Objects) -> None:
    """Delete objects with what belongs to them; of annotations that others linked, our links.

    Those that are gone already do not matter.

    Parameters
    ----------
    connection : Connection
        In the group of the objects.
    objects : Objects
        Their ids by kind.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    for kind, ids in _sorted(objects):
        for part in in_parts(ids, _PART):
            connection.call(partial(_delete_unheld, kind=kind, ids=part))


def existing(connection: Connection, objects: Objects) -> dict[str, set[int]]:
    """Return which of some objects are still there, by kind.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    found: dict[str, set[int]] = {}
    for kind, ids in objects.items():
        found[kind] = set()
        for part in in_parts(ids, _PART):
            work = partial(still_there, kind=_class_of(kind), ids=part)
            found[kind] |= set(connection.call(work))
    return found


def _sorted(objects: Objects) -> Iterator[tuple[str, Sequence[int]]]:
    """Yield links first, then annotations, and files last, which go with their annotations."""
    gathered: dict[str, list[int]] = {}
    for kind, ids in objects.items():
        general = "Annotation" if kind.endswith("Annotation") else kind
        gathered.setdefault(general, []).extend(ids)
    for suffix in _ORDER:
        for kind, ids in gathered.items():
            if kind.endswith(suffix):
                yield kind, ids


def _delete_unheld(gateway: BlitzGateway, kind: str, ids: Sequence[int]) -> None:
    """Delete what nothing else has; asked anew when this is repeated, since much may happen."""
    kept = set(_held_by_others(gateway, kind, ids))
    delete_objects(gateway, _class_of(kind), [number for number in ids if number not in kept])


def _held_by_others(gateway: BlitzGateway, kind: str, ids: Sequence[int]) -> Iterator[int]:
    """Yield what something else has still; our links and annotations are gone by now."""
    queries = {
        "Annotation": [_HELD.format(holder) for holder in _LINKED],
        "OriginalFile": [_OF_FILE],
        TAG_SET: [_IN_SET],
    }
    for query in queries.get(kind, ()):
        for part in in_parts(ids):
            for (number,) in project(gateway, query, part):
                yield int(number)


def linked_elsewhere(gateway: BlitzGateway, target: OmeroSource, ids: Sequence[int]) -> set[int]:
    """Return which of some annotations are linked to other objects than one, by whomever.

    Parameters
    ----------
    gateway : BlitzGateway
        Of a live session.
    target : OmeroSource
        The object.
    ids : sequence of int
        Of the annotations; none is allowed.

    Raises
    ------
    Ice.Exception
        What omero-py raises; call it within `Connection.call`.
    """
    here = (kind_name(target), target.id)
    return {
        int(child)
        for holder in _LINKED
        for part in in_parts(ids)
        for parent, child in project(gateway, _BEARERS.format(holder), part)
        if (holder, parent) != here
    }


def _class_of(kind: str) -> str:
    return "Annotation" if kind == TAG_SET else kind
