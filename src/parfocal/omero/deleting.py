"""Delete objects of an OMERO server, with what belongs to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from parfocal.omero.queries import in_parts, project

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

__all__ = ["delete_objects", "still_there"]

_THERE = "select o.id from {} o where o.id in (:ids)"
_LOOPS, _STEP_MS = 3600, 500


def still_there(gateway: BlitzGateway, kind: str, ids: Sequence[int]) -> list[int]:
    """Return which objects of one kind there are, of those that the user may see.

    Parameters
    ----------
    gateway, kind, ids
        As for `delete_objects`.

    Raises
    ------
    Ice.Exception
        What omero-py raises; call it within `Connection.call`.
    """
    query = _THERE.format(kind)
    return [int(row[0]) for part in in_parts(ids) for row in project(gateway, query, part)]


def delete_objects(gateway: BlitzGateway, kind: str, ids: Sequence[int]) -> None:
    """Delete objects of one kind; those that are gone already do not matter.

    The server refuses all of them when one is gone, and one may go at any time: by an earlier
    call whose answer was lost, which may still be at work, or by somebody else.

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
    from omero import CmdError
    from omero.cmd import Delete2

    there = still_there(gateway, kind, ids)
    while there:
        try:
            _perform(gateway, Delete2(targetObjects={kind: there}))
        except CmdError:
            left = still_there(gateway, kind, there)
            if len(left) == len(there):
                raise
            there = left
        else:
            return


def _perform(gateway: BlitzGateway, command: Any) -> None:
    """Wait for a command to end.

    The server tells the end over the connection that the command came by. Where that is lost
    nothing comes, and omero-py waits on, so the server is asked, too.
    """
    import omero

    callback = gateway.c.submit(
        command, loops=1, ms=_STEP_MS, ctx=gateway.SERVICE_OPTS, failontimeout=False
    )
    for _ in range(_LOOPS):
        if callback.getResponse() is not None:
            break
        callback.poll()
        callback.block(_STEP_MS)
    response = callback.getResponse()
    callback.close(True)
    if response is None:
        message = f"Command unfinished after {_LOOPS * _STEP_MS / 1000:.0f} s"
        raise omero.LockTimeout(None, None, message, 0, 0)
    if isinstance(response, omero.cmd.ERR):
        raise omero.CmdError(response)
