"""One ROI on a server, and whether it is as it was written."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

from parfocal.models.annotation_entries import Rois
from parfocal.omero.annotate.deletion import mark_of
from parfocal.omero.annotate.materials import Drawn
from parfocal.omero.annotate.regions import points_text
from parfocal.omero.connection import Connection
from parfocal.omero.images import RESULT_MARK
from parfocal.omero.queries import find_all

__all__ = ["ROIS", "differences_of", "image_of", "read_roi", "shape_difference", "token_of"]

ROIS = "select r from Roi r left outer join fetch r.shapes where r.id in (:ids)"
"""ROIs with their shapes."""


def read_roi(connection: Connection, number: int) -> Any:
    """Return a ROI of a server with its shapes; None where there is none, or one may not see it.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    found = connection.call(partial(find_all, query=ROIS, ids=[number]))
    return found[0] if found else None


def token_of(roi: Any) -> str | None:
    """Return the token that a ROI of Parfocal's bears; None of others."""
    text = _text(roi.description)
    return text.removeprefix(RESULT_MARK) if text.startswith(RESULT_MARK) else None


def image_of(roi: Any) -> int:
    """Return the number of the image that a ROI is on."""
    return int(roi.image.id.val)


def differences_of(roi: Any, drawn: Drawn, entry: Rois, token: str) -> tuple[str, ...]:
    """Return in what a ROI is not as it was written.

    Parameters
    ----------
    roi : omero.model.Roi
        With its shapes.
    drawn : Drawn
        The object.
    entry : Rois
        The entry of the plan.
    token : str
        Of the journal.
    """
    texts = {
        "name": (_text(roi.name), f"{entry.name} {drawn.label}"),
        "description": (_text(roi.description), mark_of(token)),
    }
    told = [
        f"its {name} is {found!r}, and was {written!r}"
        for name, (found, written) in texts.items()
        if found != written
    ]
    shapes = shape_difference(roi, drawn, entry)
    return (*told, shapes) if shapes else tuple(told)


def _text(value: Any) -> str:
    return "" if value is None else str(value.val)


def shape_difference(roi: Any, drawn: Drawn, entry: Rois) -> str | None:
    """Return that the shapes of a ROI are not those of its object; None where they are."""
    shapes = [shape for shape in roi.copyShapes() if shape is not None]
    found = Counter(_shape_key(shape) for shape in shapes)
    expected = Counter(_drawn_key(shape, drawn, entry) for shape in drawn.shapes)
    return None if found == expected else "its shapes are not those of the object"


def _shape_key(shape: Any) -> tuple[Any, ...]:
    place = tuple(-1 if each is None else each.val for each in (shape.theT, shape.theZ))
    if hasattr(shape, "points"):
        return (*place, _text(shape.points))
    if not hasattr(shape, "bytes"):  # an ellipse, or whatever else a user has drawn
        return (*place, type(shape).__name__)
    box = (shape.y, shape.x, shape.height, shape.width)
    sizes = (None if each is None else each.val for each in box)
    return (*place, *sizes, bytes(shape.bytes or b""))


def _drawn_key(shape: Any, drawn: Drawn, entry: Rois) -> tuple[Any, ...]:
    place = (-1 if entry.all_times else drawn.t, -1 if entry.all_planes else shape.z)
    if hasattr(shape, "points"):
        return (*place, points_text(shape.points))
    return (*place, shape.y, shape.x, shape.height, shape.width, shape.bits)
