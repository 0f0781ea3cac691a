"""The objects of a label image as ROIs: one an object and time point, a shape a plane."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from parfocal.errors import InputError
from parfocal.models.annotation_entries import Rois
from parfocal.omero.annotate.deletion import mark_of
from parfocal.omero.annotate.materials import Drawn
from parfocal.omero.connection import Connection

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

__all__ = ["RoiIds", "points_text", "write_rois"]

_AT_ONCE = 2_000
_BYTES_AT_ONCE = 16 << 20
_OBJECT_BYTES = 400
"""More than Ice takes for a ROI without its name, or for a shape without pixels and corners."""

_POINT_BYTES = 16
"""As much as a corner takes as text, of images of less than ten million pixels a side."""

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
    RemoteError
        If the server fails.
    InputError
        If it refuses, or the shapes of one object do not fit into a message.
    """
    where = f"{entry.name} of {connection.server.uri}/image/{image_id}"
    messages = ((part, _rois(entry, part, image_id, token)) for part in _parts(drawn, where))
    return connection.once(partial(_save_all, messages=messages))


def _save_all(gateway: BlitzGateway, messages: Iterable[tuple[list[Drawn], list[Any]]]) -> RoiIds:
    """Save messages; while the server works on one, the next is made and sent."""
    found = RoiIds()
    service = gateway.getUpdateService()
    under_way: deque[tuple[list[Drawn], Any]] = deque()

    def end_to(most: int) -> None:
        while len(under_way) > most:
            part, call = under_way.popleft()
            ids = service.end_saveAndReturnIds(call)
            keys = [(each.t, each.label) for each in part]
            found.by_object.update(zip(keys, map(int, ids), strict=True))

    try:
        for part, rois in messages:
            call = service.begin_saveAndReturnIds(rois, _ctx=gateway.SERVICE_OPTS)
            under_way.append((part, call))
            end_to(1)
        end_to(0)
    finally:
        for _, call in under_way:
            call.waitForCompleted()  # what is undone next must not meet a call that is at work
    return found


def _parts(drawn: Iterable[Drawn], where: str) -> Iterator[list[Drawn]]:
    """Divide outlines into parts that a server takes in one message."""
    part: list[Drawn] = []
    size = 0
    for each in drawn:
        more = _bytes_of(each)
        _refuse_too_large(each, more, where)
        if part and (len(part) == _AT_ONCE or size + more > _BYTES_AT_ONCE):
            yield part
            part, size = [], 0
        part.append(each)
        size += more
    if part:
        yield part


def _bytes_of(drawn: Drawn) -> int:
    """Return no less than Ice takes for a ROI, however small its shapes are."""
    shapes = sum(
        len(shape.bits) if hasattr(shape, "bits") else _POINT_BYTES * len(shape.points)
        for shape in drawn.shapes
    )
    return _OBJECT_BYTES * (1 + len(drawn.shapes)) + shapes


def _refuse_too_large(drawn: Drawn, size: int, where: str) -> None:
    """Refuse a ROI that no message can hold; shapes that come later would count as edited."""
    from omero.constants import MESSAGESIZEMAX

    most = MESSAGESIZEMAX << 10
    if size > most:
        what = "The shapes of an object are too large to be saved on the OMERO server"
        where = f"object {drawn.label} at T {drawn.t}, {where}"
        expected, found = f"at most {most} bytes", f"{len(drawn.shapes)} shapes of {size} bytes"
        remedy = "Plan polygons instead of masks, or with a larger tolerance, or no ROIs."
        raise InputError(what, where=where, expected=expected, found=found, remedy=remedy)


def _rois(entry: Rois, part: list[Drawn], image_id: int, token: str) -> list[Any]:
    once = _Once(image_id, token)
    return [_roi(entry, each, once) for each in part]


class _Mould:
    """Makes objects like one of omero-py, which itself takes ten times as long.

    Its classes set each member by a method in Python, and there are thousands of objects.
    """

    def __init__(self, like: Any) -> None:
        self._class: Any = type(like)
        self._members = vars(like)
        self._lists = [name for name, value in vars(like).items() if isinstance(value, list)]
        details = self._members.get("_details")
        self._details = None if details is None else _Mould(details)

    def make(self, **members: Any) -> Any:
        """Return an object that shares neither details nor collections with others.

        Parameters
        ----------
        members
            Values as omero-py keeps them, by names that begin with an underscore.
        """
        made = self._class.__new__(self._class)
        own = vars(made)
        own.update(self._members)
        own.update(members)
        for name in self._lists:
            own[name] = []
        if self._details is not None:
            own["_details"] = self._details.make()
        return made


class _Once:
    """What stands in a message once, however many shapes have it, and what shapes are made from."""

    def __init__(self, image_id: int, token: str) -> None:
        import omero
        from omero.rtypes import rdouble, rint, rstring

        image, mark = omero.model.ImageI(image_id, False), rstring(mark_of(token))
        self.real = cache(rdouble)
        self.whole = cache(rint)
        roi, mask, polygon = omero.model.RoiI(), omero.model.MaskI(), omero.model.PolygonI()
        roi.image, roi.description = image, mark
        mask.fillColor, polygon.strokeColor = rint(_signed(_FILL)), rint(_signed(_STROKE))
        self.roi, self.mask, self.polygon = _Mould(roi), _Mould(mask), _Mould(polygon)


def _roi(entry: Rois, drawn: Drawn, once: _Once) -> Any:
    from omero.rtypes import rstring

    roi = once.roi.make(_name=rstring(f"{entry.name} {drawn.label}"))
    text = rstring(str(drawn.label))
    t = None if entry.all_times else once.whole(drawn.t)
    for each in drawn.shapes:
        z = None if entry.all_planes else once.whole(each.z)
        make = _mask if hasattr(each, "bits") else _polygon
        roi.addShape(make(each, once, _textValue=text, _theZ=z, _theT=t))
    return roi


def _mask(plane: Any, once: _Once, **members: Any) -> Any:
    return once.mask.make(
        _x=once.real(plane.x),
        _y=once.real(plane.y),
        _width=once.real(plane.width),
        _height=once.real(plane.height),
        _bytes=plane.bits,
        **members,
    )


def _polygon(plane: Any, once: _Once, **members: Any) -> Any:
    from omero.rtypes import rstring

    return once.polygon.make(_points=rstring(points_text(plane.points)), **members)


def points_text(points: Any) -> str:
    """Return corners (N, 2) as OMERO writes them: ``x,y x,y``."""
    return " ".join(f"{x},{y}" for x, y in points.tolist())


def _signed(color: int) -> int:
    """Return a colour as the signed integer of 32 bits that OMERO keeps."""
    return color - (1 << 32) if color >= 1 << 31 else color
