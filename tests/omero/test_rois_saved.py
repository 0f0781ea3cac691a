"""ROIs are saved in messages, of which the next is made while the server works on one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import Ice
import numpy as np
import omero.gateway  # or not all kinds of objects are there
import pytest
from omero.rtypes import rdouble, rint, rstring
from tests.omero.server.control import Control

from annotating import Desk
from omero_objects import projection, upload_image
from parfocal.errors import InputError
from parfocal.omero.annotate import regions
from parfocal.omero.annotate.regions import _bytes_of, _parts, _rois, _save_all

ENTRY: Any = SimpleNamespace(name="nuclei", all_planes=False, all_times=False)


class Server:
    """Stands for a gateway and its service; `told` is what happened, in order."""

    def __init__(self, failing: int = 0) -> None:
        self.SERVICE_OPTS = {"omero.group": "3"}
        self.told: list[str] = []
        self._failing = failing

    def getUpdateService(self) -> Server:
        return self

    def begin_saveAndReturnIds(self, rois: list[Any], *, _ctx: Any) -> Any:
        assert _ctx is self.SERVICE_OPTS
        self.told.append(f"begin {rois[0]}")
        wait = partial(self.told.append, f"wait {rois[0]}")
        return SimpleNamespace(number=int(rois[0]), waitForCompleted=wait)

    def end_saveAndReturnIds(self, under_way: Any) -> list[int]:
        call = under_way.number
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


def test_a_message_is_made_and_sent_while_the_server_works_on_the_one_before() -> None:
    server = Server()
    found = _save_all(server, server.messages(3))
    assert server.told == [
        *("make 1", "begin 1", "make 2", "begin 2", "end 1"),
        *("make 3", "begin 3", "end 2", "end 3"),
    ]
    assert found.by_object == {(t, label): 100 * label + t for label in (1, 2, 3) for t in (0, 1)}
    assert found.ids == [100, 101, 200, 201, 300, 301]


def test_an_error_waits_for_the_call_that_is_under_way() -> None:
    server = Server()
    with pytest.raises(ValueError, match="a damaged label image"):
        _save_all(server, server.messages(3, failing=2))
    assert server.told == ["make 1", "begin 1", "make 2", "wait 1"]


def test_after_a_call_that_fails_none_begins_and_what_is_under_way_is_waited_for() -> None:
    server = Server(failing=1)
    with pytest.raises(OSError, match="refused"):
        _save_all(server, server.messages(3))
    assert server.told == ["make 1", "begin 1", "make 2", "begin 2", "end 1", "wait 2"]


def test_the_last_call_may_fail_too() -> None:
    server = Server(failing=3)
    with pytest.raises(OSError, match="refused"):
        _save_all(server, server.messages(3))
    assert server.told[-1] == "end 3"
    assert server.told.count("end 3") == 1


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


def tiny(kind: str, count: int, label: int = 1) -> Any:
    """Return the outline of an object that is small in many planes, each in another place."""
    if kind == "mask":
        shapes = [
            SimpleNamespace(
                x=7 * z, y=7 * z + 1, width=7 * z + 2, height=7 * z + 3, bits=b"\x80", z=z
            )
            for z in range(count)
        ]
    else:
        corners = np.array([[0, 0], [1, 0], [1, 1]]) + 1_000_000
        shapes = [SimpleNamespace(points=corners + 7 * z, z=z) for z in range(count)]
    return SimpleNamespace(t=0, label=label, shapes=shapes)


class Scale(Ice.Blobject):
    """Weighs the messages that it is sent."""

    def __init__(self) -> None:
        self.bytes: list[int] = []

    def ice_invoke(self, message: bytes, current: Any) -> tuple[bool, bytes]:
        """Take the arguments of a call, whatever they are."""
        self.bytes.append(len(message))
        return True, b""


@pytest.fixture
def scale() -> Iterator[tuple[Scale, Any]]:
    """What weighs messages, and a service that stands before it."""
    data = Ice.InitializationData()
    data.properties = Ice.createProperties()
    data.properties.setProperty("Ice.MessageSizeMax", "250000")
    communicator = Ice.initialize(data)
    adapter = communicator.createObjectAdapterWithEndpoints("scale", "tcp -h 127.0.0.1")
    made = Scale()
    proxy = adapter.addWithUUID(made)
    adapter.activate()
    yield made, omero.api.IUpdatePrx.uncheckedCast(proxy.ice_collocationOptimized(False))
    communicator.destroy()


@pytest.mark.parametrize("encoding", [Ice.Encoding_1_0, Ice.Encoding_1_1], ids=str)
@pytest.mark.parametrize("kind", ["mask", "polygon"])
@pytest.mark.parametrize(("objects", "planes"), [(1, 2_000), (300, 7), (2_000, 1)])
def test_the_estimate_is_no_less_than_ice_takes(
    scale: tuple[Scale, Any], encoding: Any, kind: str, objects: int, planes: int
) -> None:
    drawn = [tiny(kind, planes, label) for label in range(10**6, 10**6 + objects)]
    with pytest.raises(Ice.MarshalException):  # no answer
        scale[1].ice_encodingVersion(encoding).saveAndReturnIds(
            _rois(ENTRY, drawn, 2**40, "f" * 32)
        )
    estimate = sum(map(_bytes_of, drawn))
    assert scale[0].bytes[0] <= estimate <= 8 * scale[0].bytes[0]


def test_messages_are_bounded_by_all_that_shapes_take() -> None:
    drawn = [tiny("mask", 2_000, label) for label in range(100)]
    parts = list(_parts(drawn, "here"))
    assert [each.label for part in parts for each in part] == list(range(100))
    sizes = [sum(map(_bytes_of, part)) for part in parts]
    assert len(sizes) == 5
    assert max(sizes) <= regions._BYTES_AT_ONCE < sizes[0] + _bytes_of(drawn[0])


def test_objects_without_shapes_are_bounded_by_their_number() -> None:
    drawn = [tiny("mask", 1, label) for label in range(2 * regions._AT_ONCE + 1)]
    sizes = [len(part) for part in _parts(drawn, "here")]
    assert sizes == [regions._AT_ONCE, regions._AT_ONCE, 1]
    assert list(_parts([], "here")) == []


def test_one_object_of_very_many_planes_is_a_message_of_its_own() -> None:
    drawn = [tiny("mask", 1, 1), tiny("mask", 100_000, 2), tiny("mask", 1, 3)]
    labels = [[each.label for each in part] for part in _parts(drawn, "here")]
    assert labels == [[1], [2], [3]]


def test_what_no_message_can_hold_is_told_before_it_is_sent() -> None:
    plane = SimpleNamespace(x=0, y=0, width=5_792, height=5_792, bits=bytes(1 << 22), z=0)
    drawn: Any = SimpleNamespace(t=3, label=7, shapes=[plane] * 64)
    with pytest.raises(InputError, match="too large to be saved") as caught:
        list(_parts([drawn], "nuclei of omero://host/image/5"))
    assert caught.value.where == "object 7 at T 3, nuclei of omero://host/image/5"
    assert "polygons" in str(caught.value.remedy)
    drawn.shapes = [plane] * 58
    assert len(list(_parts([drawn], ""))) == 1


def test_very_many_tiny_shapes_come_back_whole(
    alice: Any, logged_in: str, tmp_path: Path, faults: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regions, "_BYTES_AT_ONCE", 200_000)
    target = f"{logged_in}/image/{upload_image(alice)}"
    labels = np.zeros((1, 60, 8, 10), "uint16")
    labels[0, :, ::2, ::2] = 1 + np.arange(20).reshape(4, 5)
    desk = Desk(tmp_path / "results")
    desk.labels(labels)
    desk.targets[target] = [desk.rois(target, labels)]
    since = faults.last()
    desk.apply()
    assert len(faults.journal("IUpdate", "saveAndReturnIds", since)) == 3
    query = "select count(s.id) from Shape s where s.roi.image.id = :n"
    assert projection(alice, query, n=int(target.rpartition("/")[2])) == [20 * 60]
    assert desk.verify()["verdict"] == "verified"
