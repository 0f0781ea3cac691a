"""The image, which is built once for all tests."""

from __future__ import annotations

import subprocess

import pytest
from tests.containers.images import Image, build, tiny_run

from rules.runs import ROOT, Run


@pytest.fixture(scope="session")
def commit() -> str:
    """The commit that is built: others may be made while the tests run."""
    head = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    return subprocess.check_output(head, text=True).strip()


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory, commit: str) -> Image:
    """The image of the commit."""
    return build(commit, tmp_path_factory.mktemp("image") / "build/container")


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of the workflow in no container."""
    run = tiny_run(tmp_path_factory.mktemp("outside") / "run")
    done = run.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    return run
