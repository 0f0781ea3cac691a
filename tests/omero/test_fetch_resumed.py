"""What was interrupted goes on where it was: a killed job, a server that was away for a minute."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from tests.omero.server.control import Control

from omero_process import OwnServer
from parfocal.engine import run_step
from parfocal.errors import RemoteError
from parfocal.images import open_image
from parfocal.models.manifest import read_manifest
from parfocal.omero import files as files_module
from parfocal.omero import pixels as pixels_module
from parfocal.omero.connection import PATIENCE_VARIABLE
from parfocal.omero.files import download_file
from parfocal.steps import load_step

PIECE = 500
AWAY_S = 60

Seed = Callable[..., int]


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def reads(faults: Control, since: int = 0) -> int:
    """Return how many pieces of files the server was asked for."""
    return len(faults.journal("RawFileStore", "read", since))


def tiles(faults: Control, since: int = 0) -> int:
    return len(faults.journal("RawPixelsStore", "getTile", since))


@pytest.fixture
def seed(faults: Control, tmp_path: Path) -> Seed:
    """Import an image with its file, which is no image unless one is given; return its id."""

    def make(array: np.ndarray, file: Path | None = None) -> int:
        np.save(tmp_path / "array.npy", array)
        if file is None:
            file = tmp_path / "unreadable.xyz"
            file.write_bytes(bytes(range(256)) * 10)
        series = [{"npy": str(tmp_path / "array.npy"), "name": "cells"}]
        made = faults.seed(
            "import", files=[str(file)], series=series, user="alice", group="annotate"
        )
        return int(made["images"][0])

    return make


@pytest.fixture
def tiff(tmp_path: Path) -> tuple[np.ndarray, Path]:
    """An image of six pieces, and its file."""
    array = (np.arange(1200) % 251).astype(np.uint16).reshape(1, 1, 1, 30, 40)
    tifffile.imwrite(tmp_path / "first.tif", array[0, 0, 0])
    return array, tmp_path / "first.tif"


def read(folder: Path) -> np.ndarray:
    with open_image(folder / read_manifest(folder).primary) as image:
        return image.read(tuple(slice(0, size) for size in image.shape5))


def fetch(source: str, folder: Path, **params: Any) -> None:
    chosen = {"source": source, **params}
    run_step(load_step("fetch-image"), {}, {"original": folder}, chosen)


def test_a_server_that_is_away_for_a_minute_in_mid_file_is_waited_for(
    seed: Seed,
    tiff: tuple[np.ndarray, Path],
    logged_in: str,
    own_server: OwnServer,
    faults: Control,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(files_module, "_PIECE_BYTES", PIECE)
    number = seed(tiff[0], tiff[1])
    pieces = -(-tiff[1].stat().st_size // PIECE)
    faults.delay("RawFileStore", "read", 0.4, times=1000)
    folder, since, failed = tmp_path / "original", faults.last(), []

    def work() -> None:
        try:
            fetch(f"{logged_in}/image/{number}", folder)
        except Exception as error:  # noqa: BLE001  # told by the test
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait_for(lambda: reads(faults, since) >= 3)
    own_server.stop()
    time.sleep(AWAY_S)
    assert thread.is_alive()
    own_server.start()
    thread.join(180)
    assert not thread.is_alive()
    assert not failed
    assert (folder / "files/first.tif").read_bytes() == tiff[1].read_bytes()
    assert 0 < reads(faults) <= pieces - 2  # since the server was started again


def test_a_killed_job_reads_no_shard_again(
    seed: Seed, logged_in: str, faults: Control, tmp_path: Path
) -> None:
    shape = (12, 1, 1, 1500, 1500)  # three shards of four time points, of two tiles each
    array = (np.arange(np.prod(shape)) % 60_013).astype(np.uint16).reshape(shape)
    number = seed(array)
    slow = faults.delay("RawPixelsStore", "getTile", 0.3, times=1000)
    command = [sys.executable, "-m", "parfocal", "fetch-image", "--original", "original"]
    command += ["--set", f"source={logged_in}/image/{number}", "--threads", "1"]
    environment = {"PARFOCAL_OMERO_CONNECTIONS": "1"}
    since = faults.last()
    with subprocess.Popen(command, cwd=tmp_path, env=os.environ | environment) as process:
        wait_for(lambda: faults.seen(slow) >= 14)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "original").exists()
    assert reads(faults, since)  # of the file, which could not be used
    faults.reset()
    since = faults.last()
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | environment,
        timeout=120,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "going on" in done.stderr
    assert "raw pixels are read instead of the file" in done.stderr
    assert 0 < tiles(faults, since) <= 16
    assert not reads(faults, since)  # of the file it is known
    np.testing.assert_array_equal(read(tmp_path / "original"), array)
    assert sorted(path.name for path in (tmp_path / "original").iterdir()) == [
        f"image-{number}.ome.zarr",
        "manifest.json",
        "omero.json",
    ]


@pytest.fixture
def broken_off(
    seed: Seed,
    tiff: tuple[np.ndarray, Path],
    logged_in: str,
    faults: Control,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """The source of an image of which half of the file has come."""
    monkeypatch.setattr(files_module, "_PIECE_BYTES", PIECE)
    source = f"{logged_in}/image/{seed(tiff[0], tiff[1])}"
    refused = faults.refuse("RawFileStore", "read", nth=4, times=99)
    with pytest.raises(RemoteError):
        fetch(source, tmp_path / "original")
    assert faults.seen(refused) == 4
    faults.reset()
    return source


def test_a_file_that_broke_off_goes_on_with_the_next_attempt(
    broken_off: str, tiff: tuple[np.ndarray, Path], faults: Control, tmp_path: Path
) -> None:
    since = faults.last()
    fetch(broken_off, tmp_path / "original")
    pieces = -(-tiff[1].stat().st_size // PIECE)
    assert reads(faults, since) == pieces - 3
    assert (tmp_path / "original/files/first.tif").read_bytes() == tiff[1].read_bytes()
    names = sorted(path.name for path in (tmp_path / "original").iterdir())
    assert names == ["files", "manifest.json", "omero.json"]


def test_what_came_before_the_description_failed_is_kept(
    seed: Seed, tiff: tuple[np.ndarray, Path], logged_in: str, faults: Control, tmp_path: Path
) -> None:
    source = f"{logged_in}/image/{seed(tiff[0], tiff[1])}"

    def fail(*_: object) -> None:
        raise RemoteError("asked for by the test")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("parfocal.omero.description.describe", fail)
        with pytest.raises(RemoteError, match="by the test"):
            fetch(source, tmp_path / "original")
    since = faults.last()
    fetch(source, tmp_path / "original")
    assert not reads(faults, since)
    assert (tmp_path / "original/files/first.tif").read_bytes() == tiff[1].read_bytes()


def test_an_image_that_changed_meanwhile_begins_anew(
    broken_off: str, tiff: tuple[np.ndarray, Path], faults: Control, alice: Any, tmp_path: Path
) -> None:
    image = alice.getObject("Image", int(broken_off.rpartition("/")[2]))
    image.setName("changed on the server")
    image.save()
    since = faults.last()
    fetch(broken_off, tmp_path / "original")
    assert reads(faults, since) == -(-tiff[1].stat().st_size // PIECE)
    assert (tmp_path / "original/files/first.tif").read_bytes() == tiff[1].read_bytes()


@pytest.mark.parametrize(
    ("left", "again"),
    [(b"", 6), (1000, 4), (2500, 1), (None, 0), (b"\0" * 1000, 4 + 6), (b"\0" * 9999, 6)],
    ids=["nothing", "a part", "more", "all", "another", "too much"],
)
def test_what_is_left_of_a_file_is_used_if_it_is_of_that(
    connection: Any,
    alice: Any,
    faults: Control,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    left: bytes | int | None,
    again: int,
) -> None:
    monkeypatch.setattr(files_module, "_PIECE_BYTES", PIECE)
    data = bytes(range(256)) * 11 + b"end" * 20
    (tmp_path / "there").write_bytes(data)
    file = alice.createOriginalFileFromLocalFile(str(tmp_path / "there"))
    path = tmp_path / "here"
    path.write_bytes(left if isinstance(left, bytes) else data[:left])
    since = faults.last()
    download_file(
        connection,
        file.getId(),
        path,
        size_bytes=len(data),
        sha1=file.getHash(),
        resume=True,
    )
    assert path.read_bytes() == data
    assert reads(faults, since) == again


def test_without_a_checksum_nothing_is_gone_on_with(
    connection: Any, alice: Any, tmp_path: Path
) -> None:
    (tmp_path / "there").write_bytes(b"content")
    file = alice.createOriginalFileFromLocalFile(str(tmp_path / "there"))
    path = tmp_path / "here"
    path.write_bytes(b"wrong")
    download_file(connection, file.getId(), path, size_bytes=7, sha1=None, resume=True)
    assert path.read_bytes() == b"content"


def test_raw_pixels_keep_to_the_rate(
    seed: Seed, logged_in: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = np.zeros((1, 1, 1, 400, 500), np.uint16)
    number = seed(array)
    monkeypatch.setenv("PARFOCAL_REMOTE_MB_PER_S", "0.4")
    slept: list[float] = []
    monkeypatch.setattr(pixels_module, "time", SimpleNamespace(sleep=slept.append))
    fetch(f"{logged_in}/image/{number}", tmp_path / "original", pixels="raw")
    assert slept == [pytest.approx(array.nbytes / 0.4e6)]


def test_the_patience_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from parfocal.omero.connection import _patience_s

    assert _patience_s() > 2 * AWAY_S
    monkeypatch.setenv(PATIENCE_VARIABLE, "7")
    assert _patience_s() == 7
