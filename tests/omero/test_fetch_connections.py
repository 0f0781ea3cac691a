"""Raw pixels are read by several connections at once, and no picture is ever asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from tests.omero.server.control import Control

from parfocal.engine import run_step
from parfocal.images import open_image
from parfocal.models.manifest import read_manifest
from parfocal.steps import load_step

HELD_S = 100.0
"""How long the server keeps a tile back, unless the test lets it go on."""

PLANES = 12

Fetch = Callable[..., Path]


@pytest.fixture
def imported(faults: Control, tmp_path: Path) -> tuple[int, np.ndarray]:
    """An image with the file that it came from, of planes that are no stacks: its id, pixels."""
    pixels = (np.arange(PLANES * 40 * 50) % 251).astype(np.uint16).reshape(4, 3, 1, 40, 50)
    np.save(tmp_path / "pixels.npy", pixels)
    file = tmp_path / "cells.ome.tiff"
    tifffile.imwrite(file, pixels.swapaxes(1, 2), ome=True, metadata={"axes": "TZCYX"})
    series = [{"npy": str(tmp_path / "pixels.npy"), "name": "cells"}]
    made = faults.seed("import", files=[str(file)], series=series, user="alice", group="annotate")
    return int(made["images"][0]), pixels


@pytest.fixture
def fetch(logged_in: str, tmp_path: Path) -> Fetch:
    """Run fetch-image on an image of the server; returns the folder of originals."""

    def run(image: int, **params: Any) -> Path:
        chosen = {"source": f"{logged_in}/image/{image}", **params}
        run_step(load_step("fetch-image"), {}, {"original": tmp_path / "original"}, chosen)
        return tmp_path / "original"

    return run


def read(folder: Path) -> np.ndarray:
    with open_image(folder / read_manifest(folder).primary) as image:
        return image.read(tuple(slice(0, size) for size in image.shape5))


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def pictures(faults: Control, since: int) -> list[tuple[str, str]]:
    """Return the calls that have to do with rendered pixels."""
    called = [(call["service"], call["method"]) for call in faults.journal(since=since)]
    marks = ("render", "thumb", "jpeg", "projectstack")
    return [call for call in called if any(mark in "".join(call).lower() for mark in marks)]


@pytest.mark.parametrize(("stated", "count"), [(None, 4), ("2", 2), ("7", 7)])
def test_tiles_are_asked_for_by_so_many_connections_at_once(
    imported: tuple[int, np.ndarray],
    fetch: Fetch,
    faults: Control,
    monkeypatch: pytest.MonkeyPatch,
    stated: str | None,
    count: int,
) -> None:
    if stated:
        monkeypatch.setenv("PARFOCAL_OMERO_CONNECTIONS", stated)
    since = faults.last()
    held = faults.delay("RawPixelsStore", "getTile", HELD_S, times=PLANES)
    with ThreadPoolExecutor(1) as pool:
        folder = pool.submit(fetch, imported[0], pixels="raw")
        try:
            # None of them is answered: each is of a connection that does not wait for another.
            wait_for(lambda: faults.seen(held) >= count)
        finally:
            faults.reset()
        np.testing.assert_array_equal(read(folder.result(120)), imported[1])
    calls = faults.journal("RawPixelsStore", "getTile", since)
    assert len(calls) == PLANES
    assert len({call["session"] for call in calls[:count]}) == count
    assert len({call["session"] for call in calls}) == count
    # And one that asked for all else.
    assert len(faults.journal("Router", "createSession", since)) == count + 1


@pytest.mark.parametrize(
    "params",
    [
        {"pixels": "original"},
        {"pixels": "raw"},
        {"pixels": "raw", "attachments": True},
        {"level": 0},
        {"region": {"y": [3, 20]}},
    ],
    ids=["original", "raw", "attachments", "level", "region"],
)
def test_no_picture_is_asked_for(
    imported: tuple[int, np.ndarray], fetch: Fetch, faults: Control, params: dict[str, Any]
) -> None:
    since = faults.last()
    found = read(fetch(imported[0], **params))
    np.testing.assert_array_equal(
        found,
        imported[1][..., slice(*params["region"]["y"]), :] if "region" in params else imported[1],
    )
    assert faults.journal(since=since)
    assert pictures(faults, since) == []


def test_pictures_would_be_seen(
    imported: tuple[int, np.ndarray], alice: Any, faults: Control
) -> None:
    image, since = alice.getObject("Image", imported[0]), faults.last()
    assert image.getThumbnail()
    assert image.renderImage(0, 0)
    assert {service for service, _ in pictures(faults, since)} >= {
        "RenderingEngine",
        "ThumbnailStore",
    }
