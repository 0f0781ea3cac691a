"""How often the kernel killed a process for lack of memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["count_oom_kills"]


def count_oom_kills(
    proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Return how many processes the kernel killed so far where this process lives.

    It is the count of the process's own control group, such as that of its job, else of the
    whole machine.

    Parameters
    ----------
    proc, cgroups : Path
        Where the kernel tells of processes and of control groups.

    Returns
    -------
    int or None
        None where the kernel does not tell.

    Source: ``memory.events`` of cgroups v2, ``memory.oom_control`` of cgroups v1, ``oom_kill`` in
    /proc/vmstat.
    """
    for path in _counters(proc, cgroups):
        try:
            found = re.search(r"^oom_kill (\d+)$", path.read_text(encoding="ascii"), re.MULTILINE)
        except OSError:
            continue
        if found:
            return int(found[1])
    return None


def _counters(proc: Path, cgroups: Path) -> Iterator[Path]:
    try:
        lines = (proc / "self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        number, controllers, place = line.split(":", 2)
        if "memory" in controllers.split(","):
            yield cgroups / "memory" / place.lstrip("/") / "memory.oom_control"
        elif number == "0":
            yield cgroups / place.lstrip("/") / "memory.events"
    yield proc / "vmstat"
