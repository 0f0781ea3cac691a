"""What there is of a plan on the server: finished, changed by others, gone, or half made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from parfocal.omero.annotate.deletion import delete_owned, existing, find_marked
from parfocal.omero.annotate.journal import Journal, Owned
from parfocal.omero.annotate.making import digest_of
from parfocal.omero.annotate.targets import Place, link_name
from parfocal.omero.annotate.texts import tag_links
from parfocal.omero.connection import Connection
from parfocal.omero.queries import find_all, in_parts

__all__ = ["edited", "find_lost", "plain_value", "undo"]

_TEXTS = {
    "MapAnnotation": "mapValue",
    "LongAnnotation": "longValue",
    "CommentAnnotation": "textValue",
}
_TEXT = "select a from {} a where a.id in (:ids)"
_CHILDREN = "select l.id, l.child.id from {} l where l.id in (:ids)"


def undo(connection: Connection, journal: Journal, begun: Iterable[Owned], place: Place) -> None:
    """Delete what was made for entries that were begun and not finished.

    Parameters
    ----------
    connection : Connection
        In the group of the target.
    journal : Journal
        Where they were begun.
    begun : iterable of Owned
        What was begun.
    place : Place
        The target.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    for owned in begun:
        delete_owned(connection, find_marked(connection, owned))
        if owned.tag:
            found = tag_links(connection, owned.tag, place)
            new = [(link, tag) for link, tag in found if link not in owned.links]
            tags = [tag for _, tag in new if tag not in owned.tags]
            links = [link for link, _ in new]
            delete_owned(connection, {link_name(place.source): links, "TagAnnotation": tags})
        journal.forget([owned.token])


def find_lost(connection: Connection, owned: Iterable[Owned]) -> set[str]:
    """Return the tokens of what is finished by the journal, and no longer whole on the server.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    asked: dict[str, list[int]] = {}
    everything = list(owned)
    for each in everything:
        for kind, ids in each.objects.items():
            asked.setdefault(kind, []).extend(ids)
    there = existing(connection, {kind: sorted(set(ids)) for kind, ids in asked.items()})
    return {
        each.token
        for each in everything
        if any(not set(ids) <= there[kind] for kind, ids in each.objects.items())
    }


def edited(connection: Connection, owned: Sequence[Owned]) -> dict[str, str]:
    """Return the tokens of what somebody edited since it was written, with its kind.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    found: dict[str, str] = {}
    for kind, attribute in _TEXTS.items():
        here = {ids[0]: each for each in owned if (ids := each.objects.get(kind))}
        query = _TEXT.format(kind)
        for part in in_parts(list(here)):
            for one in connection.call(partial(find_all, query=query, ids=part)):
                each = here[one.id.val]
                if digest_of(plain_value(getattr(one, attribute))) != each.said:
                    found[each.token] = each.kind
    return found


def plain_value(value: Any) -> Any:
    """Return what an annotation says as a value of JSON."""
    if isinstance(value, list):
        return [[pair.name, pair.value] for pair in value if pair is not None]
    return None if value is None else value.val
