"""Whether the data of a run still are what its crate says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from parfocal.core.ordered import in_order
from parfocal.errors import InputError
from parfocal.provenance.read_crate import Crate, Datum
from parfocal.provenance.verify_files import Looker
from parfocal.provenance.verify_history import history_of
from parfocal.provenance.verify_places import Places
from parfocal.provenance.verify_records import laid_out_differently, records_of

__all__ = ["FAILING", "Entry", "verify_data"]

FAILING = ("changed", "missing", "unreadable")
"""States of data that are not what the crate says."""

_LATER = "A later attempt of the run wrote something else there"
_FOREIGN = "An attempt used it, and none made it: it is not what the run itself made there"
_IDLE = "Something else lies there, and no result that counts was made from this"
_CARRIED = "It lies there no more, and the crate has a copy of it"
_MOVED = (
    "If it was moved, say so with --map OLD=NEW; if the crate was, name the results with --results."
)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Entry:
    """What was found of one thing that a crate names.

    Attributes
    ----------
    role : {"input", "output", "record", "copy"}
        What it was to the run; a copy lies in the crate itself, a record is that of an attempt.
    status : str
        ``unchanged``, ``changed``, ``missing``, ``unreadable``, ``remote``, ``carried`` where it is
        gone and the crate has a copy, or ``replaced`` where a later attempt of the same run wrote
        to the same path, or where another input lies there and no result that counts was made
        from this one.
    where : Path or None
        Where it was looked for.
    found : str or None
        Its digest now.
    reasons : tuple of str
        What differs, or why it was not checked.
    """

    datum: Datum
    role: str
    status: str
    where: Path | None = None
    found: str | None = None
    reasons: tuple[str, ...] = ()


def verify_data(
    crate: Crate,
    places: Places,
    looker: Looker,
    *,
    threads: int = 1,
    progress: Progress | None = None,
) -> Iterator[Entry]:
    """Yield an entry for each file and folder that a crate names, in the order of the crate.

    Memory does not grow with the size of the data. Nothing is written but the lists of `looker`.

    Parameters
    ----------
    threads : int
        How many files and folders to read at once.
    progress : callable, optional
        Called as ``progress(done, total)``, in bytes as the crate tells them.
    """
    history = history_of(crate)
    made, recorded = crate.made(), records_of(crate)
    total = sum(datum.size_bytes or 1 for datum in crate.data.values())
    done = 0

    def check(datum: Datum) -> Entry:
        role = "output" if datum.identifier in made else "input"
        role = "record" if datum.identifier in recorded else role
        entry = Entry(datum, "copy" if datum.in_crate else role, "unchanged")
        if datum.identifier in history.replaced:
            return replace(entry, status="replaced", reasons=(_LATER,))
        entry = _check(crate, places, looker, entry)
        if entry.status == "missing" and datum.identifier in crate.copies:
            entry = replace(entry, status="carried", reasons=(_CARRIED,))
        if datum.identifier in history.idle and entry.status in FAILING:
            entry = replace(entry, status="replaced", reasons=(_IDLE,))
        if datum.identifier in history.foreign:
            entry = replace(entry, reasons=(*entry.reasons, _FOREIGN))
        return entry

    for entry in in_order(check, crate.data.values(), threads):
        done += entry.datum.size_bytes or 1
        if progress:
            progress(done, total)
        yield entry


def _check(crate: Crate, places: Places, looker: Looker, entry: Entry) -> Entry:
    datum = entry.datum
    if datum.in_crate:
        try:
            found = crate.files.digest(datum.name)
        except (InputError, OSError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            return replace(entry, status="unreadable", reasons=(reason,))
        if found is None:
            return replace(entry, status="missing", reasons=("The crate has no such file",))
        status = "unchanged" if found == datum.digest else "changed"
        return replace(entry, status=status, found=found)
    where = places.of(datum.name)
    if where is None:
        reason = "It is not on this machine, and was not fetched; --map OLD=NEW names a copy"
        return replace(entry, status="remote", reasons=(reason,))
    look = looker.look(where, datum.digest, datum.size_bytes)
    reasons = (*look.reasons, *((_MOVED,) if look.status == "missing" else ()))
    entry = replace(entry, status=look.status, where=where, found=look.found, reasons=reasons)
    if entry.role == "record" and entry.status == "unchanged":
        reasons = laid_out_differently(where)
        return replace(entry, status="changed", reasons=reasons) if reasons else entry
    return entry
