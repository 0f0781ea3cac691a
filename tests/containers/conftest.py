"""The image, which is built once for all tests, and runs inside and outside of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.containers.images import PROJECT, Image, build, tiny_run
from tests.containers.store import alone, opened_store

from rules.runs import ROOT, Run


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which podman keeps what these tests make."""
    own = tmp_path_factory.getbasetemp()
    with opened_store(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) as folder:
        yield folder


@pytest.fixture(scope="session")
def image(store: Path) -> Image:
    """The image of the last commit when the first worker asked for it."""
    folder, told = store / "build/container", store / "told"
    with alone(store):
        if not told.exists():
            head = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
            commit = subprocess.check_output(head, text=True).strip()
            told.write_text(f"{commit}\n{build(commit, folder).told}", encoding="utf-8")
    commit, _, said = told.read_text(encoding="utf-8").partition("\n")
    return Image(folder, commit, said)


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of the workflow in no container."""
    run = tiny_run(tmp_path_factory.mktemp("outside") / "run")
    done = run.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    return run


@pytest.fixture(scope="session")
def inside(tmp_path_factory: pytest.TempPathFactory, image: Image, outside: Run) -> Run:
    """A run of the workflow in the container, where its folder seems to be that of `outside`."""
    run = tiny_run(tmp_path_factory.mktemp("inside") / "run", outside)
    image.run(
        *("snakemake", "--snakefile", f"{PROJECT}/workflows/analyse_images/Snakefile"),
        *("--profile", f"{PROJECT}/config/profiles/local", "--cores", "2"),
        *("--configfile", f"{PROJECT}/config/analyse_images.yaml"),
        *("--config", "sheet=samples.tsv", *run.config),
        options=(f"--volume={run.folder}:{outside.folder}", f"--workdir={outside.folder}"),
    )
    return run
