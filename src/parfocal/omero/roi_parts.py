"""ROIs of an OMERO server in parts whose shapes one answer can hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

from parfocal.omero.connection import Connection
from parfocal.omero.queries import in_parts, project

__all__ = ["roi_parts"]

_BYTES_AT_ONCE = 32 << 20
_SHAPE_BYTES = 400
"""More than Ice takes for a shape, besides its pixels or corners."""

_MOST = "select s.roi.id, {} from {} s where s.roi.id in (:ids) group by s.roi.id"
_SIZES = {
    _MOST.format("count(s.id)", "Shape"): _SHAPE_BYTES,
    _MOST.format("sum(s.width * s.height)", "Mask"): 1 / 8,
    _MOST.format("sum(length(s.points))", "Polygon"): 1,
    _MOST.format("sum(length(s.points))", "Polyline"): 1,
}
"""What to ask of ROIs, and how many bytes each of what is counted takes."""


def roi_parts(connection: Connection, ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield ids of ROIs in parts that can be fetched with their shapes; all, and in their order.

    A ROI whose shapes are too large is a part of its own.

    Parameters
    ----------
    connection : Connection
        To the server.
    ids : sequence of int
        Ids of ROIs.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    for part in in_parts(ids):
        sizes: Counter[int] = Counter()
        for query, each_bytes in _SIZES.items():
            for number, count in connection.call(partial(project, query=query, ids=part)):
                sizes[number] += int((count or 0) * each_bytes)
        start = total = 0
        for stop, number in enumerate(part):
            if stop > start and total + sizes[number] > _BYTES_AT_ONCE:
                yield part[start:stop]
                start, total = stop, 0
            total += sizes[number]
        yield part[start:]
