"""A server that is gone for a minute: what reads pixels and what annotates go on afterwards."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.omero.server.control import Control

from annotating import Desk
from omero_process import OwnServer
from omero_state import held
from parfocal.images import open_image
from parfocal.models.manifest import read_manifest

AWAY_S = 60
PLANES = 12
ANSWERED = 2
"""How many tiles have come when the server goes."""

Start = Callable[..., subprocess.Popen[bytes]]


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def image(alice: Any) -> tuple[int, np.ndarray]:
    """An image of `PLANES` time points, and its pixels."""
    pixels = (np.arange(PLANES * 40 * 50) % 60_013).astype(np.uint16).reshape(PLANES, 40, 50)
    made = alice.createImageFromNumpySeq(iter(pixels), "cells", 1, 1, PLANES)
    return int(made.getId()), pixels


def test_what_was_under_way_is_done_when_it_is_back(
    start: Start,
    image: tuple[int, np.ndarray],
    target: str,
    logged_in: str,
    own_server: OwnServer,
    faults: Control,
    gateway: Callable[..., Any],
    tmp_path: Path,
) -> None:
    before = held(gateway("root"))
    desk = Desk(tmp_path / "results")
    desk.targets[target] = desk.everything(target)
    desk.write_plan()
    tiles = faults.delay("RawPixelsStore", "getTile", 15, nth=ANSWERED + 1, times=PLANES)
    rows = faults.delay("Table", "addData", 5)
    source = ("--set", f"source={logged_in}/image/{image[0]}", "--set", "pixels=raw")
    fetching = start("fetch-image", *source, "--original", tmp_path / "original")
    wait_for(lambda: faults.seen(tiles) > ANSWERED)
    results = ("--results", desk.folder, "--plan", desk.plan)
    applying = start("apply-annotations", *results, "--receipt", tmp_path / "receipt.json")
    wait_for(lambda: faults.seen(rows) == 1)
    own_server.stop()
    time.sleep(AWAY_S)
    assert (fetching.poll(), applying.poll()) == (None, None)
    own_server.start()
    assert (fetching.wait(180), applying.wait(180)) == (0, 0)

    for name in ("fetch-image", "apply-annotations"):
        assert "trying again" in (tmp_path / f"{name}.log").read_text("utf-8")
    with open_image(tmp_path / "original" / read_manifest(tmp_path / "original").primary) as found:
        pixels = found.read(tuple(slice(0, size) for size in found.shape5))
    np.testing.assert_array_equal(pixels[:, 0, 0], image[1])
    # What had come was not asked for again: this is all since the server was started again.
    assert 0 < len(faults.journal("RawPixelsStore", "getTile")) <= PLANES - ANSWERED
    desk.verify()
    desk.revert()
    assert held(gateway("root")) == before
