"""A count of what is met on the way, from several threads or other processes."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

from parfocal.core.blocks import Readable

__all__ = ["Tally", "tally_of", "with_own_tally"]


class Tally:
    """A count that several threads add to.

    A copy that is pickled for another process starts at 0: what it counts has to come back
    with the result. See `with_own_tally`.

    Attributes
    ----------
    not_finite : int
        Number of results that are not finite.
    below, above : int
        Number of results beyond the range of their data type, which became its ends.
    """

    def __init__(self) -> None:
        self.not_finite = 0
        self.below = 0
        self.above = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle a new one."""
        return Tally, ()

    def add(self, not_finite: int = 0, *, below: int = 0, above: int = 0) -> None:
        """Count some more."""
        with self._lock:
            self.not_finite += not_finite
            self.below += below
            self.above += above

    def counts(self) -> dict[str, int]:
        """Return what was counted, as `add` takes it."""
        return {"not_finite": self.not_finite, "below": self.below, "above": self.above}


def tally_of(source: Readable) -> Tally | None:
    """Return the `tally` that a source counts into; None if it counts nothing."""
    found = getattr(source, "tally", None)
    return found if isinstance(found, Tally) else None


def with_own_tally(source: Readable) -> tuple[Readable, Tally]:
    """Return a source that counts into a tally of its own, and that tally.

    Parameters
    ----------
    source : Readable
        A dataclass with a field `tally`, or a source that counts nothing.
    """
    tally = Tally()
    if tally_of(source) and dataclasses.is_dataclass(source) and not isinstance(source, type):
        return dataclasses.replace(source, tally=tally), tally
    return source, tally
