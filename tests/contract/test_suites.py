"""A suite whose component cannot be had is named, and fails the run where it is required."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for suite in ("ready", "missing", "plain"):
        folder = tmp_path / "tests" / suite
        folder.mkdir(parents=True)
        (folder / f"test_{suite}.py").write_text("def test_it():\n    assert True\n", "utf-8")
    shutil.copy(CONFTEST, tmp_path / "tests")
    (tmp_path / "tests/ready/setup.sh").write_text("echo installed\n", "utf-8")
    (tmp_path / "tests/missing/setup.sh").write_text("echo no engine here; exit 3\n", "utf-8")
    options = "--import-mode=importlib -p no:napari"  # as in pyproject.toml
    (tmp_path / "pytest.ini").write_text(f"[pytest]\naddopts = {options}\n", "utf-8")
    return tmp_path


def run(
    project: Path, *arguments: str, require: str | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "PARFOCAL"))}
    if require is not None:
        environment["PARFOCAL_REQUIRE"] = require
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["one process", "two workers"])
def test_a_missing_component_is_named_and_the_rest_runs(project: Path, workers: list[str]) -> None:
    done = run(project, *workers, "tests")
    assert done.returncode == 0, done.stdout
    assert "missing: NOT RUN: no engine here" in done.stdout
    assert "ready: 1 run" in done.stdout
    assert "plain: 1 run" in done.stdout


@pytest.mark.parametrize("require", ["missing", "ready,missing", "all"])
def test_a_required_suite_that_cannot_run_fails_the_run(project: Path, require: str) -> None:
    done = run(project, "tests", require=require)
    assert done.returncode == 1
    assert "suite missing: required, and did not run: no engine here" in done.stdout


def test_required_suites_that_run_pass(project: Path) -> None:
    assert run(project, "tests/ready", "tests/plain", require="all").returncode == 0


def test_a_required_suite_without_a_test_fails_the_run(project: Path) -> None:
    done = run(project, "tests/plain", "-k", "no_such_test", require="plain")
    assert done.returncode == 1
    assert "suite plain: required, and did not run: no test was run" in done.stdout


def test_a_required_suite_that_does_not_exist_fails_the_run(project: Path) -> None:
    done = run(project, "tests/plain", require="slurmm")
    assert done.returncode == 1
    assert "suite slurmm: required, but there is none" in done.stdout


def test_a_suite_apart_runs_only_where_it_is_named(project: Path) -> None:
    folder = project / "tests/models"
    folder.mkdir()
    (folder / "test_models.py").write_text("def test_it():\n    assert False\n", "utf-8")
    done = run(project, "tests/ready", "tests/plain", require="all")
    assert done.returncode == 0
    shutil.rmtree(project / "tests/missing")
    done = run(project, "tests", require="all")
    assert done.returncode == 0, done.stdout
    assert "models: NOT RUN: PyTorch, Cellpose and StarDist bring gigabytes" in done.stdout
    assert "live: NOT RUN: asks archives on the internet" in done.stdout
    assert run(project, "tests/models").returncode == 1


def test_a_broken_setup_is_told_as_such(project: Path) -> None:
    (project / "tests/ready/setup.sh").write_text("echo oh; exit 7\n", "utf-8")
    done = run(project, "tests/ready")
    assert "ready: NOT RUN: setup.sh failed with exit code 7: oh" in done.stdout
