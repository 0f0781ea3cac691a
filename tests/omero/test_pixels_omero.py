"""Raw pixels of a server, region by region, while it comes and goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.omero.server.control import Control

from omero_process import OwnServer
from parfocal.core.blocks import whole
from parfocal.errors import InputError
from parfocal.models.source import OmeroSource, parse_source
from parfocal.omero import pixels as pixels_module
from parfocal.omero.connection import Connection, connect
from parfocal.omero.images import read_image
from parfocal.omero.pixels import OmeroPixels

SHAPE = (2, 2, 3, 20, 30)
PIXELS = (np.arange(np.prod(SHAPE)) * 7 % 60_013 - 30_000).reshape(SHAPE).astype(np.int16)

Regions = st.tuples(
    *[
        st.tuples(st.integers(0, size - 1), st.integers(1, size)).map(
            lambda pair, size=size: slice(pair[0], min(size, pair[0] + pair[1]))
        )
        for size in SHAPE
    ]
)


@pytest.fixture
def source(logged_in: str, alice: Any) -> OmeroSource:
    """An image with `PIXELS`."""
    planes = (PIXELS[t, c, z] for z in range(3) for c in range(2) for t in range(2))
    made = alice.createImageFromNumpySeq(planes, "cells", sizeZ=3, sizeC=2, sizeT=2)
    found = parse_source(f"{logged_in}/image/{made.getId()}")
    assert isinstance(found, OmeroSource)
    return found


@pytest.fixture
def opened(source: OmeroSource) -> Iterator[Callable[..., OmeroPixels]]:
    """Open the pixels; closed at the end."""
    found: list[OmeroPixels] = []

    def open_pixels(connections: int = 1) -> OmeroPixels:
        image = read_image(connect(source.server), source.id)
        found.append(OmeroPixels(source.server, image, connections))
        return found[-1]

    yield open_pixels
    for each in found:
        each.close()


@pytest.mark.parametrize("strip", [10, 100, 1000])
def test_any_region_is_that_of_the_image(
    opened: Callable[..., OmeroPixels], monkeypatch: pytest.MonkeyPatch, strip: int
) -> None:
    monkeypatch.setattr(pixels_module, "_STRIP_BYTES", strip)
    reader = opened(3)

    @settings(max_examples=8, derandomize=True)
    @given(Regions)
    def check(region: Any) -> None:
        np.testing.assert_array_equal(reader.read(region), PIXELS[region])

    check()


def test_one_request_brings_no_more_than_is_allowed(
    opened: Callable[..., OmeroPixels], faults: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixels_module, "_STRIP_BYTES", 5 * 30 * 2)
    reader = opened()
    since = faults.last()
    reader.read((slice(0, 1), slice(0, 1), slice(0, 2), slice(0, 20), slice(0, 30)))
    assert len(faults.journal("RawPixelsStore", "getTile", since)) == 2 * 4


def test_connections_are_used_again_and_services_closed(
    opened: Callable[..., OmeroPixels], faults: Control
) -> None:
    since = faults.last()
    for _ in range(3):
        with opened(2) as reader:
            np.testing.assert_array_equal(reader.read(whole(SHAPE)), PIXELS)
    logins = faults.journal("Router", "createSession", since)
    assert len(logins) <= 1 + 2  # one that asks, and two that read
    made = faults.journal("ServiceFactory", "createRawPixelsStore", since)
    assert len(made) == len(faults.journal("RawPixelsStore", "close", since)) <= 6


@pytest.mark.parametrize("stopped_s", [0, 3])
def test_a_server_that_is_started_again_goes_on(
    opened: Callable[..., OmeroPixels],
    own_server: OwnServer,
    faults: Control,
    stopped_s: float,
) -> None:
    faults.delay("RawPixelsStore", "getTile", 0.2, times=100)
    reader = opened(2)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(reader.read(whole(SHAPE))))
    since = faults.last()
    thread.start()
    _wait_for(lambda: len(faults.journal("RawPixelsStore", "getTile", since)) >= 3)
    own_server.stop()
    time.sleep(stopped_s)
    own_server.start()
    thread.join(60)
    np.testing.assert_array_equal(found[0], PIXELS)


def _wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_an_image_that_is_deleted_meanwhile_is_told_at_once(
    opened: Callable[..., OmeroPixels], source: OmeroSource, alice: Any, faults: Control
) -> None:
    reader = opened(2)
    reader.read((slice(0, 1), slice(0, 1), slice(0, 1), slice(0, 20), slice(0, 30)))
    alice.deleteObjects("Image", [source.id], wait=True)
    since = faults.last()
    with pytest.raises(InputError) as caught:
        reader.read(whole(SHAPE))
    assert source.server.uri in str(caught.value)
    assert len(faults.journal("RawPixelsStore", "getTile", since)) < PIXELS[..., 0, 0].size


def test_a_password_of_its_own_is_used_for_all_connections(
    source: OmeroSource, own_server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from parfocal.omero.credentials import Credentials

    monkeypatch.delenv("OMERO_USER")
    monkeypatch.delenv("OMERO_PASSWORD")
    credentials = Credentials("bob", own_server.password("bob"), "the test")
    with Connection(source.server, credentials) as connection:
        image = read_image(connection, source.id)
    with OmeroPixels(source.server, image, 1, credentials) as reader:
        np.testing.assert_array_equal(reader.read(whole(SHAPE)), PIXELS)


def test_files_below_a_name_that_leads_elsewhere_stay_here(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from parfocal.omero.originals import _path_of

    def text(value: str) -> SimpleNamespace:
        return SimpleNamespace(val=value)

    file = SimpleNamespace(path=text("../a/./../"), name=text("../x.tif"))
    assert _path_of(file) == "a/x.tif"
    assert (tmp_path / _path_of(file)).is_relative_to(tmp_path)


@pytest.mark.parametrize(
    ("value", "unit", "found"),
    [(250.0, "NANOMETER", 0.25), (2.0, "PIXEL", None), (0.0, "MICROMETER", None)],
)
def test_sizes_that_are_no_lengths_are_told(
    source: OmeroSource, alice: Any, value: float, unit: str, found: float | None
) -> None:
    from omero.model import LengthI
    from omero.model.enums import UnitsLength

    pixels = alice.getObject("Image", source.id).getPrimaryPixels()._obj
    pixels.physicalSizeX = LengthI(value, getattr(UnitsLength, unit))
    alice.getUpdateService().saveObject(pixels)
    image = read_image(connect(source.server), source.id)
    assert image.metadata is not None
    assert image.metadata.x_um == found
    assert image.unknown == (() if found else (f"x_um is {value} {unit}",))
