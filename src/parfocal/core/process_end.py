"""What a process does before it ends, even where it ends without Python's own clearing up."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable

__all__ = ["before_end", "end_process"]

_PENDING: list[tuple[int, Callable[[], None]]] = []


def before_end(act: Callable[[], None]) -> None:
    """Let `act` be called before this process ends; a forked child does not call it."""
    if not _PENDING:
        atexit.register(end_process)
    _PENDING.append((os.getpid(), act))


def end_process() -> None:
    """Do what is to be done before the end, last things first; for who calls ``os._exit``."""
    while _PENDING:
        pid, act = _PENDING.pop()
        if pid == os.getpid():
            act()
