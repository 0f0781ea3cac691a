"""Nothing that a run leaves or tells, or shows to others, holds a password or a session key."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.omero.server.control import Control

WRONG = "hunter2-is-wrong"


@pytest.fixture
def image_uri(logged_in: str, alice: Any) -> Iterator[str]:
    """An image of three planes."""
    planes = (np.full((64, 64), number, np.uint16) for number in range(3))
    image = alice.createImageFromNumpySeq(planes, "of the test", sizeZ=3)
    yield f"{logged_in}/image/{image.getId()}"
    alice.deleteObjects("Image", [image.getId()], wait=True)


class Watched:
    """Runs commands; keeps what they told, and how their processes looked to others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[str] = []

    def run(self, *arguments: str, **environment: str) -> int:
        """Run a command of parfocal; return its exit code."""
        process = subprocess.Popen(
            [sys.executable, "-m", "parfocal", *arguments],
            cwd=self.folder,
            env=os.environ | {"PARFOCAL_LOG": "DEBUG"} | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        ended = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(ended,))
        watcher.start()
        told, _ = process.communicate(timeout=120)
        ended.set()
        watcher.join(10)
        self.told.append(told)
        return process.returncode

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(0.1):
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.told.append(entry.read_bytes().decode(errors="replace"))
                except OSError:  # it has ended
                    continue

    def everything(self) -> str:
        """Return all of it, and the bytes of all files below the folder with their names."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        texts = [f"{path} {path.read_bytes().decode('latin-1')}" for path in files]
        return "\n".join([*self.told, *texts])


@pytest.fixture
def fetch(image_uri: str, tmp_path: Path) -> tuple[Watched, Callable[..., int]]:
    """Fetch the image in a batch of its own, as a workflow does."""
    watched = Watched(tmp_path)

    def run(name: str, **environment: str) -> int:
        sheet = tmp_path / f"{name}.tsv"
        sheet.write_text(f"image_id\tname\tsource\none\tone\t{image_uri}\n")
        batch = ("--sheet", str(sheet), "--batch", "0", "--batch-size", "1")
        outcome = ("--outcome", f"{name}/outcomes/fetch_image/0.json")
        return watched.run(
            "fetch-image", *batch, "--folder", name, *outcome, "--set", "pixels=raw", **environment
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
    assert watched.run("login", image_uri.partition("/image")[0], OMERO_PASSWORD=WRONG) == 2
    everything = watched.everything()
    for name in ("by_password", "by_session"):
        assert '"status": "done"' in _outcome(watched.folder / name)
    for name in ("expired", "wrong"):
        assert '"status": "failed"' in _outcome(watched.folder / name)
    assert "trying again" in everything
    for secret in (WRONG, alice.c.getSessionId(), *keys):
        assert secret not in everything


def _outcome(results: Path) -> str:
    return (results / "outcomes" / "fetch_image" / "0.json").read_text()
