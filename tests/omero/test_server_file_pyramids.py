"""Images whose original file has resolutions have those on the server, however small they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.omero.server.control import Control

from omero_process import OwnServer
from parfocal.engine import run_step
from parfocal.images import open_image
from parfocal.models.manifest import read_manifest
from parfocal.steps import load_step

PIXELS = (np.arange(2 * 3 * 32 * 48) % 60_013).astype(np.uint16).reshape(1, 2, 3, 32, 48)
LEVELS = 3


@pytest.fixture
def image(faults: Control, tmp_path: Path) -> int:
    """An image of a file of three resolutions; its id."""
    np.save(tmp_path / "pixels.npy", PIXELS)
    (tmp_path / "slide.xyz").write_bytes(b"no image")
    told = {"npy": str(tmp_path / "pixels.npy"), "name": "slide", "levels": LEVELS}
    made = faults.seed(
        "import",
        files=[str(tmp_path / "slide.xyz")],
        series=[told],
        user="alice",
        group="annotate",
    )
    return int(made["images"][0])


def test_resolutions_are_told_and_read(
    image: int, alice: Any, gateway: Callable[..., Any], own_server: OwnServer
) -> None:
    def levels(connection: Any) -> list[tuple[int, int]]:
        store = connection.c.sf.createRawPixelsStore()
        store.setPixelsId(connection.getObject("Image", image).getPixelsId(), False)
        try:
            assert not store.requiresPixelsPyramid()
            assert store.getResolutionLevel() == LEVELS - 1  # the full one, which is the last
            store.setResolutionLevel(1)
            tile = np.frombuffer(store.getTile(2, 1, 0, 4, 3, 10, 5), ">u2").reshape(5, 10)
            np.testing.assert_array_equal(tile, PIXELS[0, 1, 2, ::2, ::2][3:8, 4:14])
            told = store.getResolutionDescriptions()
            return [(each.sizeX, each.sizeY) for each in told]
        finally:
            store.close()

    assert levels(alice) == [(48, 32), (24, 16), (12, 8)]
    own_server.restart()
    assert levels(gateway("alice")) == [(48, 32), (24, 16), (12, 8)]


@pytest.mark.parametrize(("params", "step"), [({}, 1), ({"level": 2}, 4)], ids=["whole", "level"])
def test_they_are_fetched(
    image: int, logged_in: str, tmp_path: Path, params: dict[str, int], step: int
) -> None:
    folder = tmp_path / "original"
    chosen = {"source": f"{logged_in}/image/{image}", "pixels": "raw", **params}
    run_step(load_step("fetch-image"), {}, {"original": folder}, chosen)
    with open_image(folder / read_manifest(folder).primary) as found:
        pixels = found.read(tuple(slice(0, size) for size in found.shape5))
    np.testing.assert_array_equal(pixels, PIXELS[..., ::step, ::step])
    assert json.loads((folder / "omero.json").read_text("utf-8"))["id"] == image
