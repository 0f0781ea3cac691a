"""Which process holds something, told so that other processes and machines can judge it."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["DEAD_AFTER_S", "HEARTBEAT_S", "is_dead", "process_start", "this_process"]

HEARTBEAT_S = 5.0
"""How often a holder touches the file that names it, in seconds."""

DEAD_AFTER_S = 60.0
"""After how many seconds without that a holder on another machine is taken for dead."""


def this_process() -> dict[str, Any]:
    """Return what tells this process from all others."""
    return {
        "host": socket.gethostname(),
        "machine": _machine(),
        "pid": os.getpid(),
        "process_start": process_start(os.getpid()),
    }


def is_dead(holder: Mapping[str, Any], age_s: float) -> bool:
    """Judge a holder: by its process where that can be seen from here, else by its heartbeat.

    Parameters
    ----------
    holder : mapping
        What `this_process` returned there; empty where it cannot be read.
    age_s : float
        How long ago its file was touched, in seconds of the file system's clock.
    """
    if holder and holder.get("machine") == _machine():
        start = process_start(int(holder["pid"]))
        return start is None or start != holder.get("process_start")
    return age_s > DEAD_AFTER_S


def _machine() -> str:
    """Return what two processes share that see each other's process ids."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"


def process_start(pid: int) -> str | None:
    """Return when a living process of this machine started (in clock ticks), None if there is none.

    Source: fields 3 (state) and 22 (starttime) of /proc/PID/stat, proc(5).
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *fields = text.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]
