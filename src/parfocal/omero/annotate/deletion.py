"""Delete what is ours on a server, and only that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from parfocal.omero.annotate.journal import Objects, Owned
from parfocal.omero.connection import Connection
from parfocal.omero.images import RESULT_MARK
from parfocal.omero.queries import in_parts, project

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

__all__ = ["TAG_SET", "delete_owned", "existing", "find_marked", "mark_of"]

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
_OF_FILE = "select a.file.id from FileAnnotation a where a.file.id in (:ids)"
_IN_SET = "select l.parent.id from AnnotationAnnotationLink l where l.parent.id in (:ids)"
_THERE = "select o.id from {} o where o.id in (:ids)"
_PART = 5_000
_ORDER = ("Link", "Annotation", TAG_SET, "Roi", "Image", "OriginalFile")
_LOOPS, _STEP_MS = 3_600, 500
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
        kept = set(_held_by_others(connection, kind, ids))
        name = "Annotation" if kind == TAG_SET else kind
        for part in in_parts([number for number in ids if number not in kept], _PART):
            there = connection.call(partial(_existing, kind=name, ids=part))
            if there:
                connection.call(partial(_delete, kind=name, ids=there))


def existing(connection: Connection, objects: Objects) -> dict[str, set[int]]:
    """Return which of some objects are still there, by kind.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    found: dict[str, set[int]] = {}
    for kind, ids in objects.items():
        name = "Annotation" if kind == TAG_SET else kind
        found[kind] = set()
        for part in in_parts(ids, _PART):
            found[kind] |= set(connection.call(partial(_existing, kind=name, ids=part)))
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


def _held_by_others(connection: Connection, kind: str, ids: Sequence[int]) -> Iterator[int]:
    """Yield what something else has still; our links and annotations are gone by now."""
    queries = {
        "Annotation": [_HELD.format(holder) for holder in _LINKED],
        "OriginalFile": [_OF_FILE],
        TAG_SET: [_IN_SET],
    }
    for query in queries.get(kind, ()):
        for part in in_parts(ids):
            for (number,) in connection.call(partial(project, query=query, ids=part)):
                yield int(number)


def _existing(gateway: BlitzGateway, kind: str, ids: Sequence[int]) -> list[int]:
    rows: list[tuple[Any, ...]] = []
    for part in in_parts(ids):
        rows += project(gateway, _THERE.format(kind), part)
    return [int(row[0]) for row in rows]


def _delete(gateway: BlitzGateway, kind: str, ids: list[int]) -> None:
    from omero.cmd import Delete2

    gateway.c.submit(
        Delete2(targetObjects={kind: ids}), loops=_LOOPS, ms=_STEP_MS, ctx=gateway.SERVICE_OPTS
    ).close(True)
