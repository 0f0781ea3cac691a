"""Key-value pairs, tags, ratings and comments, as objects of OMERO's model."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from parfocal.models.annotation_entries import Comment, KeyValues, Rating, Tag
from parfocal.omero.annotate.deletion import mark_of
from parfocal.omero.annotate.targets import Place, link_name
from parfocal.omero.connection import Connection

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

__all__ = ["Links", "find_tag", "new_link", "new_text", "tag_links", "tags_called"]

Links = list[tuple[int, int]]
"""Ids of links and of the tags that they lead to."""

_TAGS = (
    "select a.id, a.details.owner.id from TagAnnotation a where a.textValue = :name "
    "and a.details.group.id = :group and (a.ns is null or a.ns <> :set) order by a.id"
)
_SETS = (
    "select a.id, a.details.owner.id from TagAnnotation a where a.textValue = :name "
    "and a.details.group.id = :group and a.ns = :set order by a.id"
)
_TAG_LINKS = (
    "select l.id, a.id from {} l, TagAnnotation a where l.child.id = a.id and l.parent.id = :id "
    "and a.textValue = :name and l.details.owner.id = :owner order by l.id"
)
_TAG_SET = "openmicroscopy.org/omero/insight/tagset"
"""Namespace of the tags that hold tags."""


def new_link(place: Place, annotation: Any) -> Any:
    """Return a new link from a target to an annotation, new or not loaded."""
    import omero

    link = getattr(omero.model, f"{link_name(place.source)}I")()
    link.parent = getattr(omero.model, f"{place.source.kind.capitalize()}I")(place.source.id, False)
    link.child = annotation
    return link


def new_text(entry: KeyValues | Rating | Comment, token: str) -> Any:
    """Return a new annotation for an entry.

    Parameters
    ----------
    entry : KeyValues, Rating or Comment
        What it says.
    token : str
        By which it can be found.
    """
    import omero
    from omero.rtypes import rlong, rstring

    annotation: Any
    if isinstance(entry, KeyValues):
        annotation = omero.model.MapAnnotationI()
        annotation.mapValue = [omero.model.NamedValue(key, value) for key, value in entry.pairs]
    elif isinstance(entry, Rating):
        annotation = omero.model.LongAnnotationI()
        annotation.longValue = rlong(entry.stars)
    else:
        annotation = omero.model.CommentAnnotationI()
        annotation.textValue = rstring(entry.text)
    annotation.ns = rstring(entry.namespace)
    annotation.description = rstring(mark_of(token))
    return annotation


def find_tag(connection: Connection, entry: Tag, group_id: int) -> list[Any]:
    """Return the tag of an entry: one that is there, the user's own first; or a new one.

    Returns
    -------
    list of omero.model objects
        The tag; and what else is to be saved with it, the link to the tag set of a new one.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    import omero
    from omero.rtypes import rstring

    if known := tags_called(connection, entry.name, group_id):
        return [omero.model.TagAnnotationI(known[0], False)]
    tag = omero.model.TagAnnotationI()
    tag.textValue = rstring(entry.name)
    if entry.description is not None:
        tag.description = rstring(entry.description)
    if entry.tag_set is None:
        return [tag]
    link = omero.model.AnnotationAnnotationLinkI()
    if known := _tag_ids(connection, _SETS, entry.tag_set, group_id):
        link.parent = omero.model.TagAnnotationI(known[0], False)
    else:
        link.parent = omero.model.TagAnnotationI()
        link.parent.textValue, link.parent.ns = rstring(entry.tag_set), rstring(_TAG_SET)
    link.child = tag
    return [tag, link]


def tags_called(connection: Connection, name: str, group_id: int) -> list[int]:
    """Return the tags of a name in a group, the user's own first.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    return _tag_ids(connection, _TAGS, name, group_id)


def _tag_ids(connection: Connection, query: str, name: str, group_id: int) -> list[int]:
    from omero.rtypes import rlong, rstring

    values = {"name": rstring(name), "group": rlong(group_id), "set": rstring(_TAG_SET)}
    rows = connection.call(partial(_rows, query=query, values=values))
    own = connection.user_id
    return [int(number) for number, _ in sorted(rows, key=lambda row: (row[1] != own, row[0]))]


def tag_links(connection: Connection, name: str, place: Place) -> Links:
    """Return the links of this user from a target to tags of a name.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    from omero.rtypes import rlong, rstring

    values = {
        "id": rlong(place.source.id),
        "name": rstring(name),
        "owner": rlong(connection.user_id),
    }
    query = _TAG_LINKS.format(link_name(place.source))
    return [
        (int(link), int(tag))
        for link, tag in connection.call(partial(_rows, query=query, values=values))
    ]


def _rows(gateway: BlitzGateway, query: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    from omero.rtypes import unwrap
    from omero.sys import ParametersI

    parameters = ParametersI()
    for name, value in values.items():
        parameters.add(name, value)
    rows = gateway.getQueryService().projection(query, parameters, gateway.SERVICE_OPTS)
    return [tuple(unwrap(value) for value in row) for row in rows]
