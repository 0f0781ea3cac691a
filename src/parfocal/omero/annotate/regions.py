"""The objects of a label image as ROIs: one an object and time point, a shape a plane."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from parfocal.models.annotation_entries import Rois
from parfocal.omero.annotate.deletion import mark_of
from parfocal.omero.annotate.materials import Drawn
from parfocal.omero.connection import Connection

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

__all__ = ["RoiIds", "points_text", "write_rois"]

_AT_ONCE = 2_000
_BYTES_AT_ONCE = 16 << 20
_FILL, _STROKE = 0x00FFFF40, 0x00FFFFFF
"""Colours of masks and outlines, RGBA."""


@dataclass
class RoiIds:
    """The ids of the ROIs of one entry, by time point and label."""

    by_object: dict[tuple[int, int], int] = field(default_factory=dict)

    @property
    def ids(self) -> list[int]:
        """All of them, in the order in which they were made."""
        return list(self.by_object.values())


def write_rois(
    connection: Connection, entry: Rois, drawn: Iterable[Drawn], image_id: int, token: str
) -> RoiIds:
    """Save the ROIs of a label image, many at once.

    What was saved when an error comes is found by its `token`.

    Parameters
    ----------
    connection : Connection
        In the group of the image.
    entry : Rois
        How they are called and where they lie.
    drawn : iterable of Drawn
        The outlines of the objects.
    image_id : int
        The image.
    token : str
        By which they can be found.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    messages = ((part, _rois(entry, part, image_id, token)) for part in _parts(drawn))
    return connection.once(partial(_save_all, messages=messages))


def _save_all(gateway: BlitzGateway, messages: Iterable[tuple[list[Drawn], list[Any]]]) -> RoiIds:
    """Save messages one after the other; while the server works on one, the next is made."""
    found = RoiIds()
    service = gateway.getUpdateService()
    under_way: list[tuple[list[Drawn], Any]] = []

    def end() -> None:
        while under_way:
            part, call = under_way.pop()
            ids = service.end_saveAndReturnIds(call)
            keys = [(each.t, each.label) for each in part]
            found.by_object.update(zip(keys, map(int, ids), strict=True))

    try:
        for part, rois in messages:
            end()
            call = service.begin_saveAndReturnIds(rois, _ctx=gateway.SERVICE_OPTS)
            under_way.append((part, call))
    finally:
        end()  # also after an error: what is undone next must not meet a call that is at work
    return found


def _parts(drawn: Iterable[Drawn]) -> Iterator[list[Drawn]]:
    """Divide outlines into parts that a server takes in one message."""
    part: list[Drawn] = []
    size = 0
    for each in drawn:
        part.append(each)
        size += sum(_bytes_of(shape) for shape in each.shapes)
        if len(part) == _AT_ONCE or size > _BYTES_AT_ONCE:
            yield part
            part, size = [], 0
    if part:
        yield part


def _bytes_of(shape: Any) -> int:
    return len(shape.bits) if hasattr(shape, "bits") else 12 * len(shape.points)


def _rois(entry: Rois, part: list[Drawn], image_id: int, token: str) -> list[Any]:
    import omero
    from omero.rtypes import rstring

    image = omero.model.ImageI(image_id, False)
    once = _Once(rstring(mark_of(token)))
    return [_roi(entry, each, image, once) for each in part]


class _Once:
    """Values that stand in a message once, however many shapes have them."""

    def __init__(self, mark: Any) -> None:
        from omero.rtypes import rdouble, rint

        self.mark = mark
        self.real = cache(rdouble)
        self.whole = cache(rint)


def _roi(entry: Rois, drawn: Drawn, image: Any, once: _Once) -> Any:
    import omero
    from omero.rtypes import rstring

    roi = omero.model.RoiI()
    roi.image = image
    roi.name, roi.description = rstring(f"{entry.name} {drawn.label}"), once.mark
    text = rstring(str(drawn.label))
    for each in drawn.shapes:
        shape = _mask(each, once) if hasattr(each, "bits") else _polygon(each, once)
        shape.textValue = text
        if not entry.all_planes:
            shape.theZ = once.whole(each.z)
        if not entry.all_times:
            shape.theT = once.whole(drawn.t)
        roi.addShape(shape)
    return roi


def _mask(plane: Any, once: _Once) -> Any:
    import omero

    mask = omero.model.MaskI()
    mask.x, mask.y = once.real(plane.x), once.real(plane.y)
    mask.width, mask.height = once.real(plane.width), once.real(plane.height)
    mask.bytes = plane.bits
    mask.fillColor = once.whole(_signed(_FILL))
    return mask


def _polygon(plane: Any, once: _Once) -> Any:
    import omero
    from omero.rtypes import rstring

    polygon = omero.model.PolygonI()
    polygon.points = rstring(points_text(plane.points))
    polygon.strokeColor = once.whole(_signed(_STROKE))
    return polygon


def points_text(points: Any) -> str:
    """Return corners (N, 2) as OMERO writes them: ``x,y x,y``."""
    return " ".join(f"{x},{y}" for x, y in points.tolist())


def _signed(color: int) -> int:
    """Return a colour as the signed integer of 32 bits that OMERO keeps."""
    return color - (1 << 32) if color >= 1 << 31 else color
