"""Each step killed in its middle, and each step on a full disk: whole or absent."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from faults.chain import PARFOCAL, STEPS, Chain, parfocal
from parfocal.core.digest import digest_path
from parfocal.core.publish import remove_tree


def finals(chain: Chain, step: str, folder: Path) -> list[Path]:
    return [folder / text.partition("=")[2] for text in chain.outputs[step]]


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if not path.name.endswith(".stamp.json")]


def kill_in_the_middle(command: list[str], folder: Path) -> None:
    """Kill -9 a step as soon as it has begun to write; a quick one may need several tries."""
    for _ in range(20):
        if killed_while_writing(command, folder):
            return
        for path in folder.iterdir():
            remove_tree(path)
    pytest.fail("the step always ended before it could be killed")


def killed_while_writing(command: list[str], folder: Path) -> bool:
    process = subprocess.Popen(
        [*PARFOCAL, *command], stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if any(path.suffix == ".partial" for path in folder.iterdir()):
            os.killpg(process.pid, signal.SIGKILL)
            break
    return process.wait(60) == -signal.SIGKILL


def same(made: Path, expected: Path) -> bool:
    # A crate tells its own times; a sheet names its own sources.
    return made.name in ("run-crate", "samples.tsv") or digest_path(made) == digest_path(expected)


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_step_leaves_nothing_half_written(chain: Chain, step: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    command = chain.command(step, folder)
    kill_in_the_middle(command, folder)
    for path in finals(chain, step, folder):  # a quick step may have been past its renaming
        assert not path.exists() or same(path, chain.folder / path.name)
    done = parfocal(*command, "--replace")
    assert done.returncode == 0, done.stderr
    assert not leftovers(folder)
    for path in finals(chain, step, folder):
        assert same(path, chain.folder / path.name)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kilobytes", [4, 12])
def test_a_full_disk_is_named_and_left_clean(
    chain: Chain, step: str, kilobytes: int, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    # The disk exists for the command only; what is left on it is listed before it goes.
    script = (
        'mount -t tmpfs -o size="$1"k tmpfs "$2" && shift && dir=$1 && shift && "$@"; '
        'code=$?; echo "left: $(ls -A "$dir")"; exit $code'
    )
    before = ("unshare", "--mount", "bash", "-c", script, "bash", str(kilobytes), str(disk))
    done = parfocal(*chain.command(step, disk), before=before)
    if kilobytes == 12 and done.returncode == 0:
        assert all(path.name in done.stdout for path in finals(chain, step, disk))
        return
    assert done.returncode == 2, done.stderr
    assert "disk" in done.stderr
    assert "Traceback" not in done.stderr
    left = done.stdout.strip().removeprefix("left:").split()
    # Once there is space again, these go on.
    kept = {"convert-image": ".image.ome.zarr.", "fetch-image": ".original."}
    assert all(step in kept and name.startswith(kept[step]) for name in left)
