"""Logins in the environment are not handed on to workers, jobs and whatever needs none."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fake_slurm import put_on_path
from memory_images import save
from parfocal.core.secrets import SECRET_VARIABLES, forget_secrets
from parfocal.steps import LOGS_IN, SUMMARIES
from watched import descendants, environment_of

SECRET = "correct-horse-battery-staple"
KEPT = "this-is-no-secret"


@pytest.fixture(autouse=True)
def _logins(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRET_VARIABLES:
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("PARFOCAL_TEST_KEPT", KEPT)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Start segment-objects on an image with many blocks, and an engine; ended with the test."""
    started: list[subprocess.Popen[bytes]] = []
    rng = np.random.default_rng(0)
    save(tmp_path / "image.ome.zarr", rng.poisson(20, (6, 700, 700)).astype(np.uint16), "TYX")

    def run(compute: str) -> subprocess.Popen[bytes]:
        paths = ("--image", "image.ome.zarr", "--labels", "labels.ome.zarr")
        command = [sys.executable, "-m", "parfocal", "segment-objects", *paths]
        started.append(subprocess.Popen([*command, "--compute", compute], cwd=tmp_path))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait(10)


def test_only_steps_that_log_in_keep_logins() -> None:
    assert set(SUMMARIES) > LOGS_IN
    forget_secrets()
    assert not set(SECRET_VARIABLES) & set(os.environ)


def test_worker_processes_are_not_told(
    start: Callable[[str], subprocess.Popen[bytes]],
) -> None:
    process = start('{"engine": "processes", "workers": 2}')
    seen: dict[int, str] = {}
    deadline = time.monotonic() + 120
    while len(seen) < 3 and time.monotonic() < deadline:  # two, and who keeps track of them
        assert process.poll() is None
        found = {pid: environment_of(pid) for pid in descendants(process.pid)}
        seen |= {pid: text for pid, text in found.items() if KEPT in text}
        time.sleep(0.1)
    assert len(seen) >= 3
    assert not [text for text in seen.values() if SECRET in text]


def test_worker_jobs_are_not_told(
    start: Callable[[str], subprocess.Popen[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put_on_path(tmp_path / "slurm", monkeypatch)
    (folder / "sbatch").write_text(
        f'#!/bin/sh\necho "$@" >> {folder}/asked\nenv >> {folder}/environment\n'
        f'for file in "$@"; do [ ! -f "$file" ] || cat "$file" >> {folder}/script; done\necho 1\n'
    )
    (folder / "sbatch").chmod(stat.S_IRWXU)
    (tmp_path / "shared").mkdir()
    process = start(f'{{"engine": "slurm", "shared_folder": "{tmp_path}/shared"}}')
    deadline = time.monotonic() + 120
    while not (folder / "script").exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) != 0
    assert KEPT in (folder / "environment").read_text()
    for name in ("asked", "environment", "script"):
        assert SECRET not in (folder / name).read_text()
