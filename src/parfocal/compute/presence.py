"""Who takes part in a run: a file for each process, which it touches while it lives."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from parfocal.core.processes import DEAD_AFTER_S, HEARTBEAT_S, is_dead, this_process
from parfocal.core.publish import write_json

__all__ = ["Looks", "Presence", "read_presence"]

STALL_S = DEAD_AFTER_S / 2
"""So long between two looks, the folder was out of reach."""


class Presence:
    """Tells others that this process lives.

    Parameters
    ----------
    path : Path
        The file, which stays.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        """Write the file.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        write_json(self._path, this_process())
        self._heart.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop touching the file."""
        self._stop.set()
        self._heart.join()

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            with contextlib.suppress(OSError):
                os.utime(self._path)


def read_presence(path: Path) -> dict[str, Any]:
    """Return what a file tells, nothing where it is not there yet or cannot be read."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return told if isinstance(told, dict) else {}


class Looks:
    """Tells from look after look whether who wrote a file has ended since.

    A process of this machine is seen to. One of another machine has ended when its file stayed as
    it was for `DEAD_AFTER_S` in which it was within reach all the time. Its age at one look tells
    nothing: after an outage of the folder the file of a living process is old too, until its next
    heartbeat.

    Parameters
    ----------
    path : Path
        The file; whoever has not written one has not come yet, and has not ended.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told: dict[str, Any] = {}
        self._touched_ns: int | None = None
        self._same_since_s = self._looked_s = time.monotonic()

    @property
    def process(self) -> str:
        """Which process it is, for messages."""
        return f"process {self._told.get('pid')} on {self._told.get('host')}"

    def gone(self) -> bool:
        """Look once more; this may take as long as the folder does not answer."""
        told = read_presence(self._path)
        self._told = told or self._told  # its process can be seen to during an outage
        try:
            touched_ns = self._path.stat().st_mtime_ns if told else None
        except OSError:
            touched_ns = None
        now_s = time.monotonic()
        stalled = now_s - self._looked_s > STALL_S
        if touched_ns is None or touched_ns != self._touched_ns or stalled:
            self._same_since_s = now_s
        self._touched_ns, self._looked_s = touched_ns, now_s
        return bool(self._told) and is_dead(self._told, now_s - self._same_since_s)
