"""What a lock file names, and which packages are installed in other versions than it names."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from parfocal.errors import ConfigurationError

__all__ = [
    "LOCK",
    "LOCK_VARIABLE",
    "locked_versions",
    "plain_name",
    "unlocked_here",
    "unlocked_packages",
    "unlocked_text",
]

LOCK = "envs/workflow.lock.txt"
"""Where a clone has the lock file of its workflows."""

LOCK_VARIABLE = "PARFOCAL_LOCK"
"""Environment variable that names the lock file of a run."""

_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(\S+)(?:\s*;(.*))?", re.MULTILINE)
_INSTALLED = re.compile(r"([^-]+)-([^-]+)(?:-py[^-]*)?\.(?:dist|egg)-info")
_MOST = 5


def locked_versions(text: str) -> dict[str, set[str | None]]:
    """Return the versions of each package of a lock file, by its plain name, in its order.

    Whether a marker holds is not asked: another line, or none at all, may hold in its place. Then
    there are several versions, and None for no package.

    Parameters
    ----------
    text : str
        That of the lock file.
    """
    locked: dict[str, set[str | None]] = {}
    for name, version, marker in _LOCKED.findall(text):
        versions = {version, None} if marker else {version}
        locked.setdefault(plain_name(name), set()).update(versions)
    return locked


def plain_name(package: str) -> str:
    """Return the one spelling of the name of a package."""
    return re.sub(r"[-_.]+", "-", package).lower()


def unlocked_packages(text: str, path: Iterable[str] | None = None) -> dict[str, str]:
    """Return the installed versions of packages that a lock file names in others.

    Packages that are not installed did nothing, and are left out; so are those that the lock file
    does not name.

    Parameters
    ----------
    text : str
        That of the lock file.
    path : iterable of str, optional
        Where Python looks for packages, if not as this process does.
    """
    installed = _installed(sys.path if path is None else path)
    return {
        name: installed[name]
        for name, versions in sorted(locked_versions(text).items())
        if name in installed and installed[name] not in versions
    }


def unlocked_here() -> dict[str, str] | None:
    """Return what this process has in other versions than the lock file of its run names.

    It is measured once. None stands for a run without a lock file, or with one that this process
    does not find: ``PARFOCAL_LOCK_DIGEST`` tells its digest, ``PARFOCAL_LOCK`` where it lies, and
    in container images ``PARFOCAL_PROJECT`` leads to it.
    """
    names = ("PARFOCAL_LOCK_DIGEST", LOCK_VARIABLE, "PARFOCAL_PROJECT")
    digest, told, project = (os.environ.get(name) for name in names)
    places = (told, project and f"{project}/{LOCK}")
    found = _measured(digest, tuple(filter(None, places))) if digest else None
    return None if found is None else dict(found)


def unlocked_text() -> str | None:
    """Say what is not installed as the lock file names it; None where all of it is."""
    unlocked = unlocked_here()
    if not unlocked:
        return None
    names = list(unlocked)[:_MOST]
    more = [f"and {len(unlocked) - _MOST} more"] if len(unlocked) > _MOST else []
    error = ConfigurationError(
        "Packages are installed in other versions than the lock file names",
        where=os.environ.get(LOCK_VARIABLE),
        found=", ".join([*(f"{name} {unlocked[name]}" for name in names), *more]),
        remedy="The records of this run tell them. 'make workflow-env' installs what it names.",
    )
    return str(error)


@cache
def _measured(digest: str, places: tuple[str, ...]) -> dict[str, str] | None:
    for place in places:
        try:
            content = Path(place).read_bytes()
        except OSError:  # a container does not see all that the machine around it does
            continue
        if digest == "sha256:" + hashlib.sha256(content).hexdigest():
            return unlocked_packages(content.decode(errors="replace"))
    return None


def _installed(path: Iterable[str]) -> dict[str, str]:
    """Return versions by plain names, as the names of folders tell: it takes milliseconds."""
    found: dict[str, str] = {}
    for folder in path:
        try:
            names = sorted(entry.name for entry in Path(folder).iterdir())
        except OSError:  # zip files, and folders that are not there
            continue
        for match in filter(None, map(_INSTALLED.fullmatch, names)):
            found.setdefault(plain_name(match[1]), match[2])  # the first is imported
    return found
