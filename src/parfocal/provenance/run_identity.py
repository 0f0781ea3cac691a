"""Which run results are of: the newest attempts that made them, and a name for them together."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence

from parfocal.models.record import Record

__all__ = ["newest_commit", "newest_done", "run_id"]


def newest_done(records: Iterable[Record], image_ids: Collection[str]) -> dict[str, list[Record]]:
    """Return the newest attempt that ended well of each step, by image, steps in their order.

    Images without one are left out.
    """
    newest: dict[tuple[str, str], Record] = {}
    for record in records:
        key = (record.image_id, record.step)
        known = newest.get(key)
        if record.status == "done" and record.image_id in image_ids:
            newest[key] = record if known is None or record.attempt > known.attempt else known
    found: dict[str, list[Record]] = {}
    for (image_id, _), record in sorted(newest.items()):
        found.setdefault(image_id, []).append(record)
    return found


def run_id(records: Iterable[Record]) -> str:
    """Return the UUID that stands for results: the same for the same steps, parameters and inputs.

    Parameters
    ----------
    records : iterable of Record
        The attempts that made them, in any order.
    """
    made = sorted(f"{record.step} {record.image_id} {record.key}" for record in records)
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "\n".join(made)))


def newest_commit(records: Sequence[Record]) -> str | None:
    """Return the commit of the workflow at the last of some attempts that knew one."""
    known = [record for record in records if record.commit]
    return max(known, key=lambda record: record.started).commit if known else None
