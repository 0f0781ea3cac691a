"""What jobs are told by their environment; the commit, and whether the code is that of it."""

import os
import subprocess

import pytest

from parfocal.engine.tell_jobs import commit_of, tell_jobs


@pytest.fixture
def clone(tmp_path):
    """Return a repository with a workflow, and its commit."""
    folder = tmp_path / "clone"
    for name in ("workflows/x/Snakefile", "src/a.py", "config/x.yaml", "rules/a.smk", "x.toml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("first\n")
    (folder / ".gitignore").write_text(".venv/\n__pycache__/\n.*.stamp.json\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "First")
    return folder, git(folder, "rev-parse", "HEAD")


def git(folder, *arguments):
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_jobs_are_told_the_engine_and_the_lock(tmp_path, monkeypatch):
    for name in ("ENGINE", "COMMIT", "LOCK", "LOCK_DIGEST", "SOURCE"):
        monkeypatch.setenv(f"PARFOCAL_{name}", "before")
    workflow = tmp_path / "workflows/x"
    workflow.mkdir(parents=True)
    (tmp_path / "envs").mkdir()
    lock = tmp_path / "envs/workflow.lock.txt"
    lock.write_text("", encoding="utf-8")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    tell_jobs("snakemake 9", workflow)
    assert os.environ["PARFOCAL_ENGINE"] == "snakemake 9"
    # Outside of a repository the commit is left to whoever knows it, such as a container image.
    assert os.environ["PARFOCAL_COMMIT"] == "before"
    assert os.environ["PARFOCAL_LOCK_DIGEST"].startswith("sha256:e3b0c44298fc1c14")
    assert os.environ["PARFOCAL_LOCK"] == str(lock)
    assert os.environ["PARFOCAL_SOURCE"] == "before"
    (tmp_path / "pyproject.toml").touch()
    tell_jobs("snakemake 9", workflow)
    assert os.environ["PARFOCAL_SOURCE"] == str(tmp_path)


def test_unchanged_code_is_that_of_its_commit(clone):
    folder, head = clone
    assert commit_of(folder / "workflows/x") == commit_of(folder) == head


@pytest.mark.parametrize(
    "name",
    [
        "src/a.py",
        "x.toml",
        "src/b.py",
        "rules/b.smk",
        "workflows/mine/Snakefile",
        "envs/b.lock.txt",
    ],
)
def test_code_in_no_commit_is_told(clone, name):
    folder, head = clone
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("second\n")
    assert commit_of(folder / "workflows/x") == f"{head}-dirty"


def test_code_that_was_removed_is_told(clone):
    folder, head = clone
    (folder / "rules/a.smk").unlink()
    assert commit_of(folder / "workflows/x") == f"{head}-dirty"


@pytest.mark.parametrize(
    "name",
    [
        "config/x.yaml",
        "config/mine.yaml",
        "samples.tsv",
        "my results/images/a/zarr.json",
        "src/__pycache__/a.pyc",
        "workflows/x/.samples.tsv.stamp.json",
    ],
)
def test_what_users_have_beside_the_code_is_no_change_of_it(clone, name):
    folder, head = clone
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("second\n")
    assert commit_of(folder / "workflows/x") == head


def test_git_is_asked_for_what_is_not_in_it_whatever_users_let_it_show(clone):
    folder, head = clone
    git(folder, "config", "status.showUntrackedFiles", "no")
    (folder / "src/b.py").write_text("second\n")
    assert commit_of(folder) == f"{head}-dirty"


def test_outside_of_a_repository_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit_of(tmp_path) is None
