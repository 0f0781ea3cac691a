"""Queries in OMERO's query language, in parts that the server takes well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

__all__ = ["find_all", "in_parts", "project"]

_PART = 500


def in_parts(ids: Sequence[int], size: int = _PART) -> Iterator[Sequence[int]]:
    """Yield `ids` in parts of `size`, since the server limits how long a query may be."""
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def find_all(gateway: BlitzGateway, query: str, ids: Sequence[int]) -> list[Any]:
    """Return the objects that a query finds, each once, in the order of the server.

    Parameters
    ----------
    gateway : BlitzGateway
        Of a live session.
    query : str
        In HQL, with the parameter ``:ids``. Objects that it joins and fetches come along.
    ids : sequence of int
        What ``:ids`` stands for; at least one.

    Raises
    ------
    Ice.Exception
        What omero-py raises; call it within `Connection.call`.
    """
    found = gateway.getQueryService().findAllByQuery(query, _parameters(ids), gateway.SERVICE_OPTS)
    # Where several rows are fetched with an object, the server gives it several times.
    return list({(type(one), one.id.val): one for one in found}.values())


def project(gateway: BlitzGateway, query: str, ids: Sequence[int]) -> list[tuple[Any, ...]]:
    """Return the rows of values that a query selects.

    Parameters
    ----------
    gateway, query, ids
        See `find_all`; the query has a ``select``.

    Raises
    ------
    Ice.Exception
        See `find_all`.
    """
    from omero.rtypes import unwrap

    rows = gateway.getQueryService().projection(query, _parameters(ids), gateway.SERVICE_OPTS)
    return [tuple(unwrap(value) for value in row) for row in rows]


def _parameters(ids: Sequence[int]) -> Any:
    from omero.sys import ParametersI

    parameters = ParametersI()
    parameters.addIds(list(ids))
    return parameters
