"""Nothing that a run leaves or tells, or shows to others, holds a password or a session key."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.omero.server.control import Control

from watched import Watched

WRONG = "hunter2-is-wrong"
PARFOCAL = (sys.executable, "-m", "parfocal")


@pytest.fixture
def image_uri(logged_in: str, alice: Any) -> Iterator[str]:
    """An image of three planes."""
    planes = (np.full((64, 64), number, np.uint16) for number in range(3))
    image = alice.createImageFromNumpySeq(planes, "of the test", sizeZ=3)
    yield f"{logged_in}/image/{image.getId()}"
    alice.deleteObjects("Image", [image.getId()], wait=True)


@pytest.fixture
def fetch(image_uri: str, tmp_path: Path) -> tuple[Watched, Callable[..., int]]:
    """Fetch the image in a batch of its own, as a workflow does."""
    watched = Watched(tmp_path)

    def run(name: str, **more: str) -> int:
        environment = {"PARFOCAL_LOG": "DEBUG"} | more
        sheet = tmp_path / f"{name}.tsv"
        sheet.write_text(f"image_id\tname\tsource\none\tone\t{image_uri}\n")
        batch = ("--sheet", str(sheet), "--batch", "0", "--batch-size", "1")
        outcome = ("--outcome", f"{name}/outcomes/fetch_image/0.json")
        return watched.run(
            *PARFOCAL,
            "fetch-image",
            *batch,
            "--folder",
            name,
            *outcome,
            "--set",
            "pixels=raw",
            **environment,
        )

    return watched, run


def test_no_password_and_no_key_is_found(
    fetch: tuple[Watched, Callable[..., int]],
    faults: Control,
    alice: Any,
    image_uri: str,
) -> None:
    watched, run = fetch
    since = faults.last()
    lost = faults.kill_at("RawPixelsStore", "getTile")
    assert run("by_password") == 0
    assert faults.seen(lost) > 1  # the first session ended in mid-transfer
    keys = {each["session"] for each in faults.journal(since=since)} - {""}
    assert len(keys) >= 2
    alice.c.sf.getAdminService()  # its session is joined now
    assert run("by_session", OMERO_SESSION=alice.c.getSessionId()) == 0
    assert run("expired", OMERO_SESSION=next(iter(keys - {alice.c.getSessionId()}))) == 0
    assert run("wrong", OMERO_PASSWORD=WRONG) == 0
    login = ("login", image_uri.partition("/image")[0])
    assert watched.run(*PARFOCAL, *login, OMERO_PASSWORD=WRONG) == 2
    for name in ("by_password", "by_session"):
        assert '"status": "done"' in _outcome(watched.folder / name)
    for name in ("expired", "wrong"):
        assert '"status": "failed"' in _outcome(watched.folder / name)
    assert any("trying again" in text for text in watched.told)
    for secret in (WRONG, alice.c.getSessionId(), *keys):
        assert watched.finds(secret) == []


def _outcome(results: Path) -> str:
    return (results / "outcomes" / "fetch_image" / "0.json").read_text()
