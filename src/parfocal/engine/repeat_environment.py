"""In what the environment here differs from the one that a crate tells of."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote

import parfocal
from parfocal.core.digest import digest_path
from parfocal.core.step import Step
from parfocal.engine.workflow import commit_of
from parfocal.provenance.crate_copies import copied_file
from parfocal.provenance.crate_terms import redact
from parfocal.provenance.read_crate import Action, Crate

__all__ = ["Difference", "compare_environment", "how_to_build", "lock_of", "own_workflow"]

_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(\S+)(?:\s*;(.*))?", re.MULTILINE)
_MOST = 5


@dataclass(frozen=True)
class Difference:
    """Something in the environment that is not what it was.

    Attributes
    ----------
    what : str
        Such as ``commit`` or ``packages``.
    recorded, here : str
        What the crate tells, and what is here.
    """

    what: str
    recorded: str
    here: str


def own_workflow() -> Path:
    """Return the Snakefile of the clone that Parfocal runs from; outside of one it is not there."""
    return Path(parfocal.__file__).parents[2] / "workflows" / "analyse_images" / "Snakefile"


def lock_of(workflow: Path) -> Path:
    """Return the lock file of the environment that a workflow of ours is run in."""
    return workflow.absolute().parent.parent.parent / "envs" / "workflow.lock.txt"


def compare_environment(
    crate: Crate, actions: Sequence[Action], steps: Iterable[Step], workflow: Path | None
) -> list[Difference]:
    """Return in what the environment here differs from that of the attempts of a crate.

    Parameters
    ----------
    actions : sequence of Action
        The attempts that counted.
    steps : iterable of Step
        Those that there are here.
    workflow : Path or None
        The Snakefile that is to be run; None where single steps are, whose commit and lock file
        are those of the clone that Parfocal runs from, or what its container says.
    """
    recorded = _facts(crate, actions)
    here = {
        "python": platform.python_version(),
        "parfocal": parfocal.__version__,
        "container": os.environ.get("PARFOCAL_IMAGE_DIGEST", "none"),
    }
    home = workflow or own_workflow()
    lock = lock_of(home)
    here["commit"], here["lock file"] = _code_here(home, lock)
    if workflow is not None:
        here["engine"] = f"snakemake {_version('snakemake') or 'none'}"
        here["workflow"] = _digest(workflow)
        recorded["workflow"] = {_text_digest(copied_file(crate, "workflow"))}
    found = [
        Difference(what, ", ".join(sorted(recorded.get(what, {"not recorded"}))), value)
        for what, value in here.items()
        if (recorded.get(what, {"not recorded"}) != {value} or value.endswith("-dirty"))
        and (what in recorded or what in ("commit", "lock file"))
    ]
    found += _behaviours(crate, actions, steps)
    # A lock file that nothing tells of says nothing of what single steps were run with.
    asked = workflow is not None or "lock file" in recorded
    return found + (_packages(lock) if asked else [])


def how_to_build(differences: Iterable[Difference], crate: Path) -> str:
    """Say by which commands one gets the recorded environment."""
    recorded = {one.what: one.recorded for one in differences}
    if "container" in recorded and recorded["container"] != "none":
        return f"Run 'parfocal repeat-run {crate}' in a container of {recorded['container']}."
    commit = recorded.get("commit", "")
    if commit.endswith("-dirty"):
        commit = commit.removesuffix("-dirty")
        return (
            f"The nearest is 'git checkout {commit} && make workflow-env' in a clone: what was "
            "changed there besides is in no commit."
        )
    if re.fullmatch(r"[0-9a-f]{7,64}", commit):
        return (
            "To have it: 'git clone' the repository, 'git checkout "
            f"{commit}', 'make workflow-env'; then repeat the run there."
        )
    return "'make workflow-env' installs what the lock file here names."


def _code_here(home: Path, lock: Path) -> tuple[str, str]:
    """Return commit and digest of the lock file; images of containers tell both by variables."""
    commit = commit_of(home.parent) if home.exists() else None
    digest = digest_path(lock) if home.exists() and lock.exists() else None
    return (
        commit or os.environ.get("PARFOCAL_COMMIT") or "not known",
        digest or os.environ.get("PARFOCAL_LOCK_DIGEST") or "none",
    )


def _facts(crate: Crate, actions: Iterable[Action]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {"parfocal": set(), "container": set()}
    names = {"lock_digest": "lock file"}
    for action in actions:
        found["parfocal"].add(crate.tools.get(action.tool, "not recorded"))
        container = unquote(action.container or "none").removeprefix("#container/")
        found["container"].add(container)
        for name, value in (crate.values[fact] for fact in action.facts if fact in crate.values):
            found.setdefault(names.get(name, name), set()).add(value)
    return found


def _behaviours(crate: Crate, actions: Iterable[Action], steps: Iterable[Step]) -> list[Difference]:
    here = {step.name: step.version for step in steps}
    recorded = {(a.step, a.tool.rpartition("-")[2]) for a in actions if a.tool in crate.tools}
    return [
        Difference(f"behaviour of {name}", version, here.get(name, "none"))
        for name, version in sorted(recorded)
        if here.get(name) != version
    ]


def _packages(lock: Path) -> list[Difference]:
    """Return one difference where what is installed is not what the lock file here names."""
    if not lock.exists():
        return []
    locked: dict[str, set[str | None]] = {}
    for name, version, marker in _LOCKED.findall(lock.read_text(encoding="utf-8")):
        # Whether a marker holds is not asked: another line, or none at all, may hold in its place.
        locked.setdefault(name, set()).update({version, None} if marker else {version})
    wrong = [(name, versions, _version(name)) for name, versions in sorted(locked.items())]
    wrong = [(name, versions, here) for name, versions, here in wrong if here not in versions]
    if not wrong:
        return []
    first = wrong[:_MOST]
    more = [f"and {len(wrong) - _MOST} more"] if len(wrong) > _MOST else []
    wanted = [f"{name} {' or '.join(sorted(filter(None, v)))}" for name, v, _ in first]
    found = [f"{name} {here or 'none'}" for name, _, here in first]
    return [Difference("packages", ", ".join(wanted + more), ", ".join(found + more))]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _digest(workflow: Path) -> str:
    return _text_digest(redact(workflow.read_text(encoding="utf-8")))


def _text_digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
