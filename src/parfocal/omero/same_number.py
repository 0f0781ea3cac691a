"""Objects of other kinds that have the same number: what a mistaken URI may have meant."""

from __future__ import annotations

from functools import partial
from typing import get_args

from parfocal.models.archive_source import OmeroKind
from parfocal.models.source import OmeroSource
from parfocal.omero.connection import Connection
from parfocal.omero.queries import project

__all__ = ["of_other_kinds"]

_THERE = "select o.id from {} o where o.id in (:ids)"


def of_other_kinds(connection: Connection, source: OmeroSource) -> list[str]:
    """Return the URIs of objects of other kinds with the number of a source.

    Parameters
    ----------
    connection : Connection
        To the server of the source.
    source : OmeroSource
        What was not found.

    Returns
    -------
    list of str
        Those that the user may see; mostly empty.

    Raises
    ------
    RemoteError
        If the server fails.
    """
    kinds: list[OmeroKind] = [kind for kind in get_args(OmeroKind) if kind != source.kind]
    return [
        OmeroSource(source.server, kind, source.id).uri
        for kind in kinds
        if connection.call(
            partial(project, query=_THERE.format(kind.capitalize()), ids=[source.id])
        )
    ]
