"""A cluster for all tests of a process, and a run that nothing disturbed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm.cluster import Cluster
from slurm.places import Image, Place, make_image
from slurm.runs import Undisturbed


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Slurm of five nodes."""
    made = Cluster(tmp_path_factory.mktemp("slurm") / "cluster", cores=32)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Undisturbed:
    """The run without Slurm."""
    folder = tmp_path_factory.mktemp("undisturbed") / "converted"
    folder.mkdir()
    return Undisturbed(folder, cluster)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """An image that is worked on by several nodes."""
    return make_image(tmp_path_factory.mktemp("image"))


@pytest.fixture
def place(tmp_path: Path, cluster: Cluster) -> Iterator[Place]:
    """A folder to work in, whose jobs are cancelled in the end."""
    made = Place(tmp_path, cluster)
    made.shared.mkdir()
    yield made
    cluster.cancel_all()
