"""What this process has used so far: CPU time and memory."""

from __future__ import annotations

import resource

from parfocal.core.memory import peak_resident_bytes

__all__ = ["cpu_s", "peak_memory_bytes"]


def cpu_s() -> float:
    """Return the user and system time of this process and its children, in seconds."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def peak_memory_bytes() -> int:
    """Return the largest resident set since `reset_peak`, or of any child so far."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(peak_resident_bytes(), children * 1024)
