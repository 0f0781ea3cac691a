"""ROIs are saved in messages, of which the next is made while the server works on one."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import omero.gateway  # or not all kinds of objects are there
import pytest
from omero.rtypes import rdouble, rint, rstring

from parfocal.omero.annotate.regions import _rois, _save_all

ENTRY: Any = SimpleNamespace(name="nuclei", all_planes=False, all_times=False)


class Server:
    """Stands for a gateway and its service; `told` is what happened, in order."""

    def __init__(self, failing: int = 0) -> None:
        self.SERVICE_OPTS = {"omero.group": "3"}
        self.told: list[str] = []
        self._failing = failing

    def getUpdateService(self) -> Server:
        return self

    def begin_saveAndReturnIds(self, rois: list[Any], *, _ctx: Any) -> int:
        assert _ctx is self.SERVICE_OPTS
        self.told.append(f"begin {rois}")
        return int(rois[0])

    def end_saveAndReturnIds(self, call: int) -> list[int]:
        self.told.append(f"end {call}")
        if call == self._failing:
            msg = "refused"
            raise OSError(msg)
        return [100 * call, 100 * call + 1]

    def messages(self, count: int, failing: int = 0) -> Iterator[tuple[Any, list[Any]]]:
        """Yield messages of two objects each."""
        for number in range(1, count + 1):
            self.told.append(f"make {number}")
            if number == failing:
                msg = "a damaged label image"
                raise ValueError(msg)
            yield [SimpleNamespace(t=t, label=number) for t in (0, 1)], [number]


def test_a_message_is_made_while_the_server_works_on_the_one_before() -> None:
    server = Server()
    found = _save_all(server, server.messages(3))
    assert server.told == [
        *("make 1", "begin [1]", "make 2", "end 1", "begin [2]"),
        *("make 3", "end 2", "begin [3]", "end 3"),
    ]
    assert found.by_object == {(t, label): 100 * label + t for label in (1, 2, 3) for t in (0, 1)}
    assert found.ids == [100, 101, 200, 201, 300, 301]


def test_an_error_waits_for_the_call_that_is_under_way() -> None:
    server = Server()
    with pytest.raises(ValueError, match="a damaged label image"):
        _save_all(server, server.messages(3, failing=2))
    assert server.told == ["make 1", "begin [1]", "make 2", "end 1"]


@pytest.mark.parametrize("failing", [1, 3])
def test_a_call_that_fails_is_ended_once_and_is_the_last(failing: int) -> None:
    server = Server(failing=failing)
    with pytest.raises(OSError, match="refused"):
        _save_all(server, server.messages(3))
    assert server.told.count(f"end {failing}") == 1
    assert server.told[-1] == f"end {failing}"
    assert sum(told.startswith("begin") for told in server.told) == failing


def test_what_shapes_have_in_common_stands_in_a_message_once() -> None:
    masks = [SimpleNamespace(x=4, y=9, width=5, height=5, bits=b"\xff" * 4, z=z) for z in (1, 2)]
    drawn: Any = [SimpleNamespace(t=1, label=7, shapes=masks)]
    (roi,) = _rois(ENTRY, drawn, 3, "token")
    one, other = roi.copyShapes()
    assert [one.x.val, one.y.val, one.width.val, one.height.val] == [4.0, 9.0, 5.0, 5.0]
    assert [one.theZ.val, other.theZ.val, one.theT.val] == [1, 2, 1]
    for name in ("x", "y", "width", "theT", "fillColor", "textValue"):
        assert getattr(one, name) is getattr(other, name)
    assert one.width is one.height
    assert (one.textValue.val, roi.name.val) == ("7", "nuclei 7")


def made_by_omero_py(shape: Any, text: Any) -> Any:
    """Return a ROI of one shape as the setters of omero-py make it."""
    roi = omero.model.RoiI()
    roi.image, roi.name = omero.model.ImageI(3, False), rstring("nuclei 7")
    roi.description = rstring("parfocal:token")
    shape.textValue, shape.theZ, shape.theT = text, rint(2), rint(1)
    roi.addShape(shape)
    return roi


def members(of: Any) -> dict[str, Any]:
    """Return the members of an object of the model, those that are values as text."""
    return {name: str(value) for name, value in vars(of).items()}


@pytest.mark.parametrize("kind", ["mask", "polygon"])
def test_objects_have_the_members_that_omero_py_gives_them_and_share_none(kind: str) -> None:
    if kind == "mask":
        plane = SimpleNamespace(x=4, y=9, width=5, height=6, bits=b"\xff" * 4, z=2)
        shape = omero.model.MaskI()
        shape.x, shape.y, shape.width, shape.height = map(rdouble, (4, 9, 5, 6))
        shape.bytes, shape.fillColor = plane.bits, rint(0x00FFFF40)
    else:
        plane = SimpleNamespace(points=np.array([[1, 2], [3, 2], [3, 5]]), z=2)
        shape = omero.model.PolygonI()
        shape.points, shape.strokeColor = rstring("1,2 3,2 3,5"), rint(0x00FFFFFF)
    drawn: Any = [SimpleNamespace(t=1, label=7, shapes=[plane])] * 2
    one, other = _rois(ENTRY, drawn, 3, "token")
    assert members(one) == members(made_by_omero_py(shape, rstring("7")))
    for first, second in ((one, other), (one.getShape(0), other.getShape(0))):
        shared = {id(value) for value in vars(first).values() if isinstance(value, list)}
        assert shared
        assert not shared & {id(value) for value in vars(second).values()}
        assert first.details is not second.details


def test_outlines_of_all_planes_and_times_name_none() -> None:
    entry: Any = SimpleNamespace(name="nuclei", all_planes=True, all_times=True)
    plane = SimpleNamespace(x=4, y=9, width=5, height=6, bits=b"\xff", z=0)
    drawn: Any = [SimpleNamespace(t=0, label=7, shapes=[plane])]
    (roi,) = _rois(entry, drawn, 3, "token")
    assert roi.getShape(0).theZ is roi.getShape(0).theT is None
