"""A run of an old commit, repeated by a newer one in the environment of the old one, made anew."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from parfocal.provenance.records import iter_records
from rules import runs
from rules.runs import ROOT, Run, environment

LOCK = "envs/workflow.lock.txt"


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of this repository as it was committed last."""
    folder = tmp_path_factory.mktemp("clone") / "parfocal"
    git(ROOT, "clone", "--quiet", str(ROOT), str(folder))
    git(folder, "checkout", "--quiet", "-B", "main", git(ROOT, "rev-parse", "HEAD"))
    return folder


@pytest.fixture(scope="module")
def recorded(clone: Path) -> tuple[Run, str]:
    """A run of the clone, and its commit; since then its workflow has run no more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "SNAKEFILE", clone / "workflows/analyse_images/Snakefile")
        run = Run(clone.parent / "first")
        run.add_image("a")
        done = run.snakemake(PYTHONPATH=str(clone / "src"))
    assert done.returncode == 0, done.stderr
    old = git(clone, "rev-parse", "HEAD")
    with (clone / "workflows/analyse_images/Snakefile").open("a") as workflow:
        workflow.write("raise ValueError('newer')\n")
    with (clone / LOCK).open("a") as lock:
        lock.write("# newer\n")
    git(clone, "commit", "--quiet", "--all", "--message", "Break the workflow")
    return run, old


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the tests' own, which goes with them: environments are large."""
    folder = tmp_path_factory.mktemp("cache")
    yield folder
    shutil.rmtree(folder)


def repeat(
    clone: Path, run: Run, folder: Path, cache: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    """Repeat a run by the Parfocal of the clone as it is now."""
    command = [sys.executable, "-m", "parfocal", "repeat-run", str(run.results / "run-crate")]
    packages = os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache/uv")
    return subprocess.run(
        [*command, f"--folder={folder}", *options],
        env=environment(
            XDG_CACHE_HOME=str(cache), UV_CACHE_DIR=packages, PYTHONPATH=str(clone / "src")
        ),
        cwd=folder.parent,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )


def test_the_environment_of_the_recorded_commit_is_made_and_used_again(
    clone: Path, recorded: tuple[Run, str], cache: Path, tmp_path: Path
) -> None:
    run, old = recorded
    done = repeat(clone, run, tmp_path / "again", cache, "--strict")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "identical"
    assert Run(tmp_path / "again").digests() == run.digests()
    made = cache / "parfocal/environments" / old
    assert f"Making the environment of commit {old} in {made}" in done.stderr
    assert f"commit was {old}, and is {git(clone, 'rev-parse', 'HEAD')}" in done.stderr
    assert "lock file was" in done.stderr
    records = list(iter_records(tmp_path / "again/results"))
    assert {record.commit for record in records} == {old}
    done = repeat(clone, run, tmp_path / "once-more", cache, "--strict")
    assert done.returncode == 0, done.stderr
    assert "Making the environment" not in done.stderr
    assert "The recorded environment is at hand" in done.stderr


def test_here_the_newer_workflow_breaks_off(
    clone: Path, recorded: tuple[Run, str], cache: Path, tmp_path: Path
) -> None:
    done = repeat(clone, recorded[0], tmp_path / "again", cache, "--environment=here")
    assert done.returncode == 2
    assert "The workflow ended without a run crate" in done.stderr


def test_a_commit_that_the_repository_lacks_is_told(
    clone: Path, recorded: tuple[Run, str], cache: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    git(tmp_path, "init", "--quiet", str(empty))
    run, old = recorded
    options = ("--strict", f"--repository={empty}")
    done = repeat(clone, run, tmp_path / "again", tmp_path / "none", *options)
    assert done.returncode == 2
    assert "no such commit in its branches and tags" in done.stderr
    assert old in done.stderr
    assert not (tmp_path / "again").exists()
