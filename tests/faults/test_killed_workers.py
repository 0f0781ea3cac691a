"""Steps whose blocks are worked on in other processes, killed: nothing lives on or is torn."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import tifffile

from faults.chain import PARFOCAL
from parfocal.core.digest import digest_path
from parfocal.core.processes import process_start
from parfocal.models.sheet import Row, write_sheet

PROCESSES = ("--compute", json.dumps({"engine": "processes", "workers": 2}))
ENDS_WITHIN_S = 60.0
STEPS = ("convert-image", "segment-objects")


def wait_until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + ENDS_WITHIN_S
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {ENDS_WITHIN_S:.0f} s"
        time.sleep(0.01)


@dataclass
class Place:
    """A folder to work in; all processes that are started for it bear its mark."""

    folder: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def scratch(self) -> Path:
        """The folder for scratch files."""
        return self.folder / "scratch"

    def start(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        """Start a command."""
        self.scratch.mkdir(exist_ok=True)
        environment = {"PARFOCAL_SCRATCH": str(self.scratch), "TEST_MARK": self.mark}
        with (self.folder / "told").open("ab") as told:
            return subprocess.Popen(
                [*PARFOCAL, *map(str, arguments)], stderr=told, env=os.environ | environment
            )

    def run(self, *arguments: str | Path) -> int:
        """Run a command to its end, and return its exit code."""
        return self.start(*arguments).wait(300)

    @property
    def told(self) -> str:
        """What the commands told."""
        return (self.folder / "told").read_text(encoding="utf-8")

    def alive(self) -> list[int]:
        """Return the processes that bear the mark."""
        mark, found = f"TEST_MARK={self.mark}".encode(), []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                marked = mark in (entry / "environ").read_bytes()
            except OSError:  # it has ended
                continue
            if marked and process_start(int(entry.name)) is not None:
                found.append(int(entry.name))
        return found

    def workers(self) -> list[int]:
        """Return the worker processes of dask that bear the mark."""
        named = ((pid, Path(f"/proc/{pid}/cmdline")) for pid in self.alive())
        return [pid for pid, path in named if path.exists() and b"spawn_main" in path.read_bytes()]

    def partials(self) -> list[Path]:
        """Return what lies half written."""
        return [path for path in self.folder.rglob(".*.partial") if any(path.rglob("*"))]

    def kill_when_writing(self, process: subprocess.Popen[bytes], pid: Callable[[], int]) -> None:
        """Kill -9 one process of a command whose workers have begun to write."""

        def writes() -> bool:
            begun = self.partials() or list(self.scratch.rglob("*.raw"))
            return process.poll() is not None or bool(begun and self.workers())

        wait_until(writes, "a beginning")
        assert process.poll() is None, self.told
        os.kill(pid(), signal.SIGKILL)

    def assert_clean(self) -> None:
        """Make sure that neither processes nor files are left of those that were killed."""
        wait_until(lambda: not self.alive(), "the end of all processes")
        assert not self.partials()
        assert not list(self.scratch.iterdir())
        names = ("*.tmp", ".*.lease*", "*.dead")
        assert not [path for name in names for path in self.folder.rglob(name)]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    image = np.random.default_rng(5).poisson(100, (8, 500, 500)).astype(np.uint16)
    for y in range(20, 460, 40):
        image[2:6, y : y + 20, 30:470] += 500
    tifffile.imwrite(folder / "in.tif", image, metadata={"axes": "ZYX"}, ome=True)
    return folder / "in.tif"


OPTIONS = {"convert-image": {"chunk_px": 64, "shard_mib": 1}, "segment-objects": {}}


def command(step: str, source: Path, folder: Path, *more: str) -> list[str | Path]:
    """Return the command line of a step on one image."""
    options = ["--params", json.dumps(OPTIONS[step]), *more]
    if step == "segment-objects":
        image = source.with_name("image.ome.zarr")
        return [step, "--image", image, "--labels", folder / "out.ome.zarr", *options]
    paths = ["--image", folder / "out.ome.zarr", "--certificate", folder / "c.json"]
    return [step, "--source", source, *paths, *options]


@pytest.fixture(scope="module")
def expected(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests of what one process makes."""
    found = {}
    for step in STEPS:
        place = Place(tmp_path_factory.mktemp("whole"))
        assert place.run(*command(step, source, place.folder)) == 0, place.told
        made = place.folder / "out.ome.zarr"
        found[step] = digest_path(made)
        if step == "convert-image":
            made.rename(source.with_name("image.ome.zarr"))
    return found


@pytest.mark.parametrize("step", STEPS)
def test_an_owner_that_is_killed_takes_its_workers_along(
    step: str, source: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    place = Place(tmp_path)
    process = place.start(*command(step, source, tmp_path, *PROCESSES))
    place.kill_when_writing(process, lambda: process.pid)
    assert process.wait(60) == -signal.SIGKILL
    wait_until(lambda: not place.alive(), "the end of all workers")
    assert not (tmp_path / "out.ome.zarr").exists()
    assert place.run(*command(step, source, tmp_path, *PROCESSES)) == 0, place.told
    assert digest_path(tmp_path / "out.ome.zarr") == expected[step]
    place.assert_clean()


def batch(step: str, place: Place, source: Path) -> list[str | Path]:
    """Return the command line of a step on two images."""
    rows = [Row(image_id=name, source=str(source)) for name in "ab"]
    write_sheet(place.folder / "samples.tsv", rows)
    results = place.folder / "results"
    outcome = results / f"outcomes/{step.replace('-', '_')}/0.json"
    where = ["--sheet", place.folder / "samples.tsv", "--batch", "0", "--batch-size", "2"]
    where += ["--folder", results, "--outcome", outcome]
    where += ["--path", f"image={source.with_name('image.ome.zarr')}"]
    return [step, *where, "--params", json.dumps(OPTIONS[step]), *PROCESSES]


def labels(place: Place) -> list[Path]:
    return [place.folder / f"results/images/{name}/labels/nuclei.ome.zarr" for name in "ab"]


@pytest.mark.parametrize("killed", ["supervisor", "worker"])
def test_a_batch_whose_processes_are_killed_is_taken_up_by_the_next(
    killed: str, source: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    place = Place(tmp_path)
    arguments = batch("segment-objects", place, source)
    process = place.start(*arguments)

    def victim() -> int:
        """Return the supervisor, or the process that it forked, which owns the workers."""
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return process.pid if killed == "supervisor" else int(children[0])

    place.kill_when_writing(process, victim)
    code = process.wait(300)
    assert code == (-signal.SIGKILL if killed == "supervisor" else 0), place.told
    # Without its supervisor a worker ends the image that it is at, and with that its own workers.
    wait_until(lambda: not place.alive(), "the end of all processes")
    for path in labels(place):
        assert not path.exists() or digest_path(path) == expected["segment-objects"]
    assert place.run(*arguments) == 0, place.told
    assert [digest_path(path) for path in labels(place)] == [expected["segment-objects"]] * 2
    place.assert_clean()
