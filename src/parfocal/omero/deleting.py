"""Delete objects of an OMERO server, with what belongs to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

__all__ = ["delete_objects"]

_LOOPS, _STEP_MS = 3600, 500


def delete_objects(gateway: BlitzGateway, kind: str, ids: Sequence[int]) -> None:
    """Delete objects of one kind; those that are gone already do not matter.

    Parameters
    ----------
    gateway : BlitzGateway
        Of a live session, in the group of the objects.
    kind : str
        Name of their class, such as ``FileAnnotation``.
    ids : sequence of int
        Which; none is allowed.

    Raises
    ------
    Ice.Exception, omero.CmdError
        What omero-py raises; call it within `Connection.call`.
    """
    from omero.cmd import Delete2

    if ids:
        request = Delete2(targetObjects={kind: list(ids)})
        done = gateway.c.submit(request, loops=_LOOPS, ms=_STEP_MS, ctx=gateway.SERVICE_OPTS)
        done.close(True)
