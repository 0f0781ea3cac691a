"""Which of the things that lay at one path after another should lie there now."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime

from parfocal.provenance.read_crate import Crate
from parfocal.provenance.read_crate_newest import newest_attempts

__all__ = ["History", "history_of"]

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass
class History:
    """What became of things whose path has several in the crate, by identifiers.

    Attributes
    ----------
    replaced : set of str
        What an attempt made, where a later one made something else.
    foreign : set of str
        What attempts used and none made, where the run made something itself.
    idle : set of str
        What no attempt made, and no attempt used whose results count.
    """

    replaced: set[str] = field(default_factory=set)
    foreign: set[str] = field(default_factory=set)
    idle: set[str] = field(default_factory=set)


def history_of(crate: Crate) -> History:
    """Return what became of the data of a crate that share a path with others."""
    made, used = _moments(crate)
    needed = {name for action, _ in newest_attempts(crate) for name in action.used}
    shared: dict[str, list[str]] = defaultdict(list)
    for datum in crate.data.values():
        if not datum.in_crate:
            shared[datum.name].append(datum.identifier)
    history = History()
    for names in shared.values():
        if len(names) > 1:
            _add(history, set(names), made, used, needed)
    return history


def _add(
    history: History,
    names: set[str],
    made: dict[str, datetime],
    used: dict[str, datetime],
    needed: set[str],
) -> None:
    own, others = names & made.keys(), names - made.keys()
    if own:
        history.replaced |= own - {max(sorted(own), key=lambda name: made[name])}
        history.foreign |= others
    idle = others - needed
    if idle == names:  # an input of attempts that all failed: the last one should be there
        idle -= {max(sorted(names), key=lambda name: used.get(name, _NEVER))}
    history.idle |= idle


def _moments(crate: Crate) -> tuple[dict[str, datetime], dict[str, datetime]]:
    """Return when things were made, and when they were used, the last time."""
    made: dict[str, datetime] = {}
    used: dict[str, datetime] = {}
    for action in crate.actions:
        started = action.started or _NEVER
        for name in action.used:
            used[name] = max(started, used.get(name, _NEVER))
        for name in action.made:
            made[name] = max(action.ended or started, made.get(name, _NEVER))
    return made, used
