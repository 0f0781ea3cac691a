"""In what an environment differs from the one that a crate tells of."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from parfocal.engine.lock_file import locked_versions
from parfocal.engine.repeat.facts import Facts
from parfocal.errors import ConfigurationError
from parfocal.provenance.crate_copies import copied_file, copied_name
from parfocal.provenance.crate_terms import redact
from parfocal.provenance.read_crate import Action, Crate
from parfocal.provenance.repeat_inputs import shown

__all__ = ["Difference", "Recorded", "compare_environment", "how_to_build", "is_locked"]

_MOST = 5
_UNTOLD = "not recorded"
_NONE = "none"


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


class Recorded:
    """What the attempts of a crate tell of their environment.

    Nothing of it is given to a program but what has the one form that it can have.

    Parameters
    ----------
    actions : sequence of Action
        The attempts that counted.
    """

    def __init__(self, crate: Crate, actions: Sequence[Action]) -> None:
        self.facts = _facts(crate, actions)
        if copied_name(crate, "workflow"):
            self.facts["workflow"] = {_text_digest(copied_file(crate, "workflow"))}

    @property
    def lock_digest(self) -> str | None:
        """Digest of the lock file; None where none is told, or several are."""
        return self._only("lock file")

    @property
    def python(self) -> str | None:
        """Version of Python, such as ``3.11.7``; None where it is not told as one."""
        found = self._only("python")
        return found if found and re.fullmatch(r"\d{1,3}(\.\d{1,3}){2}", found) else None

    @property
    def in_container(self) -> bool:
        """Whether any attempt was made in a container."""
        return self.facts["container"] != {"none"}

    def image_digest(self) -> str:
        """Return the digest of the manifest of the container image.

        Raises
        ------
        ConfigurationError
            If not all attempts were made in one image, or it is not told by such a digest.
        """
        name = self._only("container") or ""
        digest = name.rpartition("@")[2]
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
            what = "The crate does not tell of one container image by the digest of its manifest"
            raise ConfigurationError(what, found=shown(", ".join(sorted(self.facts["container"]))))
        return digest

    def commit(self) -> str:
        """Return the commit of the code.

        Raises
        ------
        ConfigurationError
            If there is none, there are several, or something was changed besides.
        """
        commits = sorted(self.facts.get("commit", ()))
        if not commits:
            what = "The crate does not tell of which commit its attempts were"
            raise ConfigurationError(what)
        if len(commits) > 1:
            what = "The attempts of the crate are of several commits"
            raise ConfigurationError(what, found=shown(", ".join(commits)))
        if commits[0].endswith("-dirty"):
            what = "The code of the run is in no commit: it was changed"
            raise ConfigurationError(what, found=shown(commits[0]))
        if not re.fullmatch(r"[0-9a-f]{40}", commits[0]):
            what = "What the crate tells as its commit is none"
            raise ConfigurationError(what, found=shown(commits[0]))
        return commits[0]

    def _only(self, what: str) -> str | None:
        found = self.facts.get(what, set())
        return next(iter(found)) if len(found) == 1 else None


def compare_environment(
    crate: Crate, actions: Sequence[Action], facts: Facts, *, is_workflow: bool
) -> list[Difference]:
    """Return in what an environment differs from that of the attempts of a crate.

    Parameters
    ----------
    actions : sequence of Action
        The attempts that counted.
    facts : Facts
        Those of the environment.
    is_workflow : bool
        Whether a workflow is to be run in it, and no single steps.
    """
    recorded = Recorded(crate, actions).facts
    here = {
        "python": facts.python,
        "parfocal": facts.packages.get("parfocal", "none"),
        "container": facts.container,
        "commit": facts.commit,
        "lock file": facts.lock_digest,
    }
    if is_workflow:
        here["engine"] = f"snakemake {facts.packages.get('snakemake', 'none')}"
        here["workflow"] = (
            "none" if facts.workflow is None else _text_digest(redact(facts.workflow))
        )
    found = [
        Difference(what, ", ".join(sorted(recorded.get(what, {_UNTOLD}))), value)
        for what, value in here.items()
        if (recorded.get(what, {_UNTOLD}) != {value} or value.endswith("-dirty"))
        and (what in recorded or what in ("commit", "lock file"))
    ]
    found += _behaviours(crate, actions, facts)
    if recorded.get("unlocked", {_NONE}) != {_NONE}:
        return found + _unlocked(recorded["unlocked"], facts)
    # A lock file that nothing tells of says nothing of what single steps were run with.
    asked = is_workflow or "lock file" in recorded
    return found + (_packages(facts) if asked else [])


def _unlocked(recorded: set[str], facts: Facts) -> list[Difference]:
    """Return one difference where other packages than then are not as the lock file names them."""
    locked = locked_versions(facts.lock or "")
    here = {name: facts.packages[name] for name in sorted(locked.keys() & facts.packages.keys())}
    others = [f"{name}=={one}" for name, one in here.items() if one not in locked[name]]
    found = ", ".join(others) or _NONE
    same = recorded == {found}
    return [] if same else [Difference("packages", "; ".join(sorted(recorded)), found)]


def is_locked(facts: Facts) -> bool:
    """Return whether what is installed is what the lock file names."""
    return facts.lock is not None and not _packages(facts)


def how_to_build(differences: Iterable[Difference], facts: Facts) -> str:
    """Say by which commands one gets the recorded environment.

    Parameters
    ----------
    facts : Facts
        Those of the environment here: within a container none is made.
    """
    recorded = {one.what: one.recorded for one in differences}
    image = recorded.get("container", "none")
    if facts.container != "none":
        within = "in a container of that image" if image != "none" else "outside of containers"
        return f"'parfocal repeat-run' makes it where there are git and podman: {within}."
    if image != "none":
        return (
            f"To have it: 'podman load' or 'podman pull' {image}, and 'parfocal repeat-run' takes "
            "it; or '--environment container' builds the image of the commit as it is built now."
        )
    commit = recorded.get("commit", "")
    if commit.endswith("-dirty"):
        commit = commit.removesuffix("-dirty")
        return (
            f"The nearest is 'git checkout {commit} && make workflow-env' in a clone: what was "
            "changed there besides is in no commit."
        )
    if re.fullmatch(r"[0-9a-f]{7,64}", commit):
        return (
            "To have it: 'git clone' the repository, and name the clone with --repository; or 'git "
            f"checkout {commit}' and 'make workflow-env' there, and repeat the run there."
        )
    return "'make workflow-env' installs what the lock file here names." * ("packages" in recorded)


def _facts(crate: Crate, actions: Iterable[Action]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {"parfocal": set(), "container": set()}
    names = {"lock_digest": "lock file"}
    for action in actions:
        found["parfocal"].add(crate.tools.get(action.tool, _UNTOLD))
        container = unquote(action.container or "none").removeprefix("#container/")
        found["container"].add(container)
        for name, value in (crate.values[fact] for fact in action.facts if fact in crate.values):
            found.setdefault(names.get(name, name), set()).add(value)
    return found


def _behaviours(crate: Crate, actions: Iterable[Action], facts: Facts) -> list[Difference]:
    here = facts.behaviours
    recorded = {(a.step, a.tool.rpartition("-")[2]) for a in actions if a.tool in crate.tools}
    return [
        Difference(f"behaviour of {name}", version, here.get(name, "none"))
        for name, version in sorted(recorded)
        if here.get(name) != version
    ]


def _packages(facts: Facts) -> list[Difference]:
    """Return one difference where what is installed is not what the lock file names."""
    locked = locked_versions(facts.lock or "")
    every = [(name, v, facts.packages.get(name)) for name, v in sorted(locked.items())]
    wrong = [(name, versions, here) for name, versions, here in every if here not in versions]
    if not wrong:
        return []
    first = wrong[:_MOST]
    more = [f"and {len(wrong) - _MOST} more"] if len(wrong) > _MOST else []
    wanted = [f"{name} {' or '.join(sorted(filter(None, v)))}" for name, v, _ in first]
    found = [f"{name} {here or 'none'}" for name, _, here in first]
    return [Difference("packages", ", ".join(wanted + more), ", ".join(found + more))]


def _text_digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
