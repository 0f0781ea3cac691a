"""A cluster for all tests of a process, and a run that nothing disturbed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from slurm.cluster import Cluster
from slurm.runs import Undisturbed


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Slurm of five nodes."""
    made = Cluster(tmp_path_factory.mktemp("slurm") / "cluster")
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Undisturbed:
    """The run without Slurm."""
    folder = tmp_path_factory.mktemp("undisturbed") / "converted"
    folder.mkdir()
    return Undisturbed(folder, cluster)
