"""Jobs are given what was predicted, and more of what the last attempt lacked."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from rules.runs import Run, environment


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path)
    for name in "abc":
        run.add_image(name)
    return run


def given(run: Run, rule: str) -> dict[str, int]:
    """Return the resources that a dry run gives to a rule."""
    done = run.snakemake("--dry-run")
    assert done.returncode == 0, done.stderr
    text = re.search(rf"^rule {rule}:.*?resources: ([^\n]*)", done.stdout, re.MULTILINE | re.DOTALL)
    assert text is not None
    return {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)(?:,|$)", text[1])}


def leave_attempt(run: Run, **fields: object) -> None:
    """Leave the file of an attempt at the conversion."""
    path = run.results / "attempts/convert_image/0.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {"process": {}, "started": "2026-01-01T00:00:00Z", "exit_code": 1, "settled": True}
    path.write_text(json.dumps(told | fields))


def test_a_job_is_given_what_was_predicted_and_more_of_what_it_lacked(run) -> None:
    first = given(run, "convert_image")
    assert first["mem_mb"] >= 400
    assert (first["attempt"], first["attempts"]) == (1, 3)
    sizes = json.loads((run.folder / "samples.resources.json").read_text())["sizes"]
    assert [size["size"]["shape"] for size in sizes] == [[1, 1, 1, 64, 64]]
    had = {"memory_mib": first["mem_mb"], "time_min": first["runtime"]}
    leave_attempt(run, cause="memory", **had)
    raised = given(run, "convert_image")
    assert raised["mem_mb"] == 2 * first["mem_mb"]
    assert raised["runtime"] == first["runtime"]
    leave_attempt(run, cause="time", **had)
    longer = given(run, "convert_image")
    assert longer["mem_mb"] == first["mem_mb"]
    assert longer["runtime"] == 2 * first["runtime"]


def test_a_calibrated_model_is_taken_and_a_wrong_one_refused(run) -> None:
    run.config.append("resource_model=none.json")
    run.write_sheet()
    done = run.snakemake("--dry-run")
    assert done.returncode == 1
    assert "resource model cannot be read: none.json" in done.stdout + done.stderr


def workers(folder: Path) -> list[int]:
    """Return the workers that convert images of a run: processes whose parent is a batch."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().decode().split("\0")
            home = (entry / "cwd").readlink()
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            above = Path(f"/proc/{parent}/cmdline").read_bytes().decode().split("\0")
        except (OSError, UnicodeDecodeError):
            continue
        if home == folder and "convert-image" in command and "convert-image" in above:
            found.append(int(entry.name))
    return found


def test_a_killed_worker_is_tried_again_within_the_run(run) -> None:
    run.write_sheet()
    process = subprocess.Popen(
        run.command("--until", "convert_image"),
        cwd=run.folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while not (found := workers(run.folder)):
            assert time.monotonic() < deadline, "no worker came"
            assert process.poll() is None, "the run ended before its worker was seen"
            time.sleep(0.005)
        os.kill(found[0], signal.SIGKILL)
        assert process.wait(timeout=180) == 0
    finally:
        process.kill()
        process.wait()
    told = json.loads((run.results / "attempts/convert_image/0.json").read_text())
    assert (told["attempt"], told["attempts"], told["exit_code"]) == (2, 3, 0)
    assert set(run.outcomes("convert_image").values()) == {"done"}
