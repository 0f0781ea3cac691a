"""Files that are attached to objects of an OMERO server: find, read, write, remove.

Several users of a group may attach files of one name to one object. Each replaces and removes
only his or her own; who has none reads that of another. What somebody has linked to other objects,
too, stays there.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from parfocal.errors import InputError, ParfocalError
from parfocal.models.source import OmeroSource
from parfocal.omero.annotate.deletion import linked_elsewhere
from parfocal.omero.annotate.targets import Place, link_name
from parfocal.omero.annotate.texts import new_link
from parfocal.omero.connection import Connection
from parfocal.omero.deleting import delete_objects
from parfocal.omero.files import download_file, upload_file
from parfocal.omero.queries import in_parts, project

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

__all__ = [
    "Attachment",
    "attach",
    "attachments",
    "download",
    "place_to_annotate",
    "remove",
    "replace",
]

_ATTACHED = (
    "select a.id, f.id, a.details.group.id, a.details.owner.id, f.name, f.size, f.hash, h.value, "
    "a.details.updateEvent.time from FileAnnotation a join a.file f left outer join f.hasher h "
    "where a.ns = :ns and a.id in (select l.child.id from %s l where l.parent.id = :id)"
)
_LINKS = "select l.id, l.parent.id, l.details.owner.id from {} l where l.child.id in (:ids)"


@dataclass(frozen=True)
class Attachment:
    """A file that is attached to an object.

    Attributes
    ----------
    annotation_id, file_id, group_id, owner_id : int
        Of the file annotation, of its original file, of their group, and of who attached it.
    name : str
        Name of the file.
    size_bytes : int
        Its size.
    sha1 : str or None
        Its checksum in hex digits, where the server knows it.
    updated_s : float
        When it was attached, by the clock of the server, in seconds since 1970.
    """

    annotation_id: int
    file_id: int
    group_id: int
    owner_id: int
    name: str
    size_bytes: int
    sha1: str | None
    updated_s: float


def attachments(
    connection: Connection, target: OmeroSource, namespace: str, name: str | None = None
) -> list[Attachment]:
    """Return the files attached to an object in a namespace.

    The user's own come first, then those of others; of each the newest first.

    Parameters
    ----------
    connection : Connection
        To the server of `target`.
    target : OmeroSource
        The object; one that does not exist has none.
    namespace : str
        Namespace of the annotations.
    name : str, optional
        Of the files; all if not given.

    Raises
    ------
    ParfocalError
        As `Connection.call` does.
    """
    return connection.call(lambda gateway: _find(gateway, target, namespace, name))


def attach(
    connection: Connection, target: OmeroSource, path: Path, name: str, namespace: str
) -> Attachment:
    """Attach a file to an object, in place of the user's own of that name and namespace.

    The old one is removed when the new one is there. If that fails in between, the next call
    removes both. What others have attached stays.

    Raises
    ------
    InputError
        If there is no such object, the user may not annotate it, or the file cannot be read.
    RemoteError
        If the server does not take the file as it is.
    """
    mimetype = mimetypes.guess_type(name)[0] or "application/octet-stream"

    def upload(_place: Place, token: str) -> int:
        return upload_file(connection, path, name, f"parfocal/{token}/", mimetype)

    return replace(connection, target, name, namespace, upload)


def replace(
    connection: Connection,
    target: OmeroSource,
    name: str,
    namespace: str,
    upload: Callable[[Place, str], int],
) -> Attachment:
    """Attach a new original file to an object, in place of the user's own of that name.

    Parameters
    ----------
    connection : Connection
        To the server of `target`.
    target : OmeroSource
        The object.
    name, namespace : str
        Of the file, and of its annotation.
    upload : callable
        ``upload(place, token)`` makes the file and returns its id. What it makes has the
        path ``parfocal/TOKEN/``, and is removed if an error comes.

    Raises
    ------
    InputError
        If there is no such object, or the user may not annotate it.
    ParfocalError
        What `upload` raises.
    """
    place = place_to_annotate(connection, target)
    with connection.in_group(place.group_id):
        old = _own(connection, target, namespace, name)
        token = str(uuid4())
        try:
            file_id = upload(place, token)
            connection.call(lambda gateway: _link(gateway, place, file_id, namespace))
        except ParfocalError:
            with suppress(ParfocalError):
                connection.call(lambda gateway: _delete_files(gateway, token))
            raise
        _remove_all(connection, target, old)
        return attachments(connection, target, namespace, name)[0]


def place_to_annotate(connection: Connection, target: OmeroSource) -> Place:
    """Return where to write what belongs to an object that the user may annotate.

    Raises
    ------
    InputError
        If there is none.
    """
    group_id = connection.call(lambda gateway: _group_to_annotate(gateway, target))
    return Place(target, group_id)


def download(connection: Connection, attachment: Attachment, path: Path) -> None:
    """Write an attached file to `path`, and compare it with the server's checksum.

    Raises
    ------
    RemoteError
        If what comes is not what the server says it is.
    StorageError
        If `path` cannot be written.
    """
    size, sha1 = attachment.size_bytes, attachment.sha1
    download_file(connection, attachment.file_id, path, size_bytes=size, sha1=sha1)


def remove(connection: Connection, target: OmeroSource, name: str, namespace: str) -> None:
    """Remove the user's own files of a name and namespace from an object and the server.

    Raises
    ------
    ParfocalError
        As `Connection.call` does.
    """
    found = _own(connection, target, namespace, name)
    for group_id in {each.group_id for each in found}:
        with connection.in_group(group_id):
            here = [each for each in found if each.group_id == group_id]
            _remove_all(connection, target, here)


def _own(
    connection: Connection, target: OmeroSource, namespace: str, name: str
) -> list[Attachment]:
    found = attachments(connection, target, namespace, name)
    return [each for each in found if each.owner_id == connection.user_id]


def _remove_all(connection: Connection, target: OmeroSource, old: list[Attachment]) -> None:
    ids = [each.annotation_id for each in old]
    if ids:
        connection.call(lambda gateway: _delete_from(gateway, target, ids))


def _delete_from(gateway: BlitzGateway, target: OmeroSource, ids: list[int]) -> None:
    """Delete annotations of an object; of those that others have, too, the user's links to them."""
    shared = linked_elsewhere(gateway, target, ids)
    delete_objects(gateway, "FileAnnotation", [each for each in ids if each not in shared])
    kind, own = link_name(target), (target.id, gateway.getUserId())
    rows = [
        row
        for part in in_parts(sorted(shared))
        for row in project(gateway, _LINKS.format(kind), part)
    ]
    delete_objects(gateway, kind, [link for link, *whose in rows if tuple(whose) == own])


def _group_to_annotate(gateway: BlitzGateway, target: OmeroSource) -> int:
    found = gateway.getObject(target.kind.capitalize(), target.id)
    if found is None:
        what = "There is no such object on the OMERO server, or this user may not see it"
        remedy = "Check the id, and whether the user is in the object's group."
        raise InputError(what, where=target.uri, remedy=remedy)
    if not found.canAnnotate():
        what = "This user may not annotate the object"
        remedy = "Log in as its owner, or ask the owner of the group for the permission."
        raise InputError(what, where=target.uri, remedy=remedy)
    return int(found.getDetails().group.id.val)


def _find(
    gateway: BlitzGateway, target: OmeroSource, namespace: str, name: str | None
) -> list[Attachment]:
    from omero.rtypes import rstring, unwrap
    from omero.sys import ParametersI

    query = _ATTACHED % link_name(target)
    parameters = ParametersI()
    parameters.addId(target.id)
    parameters.add("ns", rstring(namespace))
    if name is not None:
        query += " and f.name = :name"
        parameters.add("name", rstring(name))
    service = gateway.getQueryService()
    rows = service.projection(f"{query} order by a.id desc", parameters, gateway.SERVICE_OPTS)
    found = [_attachment(*unwrap(row)) for row in rows]
    return sorted(found, key=lambda each: each.owner_id != gateway.getUserId())


def _attachment(
    annotation: int,
    file: int,
    group: int,
    owner: int,
    name: str,
    size: int,
    digest: str | None,
    hasher: str | None,
    updated_ms: int,
) -> Attachment:
    sha1 = digest if hasher == "SHA1-160" else None
    return Attachment(annotation, file, group, owner, name, size, sha1, updated_ms / 1000)


def _link(gateway: BlitzGateway, place: Place, file_id: int, namespace: str) -> None:
    """Attach an uploaded file, unless an earlier call has done it whose answer was lost."""
    import omero
    from omero.rtypes import rstring
    from omero.sys import ParametersI

    parameters = ParametersI()
    parameters.addId(file_id)
    query = "select a.id from FileAnnotation a where a.file.id = :id"
    if gateway.getQueryService().projection(query, parameters, gateway.SERVICE_OPTS):
        return
    annotation = omero.model.FileAnnotationI()
    annotation.ns = rstring(namespace)
    annotation.file = omero.model.OriginalFileI(file_id, False)
    link = new_link(place, annotation)
    gateway.getUpdateService().saveObject(link, gateway.SERVICE_OPTS)


def _delete_files(gateway: BlitzGateway, token: str) -> None:
    """Delete the files of a token; a new table has it in its name before it is given another."""
    from omero.rtypes import rstring, unwrap
    from omero.sys import ParametersI

    parameters = ParametersI()
    parameters.add("within", rstring(f"%{token}%"))
    query = "select f.id from OriginalFile f where f.path like :within or f.name like :within"
    rows = gateway.getQueryService().projection(query, parameters, gateway.SERVICE_OPTS)
    delete_objects(gateway, "OriginalFile", [unwrap(row)[0] for row in rows])
