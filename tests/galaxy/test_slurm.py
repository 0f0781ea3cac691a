"""Jobs of Galaxy run on Slurm, through its runner for commands."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.galaxy.configuration import BIN, ROOT
from tests.galaxy.history import History
from tests.galaxy.server import Galaxy

from slurm.cluster import Cluster


@pytest.fixture(scope="module")
def cluster(galaxy: Galaxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Slurm that Galaxy hands jobs over to."""
    ready = subprocess.run(
        ["bash", ROOT / "tests/slurm/setup.sh"], capture_output=True, text=True, check=False
    )
    if ready.returncode:
        pytest.skip(ready.stdout.strip().rpartition("\n")[2])
    made = Cluster(tmp_path_factory.mktemp("slurm") / "cluster", count=4)
    made.start()
    for name, options in (("sbatch", []), ("squeue", ["--states=all"]), ("scancel", [])):
        real = shutil.which(name) or name  # there, too, the folder's programs come first
        command = made.entering(real, *options, cwd=Path(galaxy.folder))
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
