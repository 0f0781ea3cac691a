"""The objects on a server that a plan annotates: whether they are there and may be annotated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from parfocal.errors import AccessError, InputError
from parfocal.models.source import OmeroSource, parse_source
from parfocal.omero.connection import Connection
from parfocal.omero.queries import find_all, in_parts, project
from parfocal.omero.same_number import of_other_kinds

__all__ = [
    "MAY_ANNOTATE",
    "Place",
    "find_places",
    "group_text",
    "kind_name",
    "link_name",
    "parse_target",
    "places_left",
]

MAY_ANNOTATE = "the permission to annotate: on objects of one's own, or in a group that is "
MAY_ANNOTATE += "read-annotate or read-write"

_TOLD = 5
_OBJECTS = "select o from {} o join fetch o.details.group where o.id in (:ids)"


@dataclass(frozen=True)
class Place:
    """A target on the server.

    Attributes
    ----------
    source : OmeroSource
        Which object.
    group_id : int
        Its group, which all that is written goes to.
    well_id : int or None
        Of an image: the well that it lies in.
    group : str
        Name and permissions of the group, as messages tell them.
    """

    source: OmeroSource
    group_id: int
    well_id: int | None = None
    group: str = ""


def kind_name(source: OmeroSource) -> str:
    """Return the name of the class of an object on the server, such as ``Image``."""
    return source.kind.capitalize()


def link_name(source: OmeroSource) -> str:
    """Return the name of the class of links from it to annotations."""
    return f"{kind_name(source)}AnnotationLink"


def group_text(details: Any) -> str:
    """Return the group in the details of an object, with its permissions."""
    return f"{details.group.name.val} ({details.permissions})"


def parse_target(uri: str) -> OmeroSource:
    """Return what the URI of a target names.

    Raises
    ------
    ConfigurationError
        If it is not of the form of an object on an OMERO server.
    """
    source = parse_source(uri)
    if not isinstance(source, OmeroSource):
        msg = f"{uri} is not on an OMERO server, which the model of plans excludes"
        raise AssertionError(msg)  # noqa: TRY004
    return source


def find_places(connection: Connection, targets: Iterable[str]) -> dict[str, Place]:
    """Find all targets before anything is written.

    Parameters
    ----------
    connection : Connection
        To their server.
    targets : iterable of str
        Their URIs.

    Returns
    -------
    dict of str to Place
        In the order of `targets`.

    Raises
    ------
    InputError
        If one is not there, or the user may not annotate it; it tells of all.
    RemoteError
        If the server fails.
    """
    wanted = list(targets)
    places, refused = _look_up(connection, wanted)
    if missing := [uri for uri in wanted if uri not in places]:
        what = "Targets are not on the OMERO server, or this user may not see them"
        others = [each for uri in missing[:_TOLD] for each in _others(connection, uri)]
        remedy = (
            "Check the ids, and whether the user is in the groups of the objects; or take them "
            "out of the plan. Nothing was written."
        )
        found = f"of these numbers there is {', '.join(others)}" if others else None
        raise InputError(what, where=_listed(missing), found=found, remedy=remedy)
    if refused:
        what = "This user may not annotate all targets"
        groups = ", ".join(dict.fromkeys(places[uri].group for uri in refused))
        raise AccessError(
            what,
            where=_listed(refused),
            expected=MAY_ANNOTATE,
            found=f"{connection.user_name} in the group {groups}",
            remedy="Ask the owner of the group to change it, log in as who owns the objects, or "
            "take them out of the plan. Nothing was written.",
        )
    return places


def _others(connection: Connection, uri: str) -> list[str]:
    return of_other_kinds(connection, parse_target(uri))


def _listed(uris: Sequence[str]) -> str:
    more = f" and {len(uris) - _TOLD} more" if len(uris) > _TOLD else ""
    return ", ".join(uris[:_TOLD]) + more


def places_left(connection: Connection, targets: Iterable[str]) -> dict[str, Place]:
    """Return those of some targets that are still there.

    Raises
    ------
    RemoteError
        If the server fails.
    """
    return _look_up(connection, targets)[0]


def _look_up(connection: Connection, targets: Iterable[str]) -> tuple[dict[str, Place], list[str]]:
    """Return the targets that there are, and which of them may not be annotated."""
    sources = {uri: parse_target(uri) for uri in targets}
    places: dict[str, Place] = {}
    refused = []
    for kind in dict.fromkeys(source.kind for source in sources.values()):
        here = {uri: source for uri, source in sources.items() if source.kind == kind}
        known = _read(connection, kind_name(next(iter(here.values()))), here.values())
        wells = _wells(connection, here.values()) if kind == "image" else {}
        for uri, source in here.items():
            if source.id not in known:
                continue
            group_id, group, allowed = known[source.id]
            places[uri] = Place(source, group_id, wells.get(source.id), group)
            if not allowed:
                refused.append(uri)
    return {uri: places[uri] for uri in sources if uri in places}, refused


def _read(
    connection: Connection, kind: str, sources: Iterable[OmeroSource]
) -> dict[int, tuple[int, str, bool]]:
    """Return group, and whether it may be annotated, of the objects that are there."""
    query = _OBJECTS.format(kind)
    found: dict[int, tuple[int, str, bool]] = {}
    for part in in_parts([source.id for source in sources]):
        for one in connection.call(partial(find_all, query=query, ids=part)):
            details = one.details
            allowed = details.permissions.canAnnotate()
            found[one.id.val] = (details.group.id.val, group_text(details), allowed)
    return found


def _wells(connection: Connection, sources: Iterable[OmeroSource]) -> dict[int, int]:
    query = "select s.image.id, s.well.id from WellSample s where s.image.id in (:ids)"
    found: dict[int, int] = {}
    for part in in_parts([source.id for source in sources]):
        for image, well in connection.call(partial(project, query=query, ids=part)):
            found.setdefault(image, well)
    return found
