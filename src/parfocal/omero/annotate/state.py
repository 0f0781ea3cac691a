"""What there is of a plan on the server: finished, changed by others, gone, or half made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from parfocal.core.step import Context
from parfocal.errors import InputError
from parfocal.omero.annotate.deletion import TAG_SET, delete_owned, existing, find_marked
from parfocal.omero.annotate.journal import Journal, Objects, Owned
from parfocal.omero.annotate.making import digest_of
from parfocal.omero.annotate.targets import Place, link_name
from parfocal.omero.annotate.texts import our_links, tag_links, tag_sets_called
from parfocal.omero.connection import Connection
from parfocal.omero.queries import find_all, in_parts, project

__all__ = [
    "edited",
    "find_lost",
    "gathered",
    "half_made",
    "plain_value",
    "refuse_foreign",
    "tell_remains",
    "undo",
    "unused",
]

_TEXTS = {
    "MapAnnotation": "mapValue",
    "LongAnnotation": "longValue",
    "CommentAnnotation": "textValue",
}
_TEXT = "select a from {} a where a.id in (:ids)"
_REDRAWN = (
    "select distinct r.id from Roi r join r.shapes s where r.id in (:ids) "
    "and s.details.updateEvent.id <> r.details.creationEvent.id"
)
"""ROIs with a shape that was changed or added in another call than the one that made them."""

_CARRIED = {
    "Image": {
        "ImageAnnotationLink": "select l.parent.id, l.id from ImageAnnotationLink l "
        "where l.parent.id in (:ids)",
        "Roi": "select r.image.id, r.id from Roi r where r.image.id in (:ids)",
        "DatasetImageLink": "select l.child.id, l.id from DatasetImageLink l "
        "where l.child.id in (:ids)",
        "FolderImageLink": "select l.child.id, l.id from FolderImageLink l "
        "where l.child.id in (:ids)",
    },
    "Roi": {
        "RoiAnnotationLink": "select l.parent.id, l.id from RoiAnnotationLink l "
        "where l.parent.id in (:ids)",
        "ShapeAnnotationLink": "select s.roi.id, l.id from ShapeAnnotationLink l, Shape s "
        "where l.parent.id = s.id and s.roi.id in (:ids)",
        "FolderRoiLink": "select l.child.id, l.id from FolderRoiLink l where l.child.id in (:ids)",
    },
}
"""What would go with an image or a ROI of ours: its id, and the id of what it carries."""

_PUT = "select l.id, l.parent.id from DatasetImageLink l where l.child.id in (:ids)"


def half_made(connection: Connection, begun: Iterable[Owned]) -> Iterator[Owned]:
    """Yield what was begun, with the objects on the server that were made for it.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    for owned in begun:
        objects = dict(find_marked(connection, owned))
        if images := objects.get("Image"):
            rows = connection.call(partial(project, query=_PUT, ids=images))
            objects["DatasetImageLink"] = [link for link, to in rows if to in owned.datasets]
        yield replace(owned, objects=objects)


def undo(
    connection: Connection,
    journal: Journal,
    begun: Iterable[Owned],
    place: Place | None,
    *,
    remove_edited: bool = False,
) -> list[Owned]:
    """Delete what was made for entries that were begun and not finished.

    What somebody edited or put something on stays as it is, and in the journal.

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
    found = gathered(going)
    marked = [number for kind in found if kind.endswith("Annotation") for number in found[kind]]
    if place is not None:
        for owned in going:
            if owned.tag:
                _gather(found, _new_tags(connection, owned, place))
        _gather(found, _new_links(connection, journal, marked, place))
    delete_owned(connection, found)
    journal.forget([owned.token for owned in going])
    return going


def _new_links(
    connection: Connection, journal: Journal, marked: Sequence[int], place: Place
) -> Objects:
    """Return our links that are not in the journal: to what is marked, and to shared files."""
    kind = link_name(place.source)
    # Files that targets share have the token of the first; of later ones only the link is new.
    files = (number for each in journal.all() for number in each.objects.get("FileAnnotation", ()))
    ours = {*marked, *files}
    known = {link for each in journal.all() for link in each.objects.get(kind, ())}
    links = [link for link, child in our_links(connection, place) if child in ours]
    return {kind: [link for link in links if link not in known]}


def gathered(owned: Iterable[Owned]) -> dict[str, list[int]]:
    """Return all objects of some entries together."""
    found: dict[str, list[int]] = {}
    for each in owned:
        _gather(found, each.objects)
    return found


def _gather(found: dict[str, list[int]], more: Objects) -> None:
    for kind, ids in more.items():
        found.setdefault(kind, []).extend(ids)


def _new_tags(connection: Connection, owned: Owned, place: Place) -> Objects:
    linked = tag_links(connection, owned.tag, place)
    new = [(link, tag) for link, tag in linked if link not in owned.links]
    found = {
        link_name(place.source): [link for link, _ in new],
        "TagAnnotation": [tag for _, tag in new if tag not in owned.tags],
    }
    if new and owned.tag_set:
        sets = tag_sets_called(connection, owned.tag_set, place.group_id)
        found[TAG_SET] = [number for number in sets if number not in owned.sets]
    return found


def refuse_foreign(connection: Connection, owned: Iterable[Owned]) -> None:
    """Refuse to take back what another user wrote.

    Raises
    ------
    InputError
        If any of it was written by somebody else than the user who is logged in.
    RemoteError
        If the server fails.
    """
    others = [each for each in owned if each.user_id not in (0, connection.user_id)]
    if others:
        what = "What would be replaced or removed was written by another user"
        where = f"{others[0].kind} of {others[0].target}, and {len(others) - 1} more"
        expected = f"a login of the user with id {others[0].user_id}"
        found = f"{connection.user_name}, id {connection.user_id}"
        remedy = "Log in as who applied the plan. Nothing was changed."
        raise InputError(what, where=where, expected=expected, found=found, remedy=remedy)


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
        for kind, ids in _needed(each).items():
            asked.setdefault(kind, []).extend(ids)
    there = existing(connection, {kind: sorted(set(ids)) for kind, ids in asked.items()})
    return {
        each.token
        for each in everything
        if any(not set(ids) <= there[kind] for kind, ids in _needed(each).items())
    }


def _needed(owned: Owned) -> Objects:
    """Return what must be there: users may move tags out of sets, and images to other datasets."""
    movable = (TAG_SET, "DatasetImageLink")
    return {kind: ids for kind, ids in owned.objects.items() if kind not in movable}


def edited(connection: Connection, owned: Sequence[Owned]) -> dict[str, str]:
    """Return the tokens of what somebody edited since it was written, with its kind.

    Label images and ROIs that carry annotations, ROIs or links that are not of `owned` count as
    edited, since these would go with them.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    found = _rewritten(connection, owned)
    rois = {number: each for each in owned for number in each.objects.get("Roi", ())}
    for part in in_parts(list(rois)):
        for (number,) in connection.call(partial(project, query=_REDRAWN, ids=part)):
            found[rois[number].token] = rois[number].kind
    return found | _carrying(connection, owned)


def _rewritten(connection: Connection, owned: Sequence[Owned]) -> dict[str, str]:
    """Return the pairs, ratings and comments that say something else now."""
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


def _carrying(connection: Connection, owned: Sequence[Owned]) -> dict[str, str]:
    """Return the label images and ROIs that carry what is not ours."""
    ours = gathered(owned)
    found: dict[str, str] = {}
    for holder, carried in _CARRIED.items():
        here = {number: each for each in owned for number in each.objects.get(holder, ())}
        for kind, query in carried.items():
            known = set(ours.get(kind, ()))
            for part in in_parts(list(here)):
                for number, other in connection.call(partial(project, query=query, ids=part)):
                    if other not in known:
                        found[here[number].token] = here[number].kind
    return found


def unused(dropped: Iterable[Owned], journal: Journal) -> dict[str, list[int]]:
    """Return the annotations of what was dropped that nothing of ours uses; others may."""
    used = {kind: set(ids) for kind, ids in gathered(journal.all()).items()}
    return {
        kind: [number for number in ids if number not in used.get(kind, ())]
        for kind, ids in gathered(dropped).items()
        if kind == TAG_SET or kind.endswith("Annotation")
    }


def tell_remains(connection: Connection, objects: Objects, context: Context) -> None:
    """Tell which of some objects stay though they were to go, since something else holds them.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    there = existing(connection, objects)
    left = [f"{kind} {number}" for kind, ids in there.items() for number in sorted(ids)]
    context.warn_of("object(s) stay since others use them", left)


def plain_value(value: Any) -> Any:
    """Return what an annotation says as a value of JSON."""
    if isinstance(value, list):
        return [[pair.name, pair.value] for pair in value if pair is not None]
    return None if value is None else value.val
