"""Undo what was begun and not finished: find what of it the server has, and delete it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

from parfocal.omero.annotate.deletion import TAG_SET, delete_owned
from parfocal.omero.annotate.journal import Journal, Objects, Owned
from parfocal.omero.annotate.state import edited, gathered, half_made
from parfocal.omero.annotate.targets import Place, link_name
from parfocal.omero.annotate.texts import our_links, tag_links, tag_sets_called, tags_called
from parfocal.omero.connection import Connection
from parfocal.omero.queries import in_parts, project

__all__ = ["undo"]

_MARKED = frozenset({"key-values", "rating", "comment", "table"})
"""Kinds of entries that always have an annotation with their token; some files are shared."""

_EVENTS = "select o.id, o.details.creationEvent.id from {} o where o.id in (:ids)"


def undo(
    connection: Connection,
    journal: Journal,
    begun: Iterable[Owned],
    place: Place | None,
    *,
    remove_edited: bool = False,
) -> list[Owned]:
    """Delete what was made for entries that were begun and not finished.

    What somebody edited or put something on stays as it is, and in the journal. What the journal
    has of entries that are finished is not touched.

    Parameters
    ----------
    connection : Connection
        In the group of the target.
    journal : Journal
        Where they were begun.
    begun : iterable of Owned
        What was begun.
    place : Place, optional
        The target, unless it is gone.
    remove_edited : bool
        Whether that, too, is deleted.

    Returns
    -------
    list of Owned
        What was undone, with the objects that it had.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    half = list(half_made(connection, begun))
    stays = set() if remove_edited else set(edited(connection, half))
    going = [owned for owned in half if owned.token not in stays]
    tags = [owned for owned in going if owned.tag]
    rest = [owned for owned in going if not owned.tag]
    found = gathered(rest)
    if place is not None:
        known, saved = gathered(journal.all()), _saved_in(connection, half)
        tags = [
            replace(owned, objects=_new_tags(connection, owned, place, known, saved))
            for owned in tags
        ]
        found.setdefault(link_name(place.source), []).extend(
            _new_links(connection, journal, rest, place)
        )
    # Tags go first, since they are found by the rest.
    delete_owned(connection, gathered(tags))
    delete_owned(connection, found)
    journal.forget([owned.token for owned in going])
    return [*tags, *rest]


def _new_links(
    connection: Connection, journal: Journal, going: Sequence[Owned], place: Place
) -> list[int]:
    """Return our links that are not in the journal: to what is marked, and to shared files."""
    kind = link_name(place.source)
    marked = _annotations(going)
    # Files that targets share have the token of the first; of later ones only the link is new.
    contents = {owned.content for owned in going if owned.kind == "file"}
    shared = (each for each in journal.all() if each.content in contents)
    files = (number for each in shared for number in each.objects.get("FileAnnotation", ()))
    ours = {*marked, *files}
    known = {link for each in journal.all() for link in each.objects.get(kind, ())}
    links = [link for link, child in our_links(connection, place) if child in ours]
    return [link for link in links if link not in known]


def _saved_in(connection: Connection, half: Sequence[Owned]) -> set[int] | None:
    """Return the events in which the links of what was begun were saved; None if nobody can tell.

    All annotations with a token are saved in the call that saves all links, tags among them.
    """
    marked = _annotations(half)
    if not marked and not any(each.kind in _MARKED for each in half):
        return None
    return set(_events(connection, "Annotation", marked).values())


def _annotations(owned: Iterable[Owned]) -> list[int]:
    objects = gathered(owned)
    return [number for kind in objects if kind.endswith("Annotation") for number in objects[kind]]


def _events(connection: Connection, kind: str, ids: Sequence[int]) -> dict[int, int]:
    """Return the events that made some objects."""
    found: dict[int, int] = {}
    for part in in_parts(ids):
        query = _EVENTS.format(kind)
        found |= dict(connection.call(partial(project, query=query, ids=part)))
    return found


def _new_tags(
    connection: Connection, owned: Owned, place: Place, known: Objects, saved: set[int] | None
) -> Objects:
    """Return what was made for a tag: it is new, not in the journal, and of one of some events."""
    kind = link_name(place.source)
    linked = dict(tag_links(connection, owned.tag, place))
    links = _made(connection, kind, linked, (*owned.links, *known.get(kind, ())), saved)
    # Of what was undone in part, the links are gone.
    tags = tags_called(connection, owned.tag, place.group_id)
    if saved is None:
        tags = [linked[link] for link in links]
    there = (*owned.tags, *known.get("TagAnnotation", ()))
    found = {kind: links, "TagAnnotation": _made(connection, "Annotation", tags, there, saved)}
    if owned.tag_set and (links or saved):
        sets = tag_sets_called(connection, owned.tag_set, place.group_id)
        there = (*owned.sets, *known.get(TAG_SET, ()))
        found[TAG_SET] = _made(connection, "Annotation", sets, there, saved)
    return found


def _made(
    connection: Connection,
    kind: str,
    ids: Iterable[int],
    before: Sequence[int],
    saved: set[int] | None,
) -> list[int]:
    """Return those objects that were not there before, and were made in one of some events."""
    new = [number for number in ids if number not in before]
    if saved is None:
        return new
    return [number for number, event in _events(connection, kind, new).items() if event in saved]
