"""What an environment is: its Python, its packages, its steps, its lock file and its workflow."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import parfocal
from parfocal.core.step import Step
from parfocal.engine.lock_file import LOCK, plain_name
from parfocal.engine.repeat.tools import call
from parfocal.engine.tell_jobs import commit_of
from parfocal.errors import ConfigurationError

__all__ = ["LOCK", "SNAKEFILE", "Facts", "facts_here", "facts_there", "own_workflow"]

SNAKEFILE = "workflows/analyse_images/Snakefile"
_TIMEOUT_S = 300
_ASK = """
import json, platform, sys
from importlib import metadata
from pathlib import Path

def text(name):
    path = Path(sys.argv[1], name)
    return path.read_bytes().decode() if path.is_file() else None

from parfocal.steps import STEPS
print(json.dumps({
    "python": platform.python_version(),
    "packages": [[d.metadata["Name"], d.version] for d in metadata.distributions()],
    "behaviours": {step.name: step.version for step in STEPS},
    "lock": text(sys.argv[2]),
    "workflow": text(sys.argv[3]),
}))
"""
"""What another Python is asked by; commits of old answer it, too."""


@dataclass(frozen=True)
class Facts:
    """What an environment is, as far as records tell of it.

    Attributes
    ----------
    python, commit, container : str
    packages : mapping of str to str
        Versions of what is installed, by plain names.
    behaviours : mapping of str to str
        Versions of steps by their names.
    lock : str or None
        Text of the lock file.
    lock_digest : str
        That of the lock file; images of containers tell it by a variable, too.
    workflow : str or None
        Text of the Snakefile.
    """

    python: str
    packages: Mapping[str, str] = field(default_factory=dict)
    behaviours: Mapping[str, str] = field(default_factory=dict)
    commit: str = "not known"
    container: str = "none"
    lock: str | None = None
    lock_digest: str = "none"
    workflow: str | None = None


def own_workflow() -> Path:
    """Return the Snakefile that comes with Parfocal: that of its clone, or of its container."""
    clone = Path(parfocal.__file__).parents[2] / SNAKEFILE
    project = os.environ.get("PARFOCAL_PROJECT")
    return clone if clone.is_file() or not project else Path(project) / SNAKEFILE


def facts_here(steps: Iterable[Step], workflow: Path | None = None) -> Facts:
    """Return what the environment is that this process runs in.

    Parameters
    ----------
    steps : iterable of Step
        Those that there are here.
    workflow : Path, optional
        The Snakefile, if not the own one. Its clone has the commit and the lock file; outside of
        a clone, images of containers tell them by variables.
    """
    home = workflow or own_workflow()
    lock = _text(home.absolute().parent.parent.parent / LOCK) if home.exists() else None
    told = os.environ.get("PARFOCAL_LOCK_DIGEST")
    commit = commit_of(home.absolute().parent) if home.exists() else None
    return Facts(
        python=platform.python_version(),
        packages=_plain((d.metadata["Name"], d.version) for d in metadata.distributions())
        | {"parfocal": parfocal.__version__},
        behaviours={step.name: step.version for step in steps},
        commit=commit or os.environ.get("PARFOCAL_COMMIT") or "not known",
        container=os.environ.get("PARFOCAL_IMAGE_DIGEST", "none"),
        lock=lock,
        lock_digest=_digest(lock) if lock is not None else told or "none",
        workflow=_text(home),
    )


def facts_there(python: Sequence[str], project: Path, commit: str, container: str) -> Facts:
    """Return what another environment is, as its Python tells.

    Parameters
    ----------
    python : sequence of str
        The command that starts it.
    project : Path
        The folder, as that Python sees it, that has the lock file and the workflow.
    commit, container : str
        What it was made of.

    Raises
    ------
    ConfigurationError
        If it does not tell.
    """
    told = call([*python, "-I", "-c", _ASK, str(project), LOCK, SNAKEFILE], timeout_s=_TIMEOUT_S)
    try:
        found: dict[str, Any] = json.loads(told)
        lock = found["lock"]
        return Facts(
            python=found["python"],
            packages=_plain(found["packages"]),
            behaviours=found["behaviours"],
            commit=commit,
            container=container,
            lock=lock,
            lock_digest="none" if lock is None else _digest(lock),
            workflow=found["workflow"],
        )
    except (ValueError, KeyError, TypeError) as error:
        what = "The Python of an environment does not tell what it has"
        raise ConfigurationError(what, where=python[0], found=error) from error


def _plain(packages: Iterable[Sequence[str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, version in packages:
        if name:  # None where something damaged is installed
            found.setdefault(plain_name(name), version)  # the first is imported
    return found


def _text(path: Path) -> str | None:
    return path.read_bytes().decode() if path.is_file() else None  # as digests see it


def _digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
