"""What a run took from outside: whether it still is there, and where."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace

from parfocal.errors import InputError
from parfocal.provenance.read_crate import Action, Crate
from parfocal.provenance.verify_files import Looker
from parfocal.provenance.verify_lists import DigestLists
from parfocal.provenance.verify_places import Places
from parfocal.provenance.verify_run import FAILING, Entry, verify_data

__all__ = ["check_inputs", "shown"]

logger = logging.getLogger(__name__)

_MOST = 10
_REMEDY = (
    "Say where they lie now with --map OLD=NEW, and where the results lie that relative paths are "
    "in with --results; take what was changed from a backup."
)


def check_inputs(
    crate: Crate,
    actions: Iterable[Action],
    places: Places,
    *,
    threads: int = 1,
    absent: Collection[str] = (),
) -> int:
    """Digest what attempts took from outside the run, and refuse what is not as it was.

    What lies on other machines is not fetched.

    Parameters
    ----------
    actions : iterable of Action
        The attempts that are to be repeated.
    threads : int
        How many files to read at once.
    absent : collection of str
        What is known to be missing, besides.

    Returns
    -------
    int
        How many inputs are unchanged.

    Raises
    ------
    InputError
        If one is missing, changed or cannot be read.
    """
    used = {name for action in actions for name in action.used} - crate.made()
    data = {n: d for n, d in crate.data.items() if n in used and not d.in_crate}
    looker = Looker(DigestLists(None), places.of, threads)
    entries = list(verify_data(replace(crate, data=data), places, looker, threads=threads))
    bad = [entry for entry in entries if entry.status in FAILING]
    told = list(map(_line, bad))
    known = {str(entry.where) for entry in bad}
    told += [f"missing {shown(name)}" for name in sorted(set(absent) - known)]
    if told:
        what = f"{len(told)} inputs of the run are missing or changed"
        more = [f"and {len(told) - _MOST} more"] if len(told) > _MOST else []
        found = "; ".join(told[:_MOST] + more)
        raise InputError(what, where=crate.path, found=found, remedy=_REMEDY)
    counts = Counter(entry.status for entry in entries)
    if counts["remote"]:
        logger.info(
            "%d inputs are not on this machine: the run fetches them, and they are compared then",
            counts["remote"],
        )
    return counts["unchanged"]


def _line(entry: Entry) -> str:
    reasons = [] if entry.status == "missing" else list(entry.reasons)
    if entry.found:
        reasons.insert(0, f"{entry.datum.digest} then, {entry.found} now")
    told = f" ({'; '.join(map(shown, reasons))})" if reasons else ""
    return f"{entry.status} {shown(str(entry.where))}{told}"


def shown(text: str) -> str:
    """Return a name of a crate, which may hold anything, with escapes where it must not."""
    return text if text.isprintable() else ascii(text)[1:-1]
