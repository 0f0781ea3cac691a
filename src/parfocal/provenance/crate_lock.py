"""The lock files of a run, for the copies of them in its crate: packages, versions and hashes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from parfocal.core.digest import digest_path
from parfocal.models.record import Record

__all__ = ["LOCK", "locks_beside", "recorded_locks"]

LOCK = "lock/"
"""Where in a crate the copies lie."""


def locks_beside(workflow: Path) -> tuple[Path, ...]:
    """Return the lock files of the clone that a workflow of ours lies in; none of any other."""
    homes = {path.parent for path in (workflow.absolute(), workflow.resolve())}
    folders = {home.parent.parent / "envs" for home in homes if home.parent.name == "workflows"}
    return tuple(sorted(path for folder in folders for path in folder.glob("*.lock.txt")))


def recorded_locks(
    records: Iterable[Record], locks: Iterable[Path], warn: Callable[[str], None]
) -> list[Path]:
    """Return the lock files that records name by their digests.

    Parameters
    ----------
    records : iterable of Record
        Those of the crate.
    locks : iterable of Path
        Lock files among which they may be.
    warn : callable
        Told of each digest that none of them has.
    """
    named = {record.lock_digest for record in records if record.lock_digest}
    found = {digest_path(path): path for path in locks} if named else {}
    for digest in sorted(named - found.keys()):
        warn(
            "A lock file that attempts were run with is not in the crate: none beside the workflow "
            f"has its digest, {digest}"
        )
    return [found[digest] for digest in sorted(named & found.keys())]
