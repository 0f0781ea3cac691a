"""Key-value pairs, tags, ratings and comments, as objects of OMERO's model."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from parfocal.models.annotation_entries import Comment, KeyValues, Rating, Tag
from parfocal.models.source import OmeroSource
from parfocal.omero.annotate.deletion import mark_of
from parfocal.omero.annotate.targets import Place, link_name
from parfocal.omero.connection import Connection
from parfocal.omero.queries import in_parts, project

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

__all__ = [
    "Links",
    "new_link",
    "new_tag",
    "new_tag_set",
    "new_text",
    "our_links",
    "tag_links",
    "tag_sets_called",
    "tags_borne",
    "tags_called",
]

Links = list[tuple[int, int]]
"""Ids of links and of the annotations that they lead to."""

_TAGS = (
    "select a from TagAnnotation a where a.textValue = :name "
    "and a.details.group.id = :group and (a.ns is null or a.ns <> :set) order by a.id"
)
_SETS = (
    "select a from TagAnnotation a where a.textValue = :name "
    "and a.details.group.id = :group and a.ns = :set order by a.id"
)
_BORNE = (
    "select l.parent.id, a.textValue, l.details.owner.id from {} l, TagAnnotation a "
    "where l.child.id = a.id and l.parent.id in (:ids)"
)
_TAG_LINKS = (
    "select l.id, a.id from {} l, TagAnnotation a where l.child.id = a.id and l.parent.id = :id "
    "and a.textValue = :name and l.details.owner.id = :owner order by l.id"
)
_OWN_LINKS = (
    "select l.id, l.child.id from {} l where l.parent.id = :id and l.details.owner.id = :owner "
    "order by l.id"
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


def new_tag(entry: Tag, tag_set: Any = None) -> list[Any]:
    """Return a new tag, and the link to its set.

    Parameters
    ----------
    entry : Tag
        What it is called.
    tag_set : TagAnnotation of omero.model, optional
        The set of the name that the entry says: a new one, or one that is not loaded.
    """
    import omero
    from omero.rtypes import rstring

    tag = omero.model.TagAnnotationI()
    tag.textValue = rstring(entry.name)
    if entry.description is not None:
        tag.description = rstring(entry.description)
    if tag_set is None:
        return [tag]
    link = omero.model.AnnotationAnnotationLinkI()
    link.parent, link.child = tag_set, tag
    return [tag, link]


def new_tag_set(name: str) -> Any:
    """Return a new tag that holds tags."""
    import omero
    from omero.rtypes import rstring

    tag_set = omero.model.TagAnnotationI()
    tag_set.textValue, tag_set.ns = rstring(name), rstring(_TAG_SET)
    return tag_set


def tags_called(connection: Connection, name: str, group_id: int) -> list[int]:
    """Return the tags of a name in a group that the user may link, the user's own first.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    return _tag_ids(connection, _TAGS, name, group_id)


def tag_sets_called(connection: Connection, name: str, group_id: int) -> list[int]:
    """Return the tag sets of a name in a group that the user may fill, the user's own first.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    return _tag_ids(connection, _SETS, name, group_id)


def _tag_ids(connection: Connection, query: str, name: str, group_id: int) -> list[int]:
    from omero.rtypes import rlong, rstring

    values = {"name": rstring(name), "group": rlong(group_id), "set": rstring(_TAG_SET)}
    found = connection.call(partial(_objects, query=query, values=values))
    # Of a read-only group, those of others are seen and may not be linked.
    usable = [one for one in found if one.details.permissions.canAnnotate()]
    rows = [(one.details.owner.id.val != connection.user_id, one.id.val) for one in usable]
    return [number for _, number in sorted(rows)]


def tags_borne(
    connection: Connection, sources: Iterable[OmeroSource]
) -> set[tuple[OmeroSource, str, int]]:
    """Return the tags that some objects bear.

    Parameters
    ----------
    connection : Connection
        To their server.
    sources : iterable of OmeroSource
        The objects.

    Returns
    -------
    set of (OmeroSource, str, int)
        Object, name of the tag, and id of the user who linked it.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    by_link: dict[str, dict[int, OmeroSource]] = {}
    for source in sources:
        by_link.setdefault(link_name(source), {})[source.id] = source
    return {
        (here[number], name, user)
        for link, here in by_link.items()
        for part in in_parts(list(here))
        for number, name, user in connection.call(
            partial(project, query=_BORNE.format(link), ids=part)
        )
    }


def tag_links(connection: Connection, name: str, place: Place) -> Links:
    """Return the links of this user from a target to tags of a name.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    from omero.rtypes import rstring

    return _links(connection, _TAG_LINKS, place, name=rstring(name))


def our_links(connection: Connection, place: Place) -> Links:
    """Return all links of this user from a target to annotations.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    return _links(connection, _OWN_LINKS, place)


def _links(connection: Connection, query: str, place: Place, **more: Any) -> Links:
    from omero.rtypes import rlong

    values = {"id": rlong(place.source.id), "owner": rlong(connection.user_id)} | more
    work = partial(_rows, query=query.format(link_name(place.source)), values=values)
    return [(int(link), int(child)) for link, child in connection.call(work)]


def _rows(gateway: BlitzGateway, query: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    from omero.rtypes import unwrap

    service, parameters = gateway.getQueryService(), _parameters(values)
    rows = service.projection(query, parameters, gateway.SERVICE_OPTS)
    return [tuple(unwrap(value) for value in row) for row in rows]


def _objects(gateway: BlitzGateway, query: str, values: dict[str, Any]) -> list[Any]:
    service, parameters = gateway.getQueryService(), _parameters(values)
    return list(service.findAllByQuery(query, parameters, gateway.SERVICE_OPTS))


def _parameters(values: dict[str, Any]) -> Any:
    from omero.sys import ParametersI

    parameters = ParametersI()
    for name, value in values.items():
        parameters.add(name, value)
    return parameters
