"""The objects of a label image as ROIs: one an object and time point, a shape a plane."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
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
    found = RoiIds()
    for part in _parts(drawn):
        rois = _rois(entry, part, image_id, token)
        ids = connection.once(partial(_save, rois=rois))
        found.by_object |= {
            (each.t, each.label): number for each, number in zip(part, ids, strict=True)
        }
    return found


def _save(gateway: BlitzGateway, rois: list[Any]) -> list[int]:
    return [
        int(each)
        for each in gateway.getUpdateService().saveAndReturnIds(rois, gateway.SERVICE_OPTS)
    ]


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

    image = omero.model.ImageI(image_id, False)  # one for all of a message
    mark = rstring(mark_of(token))
    return [_roi(entry, each, image, mark) for each in part]


def _roi(entry: Rois, drawn: Drawn, image: Any, mark: Any) -> Any:
    import omero
    from omero.rtypes import rint, rstring

    roi = omero.model.RoiI()
    roi.image = image
    roi.name, roi.description = rstring(f"{entry.name} {drawn.label}"), mark
    for each in drawn.shapes:
        shape = _mask(each) if hasattr(each, "bits") else _polygon(each)
        shape.textValue = rstring(str(drawn.label))
        if not entry.all_planes:
            shape.theZ = rint(each.z)
        if not entry.all_times:
            shape.theT = rint(drawn.t)
        roi.addShape(shape)
    return roi


def _mask(plane: Any) -> Any:
    import omero
    from omero.rtypes import rdouble, rint

    mask = omero.model.MaskI()
    mask.x, mask.y = rdouble(plane.x), rdouble(plane.y)
    mask.width, mask.height = rdouble(plane.width), rdouble(plane.height)
    mask.bytes = plane.bits
    mask.fillColor = rint(_signed(_FILL))
    return mask


def _polygon(plane: Any) -> Any:
    import omero
    from omero.rtypes import rint, rstring

    polygon = omero.model.PolygonI()
    polygon.points = rstring(points_text(plane.points))
    polygon.strokeColor = rint(_signed(_STROKE))
    return polygon


def points_text(points: Any) -> str:
    """Return corners (N, 2) as OMERO writes them: ``x,y x,y``."""
    return " ".join(f"{x},{y}" for x, y in points.tolist())


def _signed(color: int) -> int:
    """Return a colour as the signed integer of 32 bits that OMERO keeps."""
    return color - (1 << 32) if color >= 1 << 31 else color
