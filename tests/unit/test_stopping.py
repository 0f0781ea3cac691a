"""Commands that are stopped while they read large files."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from crate_graphs import write_graph
from crate_records import record
from parfocal.core import stopping
from parfocal.core.digest import digest_path
from parfocal.core.zipped_zarr import find_zipped_zarr
from parfocal.models.record import Artifact
from parfocal.provenance.crate_zip import pack_crate, pack_files
from parfocal.provenance.read_crate import read_crate

LARGE = 1 << 40  # bytes, of which the disk keeps none: they take half an hour to digest
READ = 256 << 20


@pytest.fixture
def crate(tmp_path):
    """Return a crate of a run that took two very large files and a very large OME-Zarr."""
    files = [tmp_path / "data" / name for name in ("1.bin", "2.bin", "a.ome.zarr/c/0")]
    for path in (*files, tmp_path / "data/a.ome.zarr/c/1"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            stream.truncate(LARGE)
    (tmp_path / "data/a.ome.zarr/zarr.json").write_text("{}")
    inputs = [
        Artifact(
            role=f"r{number}",
            kind="file",
            uri=str(path),
            digest=f"{kind}:{'0' * 64}",
            size_bytes=LARGE,
        )
        for number, (path, kind) in enumerate(
            [
                (tmp_path / "data/a.ome.zarr", "zarr-merkle-sha256"),
                *((file, "sha256") for file in files[:2]),
            ]
        )
    ]
    made = (Artifact(role="made", kind="file", uri="made.bin", digest=f"sha256:{'0' * 64}"),)
    write_graph(
        tmp_path, [record("filter-image", "a", inputs=tuple(inputs), outputs=made)], "sheet"
    )
    return tmp_path / "run-crate"


def has_read(process):
    """Return how many bytes a process has read."""
    try:
        text = Path(f"/proc/{process.pid}/io").read_text()
    except OSError:
        return READ
    return int(text.partition("rchar: ")[2].split()[0])


@pytest.mark.parametrize("command", ["verify-run", "repeat-run"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_signal_ends_digesting_at_once(crate, tmp_path, command, number, threads):
    before = sorted(tmp_path.rglob("*"))
    (tmp_path / "tmp").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "parfocal", command, str(crate), f"--threads={threads}"],
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        start = has_read(process)
        while process.poll() is None and has_read(process) < start + READ:
            time.sleep(0.05)
        process.send_signal(number)
        out, told = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 128 + number, told
    assert "Traceback" not in told
    assert out == ""
    (tmp_path / "tmp").rmdir()
    assert sorted(tmp_path.rglob("*")) == before


def test_threads_look_whether_they_should_end(tmp_path, monkeypatch):
    file = tmp_path / "a.bin"
    file.write_bytes(b"x")
    pack_files([("zarr.json", file)], tmp_path / "a.zip")
    made = (Artifact(role="made", kind="file", uri="made.bin", digest=f"sha256:{'0' * 64}"),)
    write_graph(tmp_path, [record("filter-image", "a", outputs=made)], "sheet")
    pack_crate(tmp_path / "run-crate", tmp_path / "crate.zip")
    files = read_crate(tmp_path / "crate.zip").files
    reads = [
        lambda: digest_path(file),
        lambda: find_zipped_zarr(tmp_path / "a.zip").digest(),
        lambda: files.digest("README.md"),
    ]
    monkeypatch.setattr(stopping, "_ASKED", threading.Event())
    with ThreadPoolExecutor(1) as pool:
        digests = [pool.submit(read).result() for read in reads]
        stopping.ask_to_stop()
        for read in reads:
            with pytest.raises(stopping.StopRequested):
                pool.submit(read).result()
    assert [read() for read in reads] == digests  # the main thread ends by its signal
