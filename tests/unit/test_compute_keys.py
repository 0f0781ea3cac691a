"""Keys of a run: nobody reads them, and nobody without them speaks to its processes."""

from __future__ import annotations

import json
import os
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fake_slurm import put_on_path
from parfocal.compute import cluster
from parfocal.compute.keys import CERTIFICATE, KEY, make_keys, read_keys
from parfocal.compute.processes import open_processes
from parfocal.compute.run_folder import RunFolder
from parfocal.compute.runner import ADDRESS_FILE, END_FILE, OVER
from parfocal.compute.slurm import _close, _start
from parfocal.errors import RemoteError
from parfocal.models.compute import LocalProcesses, SlurmJobs

HAND_OUT = """
import sys
from parfocal.compute.runner import part_of_runner
from parfocal.models.compute import SlurmRunner
shared = sys.argv[1]
with part_of_runner(SlurmRunner(engine="slurm-runner", shared_folder=shared, interface="lo")) as on:
    assert not on
"""


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_WITHIN_S", 3)


def check_that_keys_are_needed(address: str, folder: Path) -> None:
    """Connect with other keys, and without any, in vain; then with the keys of the run."""
    assert address.startswith("tls://")
    strange = folder / "strange"
    strange.mkdir()
    with pytest.raises(RemoteError), cluster.connect(address, security=make_keys(strange)):
        pass
    plain = address.replace("tls://", "tcp://")
    with pytest.raises(RemoteError), cluster.connect(plain):
        pass
    with cluster.connect(address, security=read_keys(folder)) as client:
        assert client.status == "running"


def keys_in(folder: Path) -> Path:
    """Return the one folder below that holds keys."""
    (found,) = folder.rglob(KEY)
    return found.parent


def test_only_the_user_reads_the_keys(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_keys(tmp_path)
    finally:
        os.umask(before)
    for name in (CERTIFICATE, KEY):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {CERTIFICATE, KEY}
    with pytest.raises(FileExistsError):
        make_keys(tmp_path)


def test_a_certificate_and_its_key_belong_together(tmp_path: Path) -> None:
    make_keys(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(tmp_path / CERTIFICATE, tmp_path / KEY)
    keys = read_keys(tmp_path)
    assert keys.require_encryption
    for role in ("client", "scheduler", "worker"):
        used = keys.get_tls_config_for_role(role)
        assert (used["ca_file"], used["key"]) == (str(tmp_path / CERTIFICATE), str(tmp_path / KEY))


def test_processes_speak_to_nobody_without_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARFOCAL_SCRATCH", str(tmp_path))
    with open_processes(LocalProcesses(engine="processes", workers=1), 1) as opened:
        check_that_keys_are_needed(opened.client.scheduler.address, keys_in(tmp_path))
    assert list(tmp_path.rglob(KEY)) == []


def test_worker_jobs_speak_to_nobody_without_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_path(tmp_path / "bin", monkeypatch)
    values = {"engine": "slurm", "shared_folder": str(tmp_path), "interface": "lo"}
    folder = RunFolder(tmp_path)
    made, _ = _start(SlurmJobs.model_validate(values), folder)
    try:
        check_that_keys_are_needed(made.scheduler_address, folder.path)
        assert "--tls-key" in made.job_script()
    finally:
        _close(made)
        folder.remove()


@contextmanager
def handing_out(shared: Path) -> Iterator[Path]:
    """Run the task that hands out, until the step has ended; return its folder."""
    job = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_RESTART_COUNT": "0"}
    task = {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "3", "SLURM_NTASKS": "3"}
    folder = shared / "parfocal-7-0-0"
    command = [sys.executable, "-c", HAND_OUT, str(shared)]
    with subprocess.Popen(command, env=os.environ | job | task) as process:
        try:
            yield folder
            (folder / END_FILE).touch()
            (folder / f"{OVER}2").touch()
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_tasks_of_an_allocation_speak_to_nobody_without_keys(tmp_path: Path) -> None:
    with handing_out(tmp_path) as folder:
        told = folder / ADDRESS_FILE
        deadline = time.monotonic() + 60
        while not told.exists() or not told.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        check_that_keys_are_needed(json.loads(told.read_text())["address"], folder)
    assert not folder.exists()
