"""Memory and time that steps used, against what was predicted."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from parfocal.models.record import Record
from parfocal.report.content import Usage

__all__ = ["tell_usage"]


def tell_usage(steps: Sequence[str], records: Iterable[Record]) -> tuple[Usage, ...]:
    """Return for each step what it used, where that was predicted.

    Parameters
    ----------
    steps : sequence of str
        Names of steps in the order that they are told.
    records : iterable of Record
        The newest of each step and image.
    """
    by_step: dict[str, list[Record]] = {}
    for record in records:
        if record.status == "done" and record.predicted and record.peak_memory_bytes:
            by_step.setdefault(record.step, []).append(record)
    return tuple(_usage(step, by_step[step]) for step in steps if step in by_step)


def _usage(step: str, records: Sequence[Record]) -> Usage:
    memory, time_s, shares, time_shares = [], [], [], []
    for record in records:
        used, predicted = record.peak_memory_bytes, record.predicted
        if used is None or predicted is None:
            continue
        memory.append(used / 1e6)
        shares.append(used / max(predicted.memory_bytes, 1))
        if record.ended is not None:
            seconds = (record.ended - record.started).total_seconds()
            time_s.append(seconds)
            time_shares.append(seconds / max(predicted.time_s, 0.001))
    return Usage(
        step=step,
        images=len(records),
        memory_mb=max(memory),
        memory_share=statistics.median(shares),
        most_memory_share=max(shares),
        time_s=sum(time_s),
        time_share=statistics.median(time_shares) if time_shares else None,
        most_time_share=max(time_shares, default=None),
    )
