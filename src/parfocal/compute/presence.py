"""Who takes part in a run: a file for each process, which it touches while it lives."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from parfocal.core.processes import HEARTBEAT_S, is_dead, this_process
from parfocal.core.publish import write_json

__all__ = ["Presence", "gone", "read_presence"]

_CLOCK = "now"
"""Touched to learn the time of the file system, which need not be that of this machine."""


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


def gone(path: Path) -> bool:
    """Tell whether who wrote a file has ended since.

    Parameters
    ----------
    path : Path
        The file; whoever has not written one has not come yet, and is not gone.
    """
    told = read_presence(path)
    clock = path.with_name(_CLOCK)
    try:
        clock.touch()
        age_s = clock.stat().st_mtime - path.stat().st_mtime
    except OSError:  # out of reach for a while
        return False
    return bool(told) and is_dead(told, age_s)
