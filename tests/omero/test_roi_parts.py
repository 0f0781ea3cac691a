"""ROIs are read in parts that an answer can hold, and none is left out."""

from __future__ import annotations

from typing import Any

import omero.model
import pytest
from omero.rtypes import rdouble, rstring
from tests.omero.server.control import Control

from omero_objects import reference, save, upload_image
from parfocal.omero import roi_parts as module
from parfocal.omero.connection import Connection
from parfocal.omero.description import describe
from parfocal.omero.images import read_image
from parfocal.omero.roi_parts import roi_parts


def mask(bits: int) -> Any:
    """Return a mask of so many pixels."""
    made = omero.model.MaskI()
    made.x = made.y = rdouble(0)
    made.width, made.height, made.bytes = rdouble(bits), rdouble(1), bytes(bits // 8)
    return made


def outline(kind: str, size: int) -> Any:
    """Return a polygon or polyline whose corners take so many bytes."""
    made = getattr(omero.model, f"{kind}I")()
    made.points = rstring("1,2 " * (size // 4))
    return made


def saved(gateway: Any, image: int, shapes: list[Any]) -> int:
    """Save a ROI of some shapes; return its id."""
    roi = omero.model.RoiI()
    roi.image = omero.model.ImageI(image, False)
    for shape in shapes:
        roi.addShape(shape)
    return int(reference(save(gateway, roi)).id.val)


@pytest.fixture
def rois(alice: Any) -> list[int]:
    """ROIs of an image: of many shapes, of large ones of each kind, of none, and a small one."""
    image = upload_image(alice)
    shapes: list[list[Any]] = [
        [omero.model.PointI() for _ in range(30)],
        [mask(96_000)],
        [],
        [outline("Polygon", 12_000)],
        [outline("Polyline", 6_000), outline("Polygon", 6_000)],
        [mask(8)],
    ]
    return [image, *(saved(alice, image, each) for each in shapes)]


@pytest.mark.parametrize(
    ("most", "sizes"), [(1 << 20, [6]), (12_000, [1, 1, 1, 1, 1, 1]), (25_400, [3, 2, 1])]
)
def test_parts_go_by_all_that_shapes_take(
    connection: Connection,
    rois: list[int],
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    sizes: list[int],
) -> None:
    monkeypatch.setattr(module, "_BYTES_AT_ONCE", most)
    parts = list(roi_parts(connection, rois[1:]))
    assert [number for part in parts for number in part] == rois[1:]
    assert [len(part) for part in parts] == sizes


def test_no_rois_have_no_parts(connection: Connection) -> None:
    assert list(roi_parts(connection, [])) == []


def test_an_image_is_described_with_all_of_them(
    connection: Connection, rois: list[int], faults: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, since = read_image(connection, rois[0]), faults.last()
    whole = describe(connection, image)["rois"]
    asked, since = len(faults.journal("IQuery", "findAllByQuery", since)), faults.last()
    monkeypatch.setattr(module, "_BYTES_AT_ONCE", 12_000)
    assert describe(connection, image)["rois"] == whole
    assert len(faults.journal("IQuery", "findAllByQuery", since)) == asked + 5
    assert [each["id"] for each in whole] == rois[1:]
    assert [len(each["shapes"]) for each in whole] == [30, 1, 0, 1, 2, 1]
