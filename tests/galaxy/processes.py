"""The processes below one, also those that have lost their parent."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["adopt_orphans", "below", "kill_all_below"]

PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Let processes below this one become its own children when their parent ends."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def below(pid: int) -> list[int]:
    """Return the processes below one that have not ended."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            state, parent = stat.read_text("utf-8", errors="replace").rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(stat.parent.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        new = children.get(waiting.pop(), [])
        found += new
        waiting += new
    return found


def kill_all_below(pid: int, timeout_s: float = 10) -> None:
    """Kill all processes below one, also those that they start meanwhile."""
    deadline = time.monotonic() + timeout_s
    while left := below(pid):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {left} do not end")
        for each in left:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        time.sleep(0.05)
