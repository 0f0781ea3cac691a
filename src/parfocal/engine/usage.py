"""What this process has used so far: CPU time and memory."""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path

__all__ = ["cpu_s", "peak_memory_bytes", "reset_peak_memory"]


def cpu_s() -> float:
    """Return the user and system time of this process and its children, in seconds."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def reset_peak_memory() -> None:
    """Let the peak begin anew, so that an image does not answer for those before it.

    Source: ``clear_refs`` in proc(5).
    """
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_bytes() -> int:
    """Return the largest resident set since `reset_peak_memory`, or of any child so far."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                own = int(line.split()[1])
    return max(own, children) * 1024
