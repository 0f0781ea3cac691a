"""Take back what a run added to a server, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from parfocal.core.step import Context
from parfocal.models.annotation_plan import AnnotationPlan
from parfocal.omero.annotate.deletion import delete_owned
from parfocal.omero.annotate.journal import Journal, Owned
from parfocal.omero.annotate.state import (
    edited,
    gathered,
    half_made,
    refuse_foreign,
    tell_remains,
)
from parfocal.omero.annotate.targets import Place, places_left
from parfocal.omero.annotate.undo import undo
from parfocal.omero.connection import Connection

__all__ = ["Reverted", "revert_plan"]

_ALL_GROUPS = -1
_AT_ONCE = 100


@dataclass
class Reverted:
    """What became of one target.

    Attributes
    ----------
    removed, kept : int
        Numbers of entries that were taken away, and of those that somebody edited.
    """

    removed: int = 0
    kept: int = 0


def revert_plan(
    connection: Connection,
    plan: AnnotationPlan,
    journal: Journal,
    context: Context,
    *,
    all_runs: bool = False,
    remove_edited: bool = False,
) -> dict[str, Reverted]:
    """Remove from the targets of a plan what its run added to them.

    Tags that were there before, or that others use, stay; and so do annotations that others
    have linked to something else, and what was edited since.

    Parameters
    ----------
    connection, plan, journal, context
        As for `apply_plan`.
    all_runs : bool
        Whether to remove what earlier runs of this results folder added, too, also from targets
        that are not in the plan.
    remove_edited : bool
        Whether to remove what somebody edited since.

    Returns
    -------
    dict of str to Reverted
        By target.

    Raises
    ------
    InputError
        If something may not be deleted, or was written by another user.
    RemoteError
        If the server fails.
    """
    mine = _mine(journal, plan, all_runs=all_runs)
    names = list(mine)
    refuse_foreign(connection, [each for several in mine.values() for each in several])
    places = places_left(connection, [name for name in names if mine[name]])
    gone = [name for name in names if mine[name] and name not in places]
    context.warn_of("target(s) are no longer on the server", gone)
    finished = [each for several in mine.values() for each in several if each.finished]
    begun = [each for several in mine.values() for each in several if not each.finished]
    there = [*finished, *half_made(connection, begun)]
    changed = set() if remove_edited else set(edited(connection, there))
    context.warn_of(
        "annotation(s) were edited on the server since, and stay there (see remove_edited)",
        [f"{each.kind} of {each.target}" for each in there if each.token in changed],
    )
    going = {name: [each for each in mine[name] if each.token not in changed] for name in names}
    undone: list[Owned] = []
    parts = list(_parts([name for name in names if going[name]], places))
    for group_id, part in parts:
        with connection.in_group(group_id):
            _unlink(connection, [each for name in part for each in going[name]])
    for number, (group_id, part) in enumerate(parts, 1):
        # All that was begun, since what stays tells what was made with it.
        here = {name: mine[name] for name in part}
        ended = [each for name in part for each in going[name] if each.finished]
        with connection.in_group(group_id):
            undone += _undo(connection, journal, here, places, remove_edited=remove_edited)
            delete_owned(connection, gathered(ended))
        journal.forget([each.token for each in ended])
        context.progress(number, len(parts))
    ended = [each for each in finished if each.token not in changed]
    tell_remains(connection, gathered([*ended, *undone]), context)
    return {name: Reverted(len(going[name]), len(mine[name]) - len(going[name])) for name in names}


def _mine(journal: Journal, plan: AnnotationPlan, *, all_runs: bool) -> dict[str, list[Owned]]:
    """Return what is to be removed if nobody edited it, by target."""
    names = [target.target for target in plan.targets]
    if all_runs:
        names = list(dict.fromkeys([*names, *journal.targets]))
    return {
        name: [
            each
            for each in journal.of(name)
            if all_runs or each.run_id == plan.run_id or not each.finished
        ]
        for name in names
    }


def _parts(
    names: Sequence[str], places: Mapping[str, Place]
) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield targets of one group that are worked on together."""
    groups: dict[int, list[str]] = {}
    for name in names:
        group_id = places[name].group_id if name in places else _ALL_GROUPS
        groups.setdefault(group_id, []).append(name)
    for group_id, members in groups.items():
        for start in range(0, len(members), _AT_ONCE):
            yield group_id, members[start : start + _AT_ONCE]


def _undo(
    connection: Connection,
    journal: Journal,
    mine: Mapping[str, Sequence[Owned]],
    places: Mapping[str, Place],
    *,
    remove_edited: bool,
) -> Iterator[Owned]:
    """Undo what was begun and not finished, but what was edited; yield it with its objects."""
    for name, several in mine.items():
        if begun := [each for each in several if not each.finished]:
            place = places.get(name)
            yield from undo(connection, journal, begun, place, remove_edited=remove_edited)


def _unlink(connection: Connection, going: Sequence[Owned]) -> None:
    """Remove our links from all targets: what they share is free only then."""
    links = {kind: ids for kind, ids in gathered(going).items() if kind.endswith("Link")}
    delete_owned(connection, links)
