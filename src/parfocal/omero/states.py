"""Whether an object exists on an OMERO server, when it was changed, and how large it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parfocal.models.source import OmeroSource
from parfocal.omero.connection import Connection

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

__all__ = ["ObjectState", "object_state", "original_bytes"]


@dataclass(frozen=True)
class ObjectState:
    """What the server says of an object as it is now.

    Attributes
    ----------
    updated_s : float
        When it was last changed, by the clock of the server, in seconds since 1970. Of an image,
        its pixels count too. Annotations do not: they are objects of their own.
    group_id : int
        Its group.
    pixel_bytes : int
        Size of the pixels of an image, not compressed; 0 of others.
    """

    updated_s: float
    group_id: int
    pixel_bytes: int = 0


def object_state(connection: Connection, source: OmeroSource) -> ObjectState | None:
    """Return the state of an object, or None if there is none that the user may see.

    Raises
    ------
    ParfocalError
        As `Connection.call` does.
    """
    return connection.call(lambda gateway: _state(gateway, source))


def original_bytes(connection: Connection, image_id: int) -> int:
    """Return the size of the files that an image was imported from, in bytes; 0 without any.

    Raises
    ------
    ParfocalError
        As `Connection.call` does.
    """
    query = (
        "select sum(f.size) from FilesetEntry e join e.originalFile f "
        "where e.fileset.id in (select i.fileset.id from Image i where i.id = :id)"
    )
    rows = connection.call(lambda gateway: _rows(gateway, query, image_id))
    return int(rows[0][0] or 0) if rows else 0


def _state(gateway: BlitzGateway, source: OmeroSource) -> ObjectState | None:
    kind = source.kind.capitalize()
    query = "select o.details.updateEvent.time, o.details.group.id from %s o where o.id = :id"
    rows = _rows(gateway, query % kind, source.id)
    if not rows:
        return None
    ((updated_ms, group_id),) = rows
    if source.kind != "image":
        return ObjectState(updated_ms / 1000, group_id)
    query = (
        "select p.details.updateEvent.time, p.sizeX, p.sizeY, p.sizeZ, p.sizeC, p.sizeT, t.bitSize "
        "from Pixels p join p.pixelsType t where p.image.id = :id"
    )
    pixel_bytes = 0
    for time_ms, x, y, z, c, t, bits in _rows(gateway, query, source.id):
        updated_ms = max(updated_ms, time_ms)
        pixel_bytes += x * y * z * c * t * bits // 8
    return ObjectState(updated_ms / 1000, group_id, pixel_bytes)


def _rows(gateway: BlitzGateway, query: str, number: int) -> list[list[int]]:
    """Return what a query for the object of an id selects, as numbers."""
    from omero.rtypes import unwrap
    from omero.sys import ParametersI

    parameters = ParametersI()
    parameters.addId(number)
    found = gateway.getQueryService().projection(query, parameters, gateway.SERVICE_OPTS)
    return [list(unwrap(row)) for row in found]
