"""What there is of a plan on the server: finished, changed by others, gone, or half made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from parfocal.core.step import Context
from parfocal.errors import InputError
from parfocal.omero.annotate.deletion import TAG_SET, existing, find_marked
from parfocal.omero.annotate.journal import Journal, Objects, Owned
from parfocal.omero.annotate.making import digest_of
from parfocal.omero.annotate.targets import parse_target
from parfocal.omero.annotate.texts import tags_borne
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
    "unused",
]

_TEXTS = {
    "MapAnnotation": "mapValue",
    "LongAnnotation": "longValue",
    "CommentAnnotation": "textValue",
    "TagAnnotation": "textValue",
}
_TEXT = "select a from {} a where a.id in (:ids)"
_SHAPES = (
    "select r.id, r.details.creationEvent.id, count(s.id), min(s.details.updateEvent.id), "
    "max(s.details.updateEvent.id) from Roi r left outer join r.shapes s where r.id in (:ids) "
    "group by r.id, r.details.creationEvent.id"
)
"""Of ROIs: the call that made them, how many shapes they have, and which calls changed these."""

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


def gathered(owned: Iterable[Owned]) -> dict[str, list[int]]:
    """Return all objects of some entries together."""
    found: dict[str, list[int]] = {}
    for each in owned:
        _gather(found, each.objects)
    return found


def _gather(found: dict[str, list[int]], more: Objects) -> None:
    for kind, ids in more.items():
        found.setdefault(kind, []).extend(ids)


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

    A tag is whole while its target bears a tag of that name, linked by the user who applied it: by
    whichever link, since it may have been there before, or come anew.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    everything = list(owned)
    others = [each for each in everything if each.kind != "tag"]
    asked: dict[str, list[int]] = {}
    for each in others:
        _gather(asked, _needed(each))
    there = existing(connection, {kind: sorted(set(ids)) for kind, ids in asked.items()})
    lost = {
        each.token
        for each in others
        if any(not there[kind].issuperset(ids) for kind, ids in _needed(each).items())
    }
    return lost | _lost_tags(connection, [each for each in everything if each.kind == "tag"])


def _lost_tags(connection: Connection, owned: Sequence[Owned]) -> set[str]:
    if not owned:
        return set()
    sources = {each.target: parse_target(each.target) for each in owned}
    borne = tags_borne(connection, sources.values())
    user = connection.user_id
    return {
        each.token
        for each in owned
        if (sources[each.target], each.tag, each.user_id or user) not in borne
    }


def _needed(owned: Owned) -> Objects:
    """Return what must be there: users may move images to other datasets."""
    return {kind: ids for kind, ids in owned.objects.items() if kind != "DatasetImageLink"}


def edited(connection: Connection, owned: Sequence[Owned]) -> dict[str, str]:
    """Return the tokens of what somebody edited since it was written, with its kind.

    Label images and ROIs that carry annotations, ROIs or links that are not of `owned` count as
    edited, since these would go with them.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    texts, rois = _rewritten(connection, owned), _redrawn(connection, owned)
    return texts | rois | _carrying(connection, owned)


def _redrawn(connection: Connection, owned: Sequence[Owned]) -> dict[str, str]:
    """Return the ROIs with shapes that were changed or added, or with fewer than were made."""
    found: dict[str, str] = {}
    rois = {number: each for each in owned for number in each.objects.get("Roi", ())}
    there: Counter[str] = Counter()
    shapes: Counter[str] = Counter()
    for part in in_parts(list(rois)):
        for number, made, *told in connection.call(partial(project, query=_SHAPES, ids=part)):
            count, first, last = told
            each = rois[number]
            there[each.token] += 1
            shapes[each.token] += count
            if count and not first == last == made:
                found[each.token] = each.kind
    for each in owned:
        whole = there[each.token] == len(each.objects.get("Roi", ()))
        if whole and each.kind == "rois" and each.said and shapes[each.token] < int(each.said):
            found[each.token] = each.kind
    return found


def _rewritten(connection: Connection, owned: Sequence[Owned]) -> dict[str, str]:
    """Return the pairs, ratings, comments and tags of ours that say something else now."""
    found: dict[str, str] = {}
    for kind, attribute in _TEXTS.items():
        here: dict[int, list[Owned]] = {}
        for each in owned:
            for number in each.objects.get(kind, ()):
                here.setdefault(number, []).append(each)  # targets share tags
        query = _TEXT.format(kind)
        for part in in_parts(list(here)):
            for one in connection.call(partial(find_all, query=query, ids=part)):
                said = digest_of(plain_value(getattr(one, attribute)))
                for each in here[one.id.val]:
                    if said != (digest_of(each.tag) if each.tag else each.said):
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
