"""Jobs of Galaxy run on Slurm, through its runner for commands."""

from __future__ import annotations

import shlex
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.galaxy.components import make_ready
from tests.galaxy.configuration import BIN, ROOT
from tests.galaxy.history import History
from tests.galaxy.mapped_runs import elements, list_of, mapped
from tests.galaxy.runs import run_tool_tests
from tests.galaxy.server import Galaxy

from slurm.cluster import Cluster

SEGMENT = "parfocal_segment_objects"
DATA = ROOT / "galaxy_tools/segment_objects/test-data"


@pytest.fixture(scope="module")
def cluster(galaxy: Galaxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Slurm that Galaxy hands jobs over to."""
    make_ready("slurm")
    made = Cluster(tmp_path_factory.mktemp("slurm") / "cluster", count=4)
    made.start()
    for name in ("sbatch", "squeue", "scancel", "sacct"):
        # Galaxy finds these before those of the system, which know of no cluster.
        command = made.entering(shutil.which(name) or name, cwd=Path(galaxy.folder))
        program = Path(galaxy.folder) / "bin" / name
        program.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
    yield made
    made.stop()


@pytest.fixture
def on_slurm(galaxy: Galaxy, cluster: Cluster, request: pytest.FixtureRequest) -> History:
    """A new history of the user whose jobs run on Slurm."""
    return History(galaxy, request.node.name, galaxy.slurm_key)


def test_a_job_runs_on_a_node_in_the_environment_of_the_project(on_slurm: History) -> None:
    job = on_slurm.run("probe_interpreter", {})
    assert job.state == "ok", job.stderr
    told = on_slurm.text(job.outputs["told"]).split("\n")
    python, python_path, slurm_job = told[2:5]
    assert python.startswith(str(BIN))
    assert not python_path
    assert int(slurm_job) > 0


def test_the_tests_of_a_tool_pass_on_slurm(galaxy: Galaxy, cluster: Cluster) -> None:
    outcomes = run_tool_tests(galaxy, SEGMENT, galaxy.slurm_key)
    failed = [each.told() for each in outcomes if each.status != "success"]
    assert not failed, "\n\n".join(failed)
    assert finished(cluster, SEGMENT) >= len(outcomes) > 0


def test_a_collection_is_worked_on_by_jobs_of_their_own(
    cluster: Cluster, on_slurm: History
) -> None:
    before = finished(cluster, SEGMENT)
    cells = on_slurm.upload(DATA / "cells.ome.zarr.zip", "ome_zarr.zip")
    broken = on_slurm.upload(DATA / "bare.ome.zarr.zip", "ome_zarr.zip")
    images = list_of(on_slurm, {"one": cells, "two": broken, "three": cells})
    labels = elements(on_slurm, mapped(on_slurm, SEGMENT, {"image": images})["labels"])
    found = [(each.name, each.state) for each in labels]
    assert found == [("one", "ok"), ("two", "error"), ("three", "ok")]
    assert finished(cluster, SEGMENT) == before + 3


def test_a_job_that_takes_more_memory_than_it_was_given_is_red(on_slurm: History) -> None:
    job = on_slurm.run("probe_memory", {})
    assert (job.state, job.exit_code) == ("error", 128 + signal.SIGKILL)


def finished(cluster: Cluster, tool: str) -> int:
    """Return how many jobs of a tool have run on the cluster."""
    names = cluster.output("squeue", "--noheader", "--states=all", "--format=%j").splitlines()
    return sum(f"_{tool}_" in name for name in names)
