"""A lease: at most one writer at an output, across processes, jobs and nodes.

File locks are not to be trusted on the shared file systems of clusters, so a lease is a file
that its holder touches while it lives. One that was not touched for a while, or whose process
is gone from this host, may be taken over; the old holder then finds that out before it publishes.
So may one that this process has let go of without being able to remove it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from parfocal.core.processes import DEAD_AFTER_S, HEARTBEAT_S, is_dead, this_process
from parfocal.errors import LeaseLostError, OutputExistsError, StorageError

__all__ = ["Lease"]

logger = logging.getLogger(__name__)

POLL_S = 0.2

SURE_AFTER_S = 2 * HEARTBEAT_S
"""So long an old lease must stay as it is: after an outage the leases of the living are old too."""

_HELD: set[str] = set()
"""The tokens that this process holds or waits with; any other lease of it is abandoned."""


class Lease:
    """Holds an output while it is written.

    Parameters
    ----------
    final : Path
        The output.
    job : str, optional
        The job on whose behalf, for those who wait and for messages.
    wait_s : float
        How long to wait for another living writer.

    Raises
    ------
    OutputExistsError
        If the path has no name of its own, as that of the working folder.
    """

    def __init__(self, final: Path, job: str | None = None, wait_s: float = 86_400.0) -> None:
        if final.name in ("", ".."):
            what = "An output cannot be written in place of the folder that this path leads to"
            expected = "a path that ends in a name"
            remedy = "Name a file or folder in it."
            where = f"{final}"
            raise OutputExistsError(what, where=where, expected=expected, remedy=remedy)
        self.path = final.with_name(f".{final.name}.lease")
        self.final = final
        self.token = uuid.uuid4().hex[:12]
        self._job = job
        self._wait_s = wait_s
        self._old: tuple[str | None, int] | None = None
        self._old_since_s = self._looked_s = 0.0
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        """Wait for the lease and take it.

        Raises
        ------
        StorageError
            If another living writer holds it for longer than `wait_s`, or the folder of the
            output cannot be written to.
        """
        _HELD.add(self.token)  # before there is a lease, which would be abandoned
        try:
            self._wait()
            self._heart.start()
        except BaseException:
            _HELD.discard(self.token)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the lease back, unless it was lost; one that cannot be removed is abandoned."""
        self._stop.set()
        self._heart.join()
        try:
            if self._mine():
                self.path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("The lease of %s could not be removed: %s", self.final, error)
        finally:
            _HELD.discard(self.token)

    def check(self) -> None:
        """Make sure that the lease is still held.

        Raises
        ------
        LeaseLostError
            If another writer took it over, or it was removed.
        StorageError
            If it cannot be read, so that nobody knows.
        """
        try:
            self.path.parent.stat()  # without the folder, that there is no lease tells nothing
            holder = _load(self.path)
        except OSError as error:
            what = "The lease of this output cannot be read: another writer may have taken over"
            remedy = "Run again when the folder is there again. Nothing was published."
            raise StorageError(what, where=self.path, found=error, remedy=remedy) from error
        if holder.get("token") == self.token:
            return
        if holder:
            what = "Another writer took over this output, because this one seemed dead"
            remedy = "Leave it to that one. Nothing of this one was published."
            raise LeaseLostError(what, where=self.final, found=holder, remedy=remedy)
        what = "The lease of this output was removed or damaged, by another writer or by somebody"
        remedy = "Run again, and leave hidden files alone meanwhile. Nothing was published."
        raise LeaseLostError(what, where=self.path, remedy=remedy)

    def _content(self) -> str:
        return json.dumps({"token": self.token} | this_process() | {"job": self._job})

    def _wait(self) -> None:
        deadline = time.monotonic() + self._wait_s
        told = False
        while not self._try():
            if not told:
                logger.info("Waiting for another writer of %s: %s", self.final, _read(self.path))
                told = True
            if time.monotonic() > deadline:
                what = "Another process has been writing this output for too long"
                remedy = "Wait for it, or stop it and run again."
                raise StorageError(what, where=self.final, found=_read(self.path), remedy=remedy)
            time.sleep(POLL_S)

    def _try(self) -> bool:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return self._take()
        except OSError as error:
            what = "The folder of an output cannot be written to"
            remedy = "Free some space, make the folder writable, or choose another."
            where = self.path.parent
            raise StorageError(what, where=where, found=error, remedy=remedy) from error

    def _take(self) -> bool:
        draft = self.path.with_name(f"{self.path.name}.{self.token}")
        try:
            draft.write_text(self._content(), encoding="utf-8")
            # A link, not O_EXCL: the lease appears with its content, never empty.
            os.link(draft, self.path)
        except FileExistsError:
            return self._take_over(draft)
        else:
            return True
        finally:
            draft.unlink(missing_ok=True)

    def _take_over(self, draft: Path) -> bool:
        # The draft was written just now: its time is that of the file system's own clock.
        now_s = draft.stat().st_mtime
        age_s = _age_s(self.path, now_s)
        holder = _read(self.path)
        if holder.get("token") == self.token:
            return True  # the file system made the link, and its answer was lost
        if not _is_abandoned(holder):
            if not is_dead(holder, age_s):
                return False
            if not is_dead(holder, 0.0) and not self._stays_old(holder):
                return False
        # Of those who find the same dead holder, one makes the guard and replaces the lease.
        token = holder.get("token")
        guard = self.path.with_name(f"{self.path.name}.{token}.dead")
        try:
            guard.touch(exist_ok=False)
        except FileExistsError:
            if _age_s(guard, now_s) > DEAD_AFTER_S:
                guard.unlink(missing_ok=True)
            return False
        try:
            if not self.path.exists() or _read(self.path).get("token") != token:
                return False
            draft.replace(self.path)
        finally:
            guard.unlink(missing_ok=True)
        logger.warning("Took over the output %s, whose writer is gone: %s", self.final, holder)
        return True

    def _stays_old(self, holder: dict[str, Any]) -> bool:
        """Tell whether looks without a long pause have seen the same old lease long enough."""
        now_s = time.monotonic()
        lease = (holder.get("token"), self.path.stat().st_mtime_ns)
        if lease != self._old or now_s - self._looked_s > HEARTBEAT_S:
            self._old, self._old_since_s = lease, now_s
        self._looked_s = now_s
        return now_s - self._old_since_s >= SURE_AFTER_S

    def _mine(self) -> bool:
        return _load(self.path).get("token") == self.token

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            with contextlib.suppress(OSError):  # lost or unreachable: `check` will tell
                if self._mine():
                    os.utime(self.path)


def _is_abandoned(holder: dict[str, Any]) -> bool:
    """Tell whether this very process wrote a lease that it does not hold any more.

    A forked process has the tokens of the one that it came from, but is another by its number.
    """
    own = all(holder.get(name) == value for name, value in this_process().items())
    return own and holder.get("token") not in _HELD


def _read(path: Path) -> dict[str, Any]:
    """Return what a lease says; nothing where it cannot be read."""
    try:
        return _load(path)
    except OSError:
        return {}


def _load(path: Path) -> dict[str, Any]:
    """Return what a lease says; nothing where there is none, or a damaged one."""
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _age_s(path: Path, now_s: float) -> float:
    try:
        return now_s - path.stat().st_mtime
    except OSError:
        return 0.0
