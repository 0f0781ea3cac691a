"""A checkout of a commit with an environment of its own, kept in the user's cache."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import stat
import sys
from contextlib import ExitStack
from pathlib import Path
from platform import python_version
from typing import IO

from parfocal.core.digest import digest_path
from parfocal.core.publish import remove_tree
from parfocal.engine.repeat.environment import is_locked
from parfocal.engine.repeat.facts import LOCK, Facts, facts_there
from parfocal.engine.repeat.tools import call, clean_environment
from parfocal.errors import ConfigurationError, StorageError

__all__ = ["Checkout", "python_for"]

logger = logging.getLogger(__name__)

_GIT_TIMEOUT_S = 900
_MAKE_TIMEOUT_S = 3600
_REFS = ("refs/remotes", "refs/tags")
# No link is followed, no pipe waited for, and nothing emptied.
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


class Checkout:
    """A checkout of a commit; its folder is whole or absent for all who wait for its lock.

    Parameters
    ----------
    commit : str
        40 hex digits.
    lock_digest : str or None
        What its lock file must be, if that is known.
    repository : str
        Path or URL of the repository. A commit counts that is in one of its branches or tags, or
        its HEAD: servers hand out also those of strangers, who made a fork.
    """

    def __init__(self, commit: str, lock_digest: str | None, repository: str) -> None:
        self.commit = commit
        self._lock_digest = lock_digest
        self._repository = repository
        self.folder = _cache() / commit

    @property
    def python(self) -> Path:
        """The Python of its environment."""
        return self.folder / ".venv" / "bin" / "python"

    def open(self, stack: ExitStack, python: str) -> Facts:
        """Have it at hand until a stack is closed; make it where it is not as it should be.

        Parameters
        ----------
        python : str
            The Python that its environment is made of.

        Raises
        ------
        ConfigurationError
            If it cannot be made.
        StorageError
            If the cache cannot be written.
        """
        lock = stack.enter_context(self._opened_lock())
        fcntl.flock(lock, fcntl.LOCK_SH)
        facts = self._found()
        if facts is None:
            fcntl.flock(lock, fcntl.LOCK_EX)
            facts = self._found() or self._made(python)
            fcntl.flock(lock, fcntl.LOCK_SH)
        return facts

    def _opened_lock(self) -> IO[bytes]:
        path = self.folder.with_name(f"{self.commit}.lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink() or (path.exists() and not path.is_file()):
                raise _no_lock(path)
            lock = os.fdopen(os.open(path, _LOCK_FLAGS, 0o666), "rb", buffering=0)
        except OSError as error:
            what = "The folder for environments cannot be written"
            raise StorageError(what, where=path.parent, found=error) from error
        if not stat.S_ISREG(os.fstat(lock.fileno()).st_mode):  # exchanged meanwhile
            lock.close()
            raise _no_lock(path)
        return lock

    def _found(self) -> Facts | None:
        """Return what is there already; None where it is not whole, or was changed."""
        if not self._ready.exists():
            return None
        try:
            self._check()
            facts = self._facts()
        except ConfigurationError as error:
            logger.warning("The environment in %s is made anew: %s", self.folder, error)
            return None
        if not is_locked(facts):
            logger.warning("The environment in %s is made anew: it was changed", self.folder)
            return None
        return facts

    def _made(self, python: str) -> Facts:
        logger.info("Making the environment of commit %s in %s", self.commit, self.folder)
        try:
            remove_tree(self.folder)
            self._clone()
            self._check()
            self.make("workflow-env", PYTHON=python)
            facts = self._facts()
            self._ready.touch()
        except OSError as error:
            self._remove()
            what = "The environment cannot be written"
            raise StorageError(what, where=self.folder, found=error) from error
        except BaseException:
            self._remove()
            raise
        return facts

    def make(self, target: str, **variables: str) -> None:
        """Call ``make`` in it; what that tells goes to stderr.

        Raises
        ------
        ConfigurationError
            If it fails.
        """
        make = ["make", "--no-print-directory", target]
        told = clean_environment(**variables)
        call(make, folder=self.folder, variables=told, timeout_s=_MAKE_TIMEOUT_S, shown=True)

    @property
    def _ready(self) -> Path:
        return self.folder / ".venv" / ".whole"

    def _remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _clone(self) -> None:
        source = self._repository
        clone = ["git", "clone", "--quiet", "--no-checkout", "--", source, str(self.folder)]
        call(clone, timeout_s=_GIT_TIMEOUT_S, variables=clean_environment(GIT_TERMINAL_PROMPT="0"))
        if not self._is_contained():
            what = "The repository has no such commit in its branches and tags"
            remedy = "Name one that has it with --repository."
            raise ConfigurationError(what, where=source, found=self.commit, remedy=remedy)
        self._git("checkout", "--quiet", "--detach", self.commit)
        self._git("remote", "remove", "origin")  # nothing is fetched again

    def _is_contained(self) -> bool:
        try:
            found = self._git("for-each-ref", "--count=1", "--contains", self.commit, *_REFS)
            return bool(found.strip()) or not self._git(
                "rev-list", "--max-count=1", self.commit, "--not", "HEAD"
            )
        except ConfigurationError:  # git knows no such commit
            return False

    def _check(self) -> None:
        head = self._git("rev-parse", "HEAD").strip()
        changed = self._git("status", "--porcelain", "--untracked-files=normal").strip()
        if head != self.commit or changed:
            what = "The checkout is not the commit"
            found = f"{head}, {len(changed.splitlines())} files changed"
            raise ConfigurationError(what, where=self.folder, expected=self.commit, found=found)
        path = self.folder / LOCK
        lock = digest_path(path) if path.is_file() else "none"
        if self._lock_digest not in (None, lock):
            what = "The lock file of the commit is not the recorded one"
            raise ConfigurationError(what, where=path, expected=self._lock_digest, found=lock)

    def _facts(self) -> Facts:
        return facts_there((str(self.python),), self.folder, self.commit, "none")

    def _git(self, *arguments: str) -> str:
        git = ["git", "-C", str(self.folder), *arguments]
        return call(git, timeout_s=_GIT_TIMEOUT_S)


def python_for(version: str | None) -> str:
    """Return the Python to make an environment of: one of a version, where this machine has it.

    Parameters
    ----------
    version : str or None
        Such as ``3.11.7``; the last number is as this machine has it.
    """
    own = getattr(sys, "_base_executable", sys.executable)
    if version is None or version == python_version():
        return str(own)
    return shutil.which(f"python{version.rpartition('.')[0]}") or str(own)


def _no_lock(path: Path) -> StorageError:
    what = "What lies where an environment is locked is no file"
    return StorageError(what, where=path, remedy="Remove it.")


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home).absolute() / "parfocal" / "environments"
