"""What the jobs of a workflow are told by their environment: engine, run, commit, lock file."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import parfocal
from parfocal.core.digest import digest_path
from parfocal.engine.job_attempt import RUN_VARIABLE
from parfocal.engine.lock_file import LOCK, LOCK_VARIABLE

__all__ = ["commit_of", "count_attempts", "own_code_told", "tell_jobs"]

_COMMIT = "PARFOCAL_COMMIT"
_DIGEST = "PARFOCAL_LOCK_DIGEST"
_ATTEMPTS_VARIABLE = "PARFOCAL_ATTEMPTS"
_CODE = ("src", "rules", "workflows", "envs", "galaxy_tools")


def count_attempts(retries: int, *, is_main: bool) -> int:
    """Return how many attempts the engine makes at a job, and tell the jobs of other nodes.

    Parameters
    ----------
    retries : int
        How often it tries again, as far as this process was told.
    is_main : bool
        Whether this process is the engine's own, and not one that it started for a job.
    """
    if is_main:
        os.environ[_ATTEMPTS_VARIABLE] = str(retries + 1)
    return int(os.environ.get(_ATTEMPTS_VARIABLE, "1"))


def tell_jobs(engine: str, workflow: Path, *, is_main: bool = True) -> None:
    """Put into the environment of all jobs what they and their records say of the run.

    Parameters
    ----------
    engine : str
        Name and version, such as ``snakemake 9.27.1``.
    workflow : Path
        Folder of the workflow.
    is_main : bool
        Whether this process is the engine's own, and not one that it started for a job.
    """
    os.environ["PARFOCAL_ENGINE"] = engine
    if is_main:
        os.environ[RUN_VARIABLE] = uuid.uuid4().hex
    project = workflow.parents[1]
    _tell_code(workflow, project)
    if (project / "pyproject.toml").exists():
        # envs/parfocal.post-deploy.sh installs it in conda environments.
        os.environ["PARFOCAL_SOURCE"] = str(project)


@contextmanager
def own_code_told() -> Iterator[None]:
    """Tell the records of this process the commit and lock file of the clone that it runs from.

    Outside of a clone, and where an engine or a container tells both, nothing changes.
    """
    project = Path(parfocal.__file__).parents[2]
    if _COMMIT in os.environ or not (project / "pyproject.toml").exists():
        yield
        return
    before = {name: os.environ.get(name) for name in (_COMMIT, _DIGEST, LOCK_VARIABLE)}
    _tell_code(project, project)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _tell_code(folder: Path, project: Path) -> None:
    commit = commit_of(folder)
    if commit:
        os.environ[_COMMIT] = commit
    lock = (project / LOCK).absolute()
    if lock.exists():
        os.environ[_DIGEST] = digest_path(lock)
        os.environ[LOCK_VARIABLE] = str(lock)


def commit_of(folder: Path) -> str | None:
    """Return the commit of the repository that a folder is part of, None outside of one.

    It ends in ``-dirty`` where tracked files were changed, or where files lie in the folders of
    code that are in no commit and that git is not told to ignore. Configuration and sheet are the
    user's to change: the run crate holds them. So is what lies elsewhere, such as results.
    """
    try:
        head = _git(folder, "rev-parse", "HEAD")
        changed = ["--untracked-files=no", "--", ":/", ":(top,exclude)config"]
        added = ["--untracked-files=normal", "--", *(f":/{name}" for name in _CODE)]
        asked = (_git(folder, "status", "--porcelain", *more) for more in (changed, added))
        return head + "-dirty" * any(asked)
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    git = ["git", "-C", str(folder), *arguments]
    return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
