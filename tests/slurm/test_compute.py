"""One image on several nodes: worker jobs that come and go, and the tasks of one allocation."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile

from parfocal.core.digest import digest_path
from rules.runs import program
from slurm.cluster import Cluster, processes, wait_until
from slurm.runs import write_discs

STEP_TIMEOUT_S = 240


@dataclass
class Image:
    """An image, and the digest of its labels as one process finds them."""

    path: Path
    labels: str


@dataclass
class Place:
    """A folder to work in, from which jobs are submitted."""

    folder: Path
    cluster: Cluster

    @property
    def shared(self) -> Path:
        """The shared folder of worker jobs."""
        return self.folder / "shared"

    def compute(self, engine: str, **values: object) -> str:
        """Return a configuration of compute."""
        known: dict[str, object] = {"shared_folder": str(self.shared), "interface": "lo"}
        if engine == "slurm":
            known |= {"cores": 1, "memory_mib": 1024, "maximum_jobs": 2}
        return json.dumps({"engine": engine} | known | values)

    def command(self, image: Image, compute: str) -> list[str]:
        """Return the command line that segments the image."""
        paths = ["--image", str(image.path), "--labels", str(self.folder / "labels.ome.zarr")]
        more = ["--record", str(self.folder / "record.json"), "--compute", compute]
        return [program("parfocal"), "segment-objects", *paths, *more]

    def begin(self, image: Image, compute: str) -> subprocess.Popen[str]:
        """Start to segment the image."""
        log = self.folder / "out"
        return self.cluster.begin(*self.command(image, compute), cwd=self.folder, log=log)

    @property
    def told(self) -> str:
        """What the command told."""
        return (self.folder / "out").read_text(encoding="utf-8")

    @property
    def digest(self) -> str:
        """The digest of the labels."""
        return digest_path(self.folder / "labels.ome.zarr")

    @property
    def details(self) -> dict[str, object]:
        """What the record tells of the engine."""
        record = json.loads((self.folder / "record.json").read_text(encoding="utf-8"))
        return dict(record["details"]["compute"])

    def jobs(self) -> list[str]:
        """Return the running worker jobs of this folder."""
        lines = self.cluster.output("squeue", "-h", "-t", "RUNNING", "-o", "%i %Z").splitlines()
        return [line.split()[0] for line in lines if line.split()[1] == str(self.folder)]

    def workers(self) -> list[int]:
        """Return the worker processes of this folder."""
        return processes("distributed.cli.dask_worker", cwd=self.folder)

    def registered(self) -> int:
        """Return how many workers have come, as far as the logs of their jobs tell."""
        logs = (log.read_text(encoding="utf-8") for log in self.shared.rglob("*.log"))
        return sum("Registered to" in text for text in logs)

    def is_clean(self) -> bool:
        """Return whether neither jobs nor files are left."""
        lines = self.cluster.output("squeue", "-h", "-o", "%Z").splitlines()
        return str(self.folder) not in lines and not list(self.shared.iterdir())


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    folder = tmp_path_factory.mktemp("image")
    write_discs(folder / "plane.tif", 3, 1000)
    plane = tifffile.imread(folder / "plane.tif")
    tifffile.imwrite(folder / "in.tif", np.stack([plane] * 6), metadata={"axes": "ZYX"}, ome=True)
    made = Image(folder / "image.ome.zarr", "")
    paths = {"source": folder / "in.tif", "image": made.path, "certificate": folder / "c.json"}
    run = [program("parfocal"), "convert-image", "--set", "chunk_px=256", "--set", "shard_mib=1"]
    subprocess.run([*run, *(f"--{k}={v}" for k, v in paths.items())], check=True, timeout=120)
    labels = folder / "labels.ome.zarr"
    run = [program("parfocal"), "segment-objects", f"--image={made.path}", f"--labels={labels}"]
    subprocess.run(run, check=True, timeout=120)
    made.labels = digest_path(labels)
    return made


@pytest.fixture
def place(tmp_path: Path, cluster: Cluster) -> Iterator[Place]:
    made = Place(tmp_path, cluster)
    made.shared.mkdir()
    yield made
    cluster.cancel_all()


def test_worker_jobs_give_the_bytes_of_one_process(place: Place, image: Image) -> None:
    process = place.begin(image, place.compute("slurm"))
    assert process.wait(STEP_TIMEOUT_S) == 0, place.told
    assert place.digest == image.labels
    assert place.details["engine"] == "slurm"
    wait_until(place.is_clean, "the end of jobs and files", 60)


def test_the_tasks_of_an_allocation_give_the_bytes_of_one_process(
    place: Place, image: Image
) -> None:
    tasks = ["srun", "--ntasks=4", "--mem-per-cpu=800"]
    command = place.command(image, place.compute("slurm-runner"))
    done = place.cluster.run(*tasks, *command, cwd=place.folder, timeout_s=STEP_TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    assert place.digest == image.labels
    assert place.details["tasks"] == 4
    wait_until(place.is_clean, "the end of jobs and files", 60)


def test_lost_workers_are_replaced(place: Place, image: Image) -> None:
    process = place.begin(image, place.compute("slurm", maximum_jobs=3))
    # Jobs that end before their workers come would count as jobs that cannot start any.
    wait_until(lambda: place.registered() >= 2 and len(place.workers()) >= 2, "two workers", 120)
    first, second = place.jobs()[:2]
    place.cluster.output("scancel", first)
    wait_until(lambda: first not in place.jobs(), "the end of a job", 60)
    for pid in place.workers()[:2]:  # the first that is left, and what watches over it
        os.kill(pid, signal.SIGKILL)
    assert process.wait(STEP_TIMEOUT_S) == 0, place.told
    assert second
    assert place.digest == image.labels
    wait_until(place.is_clean, "the end of jobs and files", 60)


def test_a_killed_owner_leaves_no_jobs_for_long(place: Place, image: Image) -> None:
    process = place.begin(image, place.compute("slurm"))
    wait_until(place.jobs, "a worker job", 120)
    (owner,) = processes("segment-objects", "--compute", cwd=place.folder)
    os.kill(owner, signal.SIGKILL)
    assert process.wait(60) != 0
    assert not (place.folder / "labels.ome.zarr").exists()
    again = place.begin(image, place.compute("slurm"))
    assert again.wait(STEP_TIMEOUT_S) == 0, place.told
    assert "Cleaning up what a killed run left" in place.told
    assert place.digest == image.labels
    wait_until(place.is_clean, "the end of jobs and files", 60)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"partition": "nowhere"}, ["There is no such partition: nowhere", "fragile"]),
        ({"partition": "closed"}, ["Slurm rejects the worker jobs", "not available"]),
        ({"partition": "short", "walltime_min": 120}, ["Slurm rejects the worker jobs"]),
        ({"memory_mib": 1_000_000}, ["Slurm rejects the worker jobs"]),
    ],
)
def test_what_slurm_would_reject_is_told_before_any_work(
    place: Place, image: Image, values: dict[str, object], told: list[str]
) -> None:
    process = place.begin(image, place.compute("slurm", **values))
    assert process.wait(60) == 2, place.told
    assert all(text in place.told for text in told), place.told
    assert not (place.folder / "labels.ome.zarr").exists()
    assert not (place.folder / "record.json").exists()
    wait_until(place.is_clean, "the end of jobs and files", 60)


def test_a_job_does_not_submit_jobs_unasked(place: Place, image: Image) -> None:
    command = place.command(image, place.compute("slurm"))
    done = place.cluster.run("srun", "--mem=800", *command, cwd=place.folder, timeout_s=60)
    assert done.returncode == 2, done.stderr
    assert "A job on Slurm would submit jobs of its own" in done.stderr
    wait_until(place.is_clean, "the end of jobs and files", 60)
