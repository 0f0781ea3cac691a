"""Take back what a run added to a server, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from parfocal.core.step import Context
from parfocal.models.annotation_plan import AnnotationPlan
from parfocal.omero.annotate.deletion import delete_owned, existing
from parfocal.omero.annotate.journal import Journal, Owned
from parfocal.omero.annotate.state import edited, undo
from parfocal.omero.annotate.targets import Place, places_left
from parfocal.omero.connection import Connection

__all__ = ["Reverted", "revert_plan"]

_ALL_GROUPS = -1


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
        If something may not be deleted.
    RemoteError
        If the server fails.
    """
    names = [target.target for target in plan.targets]
    names += [name for name in journal.targets if all_runs and name not in names]
    mine = {
        name: [
            each
            for each in journal.of(name)
            if all_runs or each.run_id == plan.run_id or not each.finished
        ]
        for name in names
    }
    places = places_left(connection, [name for name in names if mine[name]])
    gone = [name for name in names if mine[name] and name not in places]
    context.warn_of("target(s) are no longer on the server", gone)
    finished = [each for several in mine.values() for each in several if each.finished]
    changed = set() if remove_edited else set(edited(connection, finished))
    context.warn_of(
        "annotation(s) were edited on the server since, and stay there (see remove_edited)",
        [f"{each.kind} of {each.target}" for each in finished if each.token in changed],
    )
    going = {name: [each for each in mine[name] if each.token not in changed] for name in names}
    _unlink(connection, journal, going, places)
    done: dict[str, Reverted] = {}
    for number, name in enumerate(names, 1):
        done[name] = Reverted(len(going[name]), len(mine[name]) - len(going[name]))
        _remove(connection, journal, [each for each in going[name] if each.finished], places, name)
        context.progress(number, len(names))
    _tell_remains(connection, finished, changed, context)
    return done


def _unlink(
    connection: Connection,
    journal: Journal,
    going: Mapping[str, Sequence[Owned]],
    places: Mapping[str, Place],
) -> None:
    """Remove our links from all targets: what they share is free only then."""
    for name, several in going.items():
        if not several:
            continue
        place = places.get(name)
        with connection.in_group(place.group_id if place else _ALL_GROUPS):
            undo(connection, journal, [each for each in several if not each.finished], place)
            for each in several:
                links = {kind: ids for kind, ids in each.objects.items() if kind.endswith("Link")}
                delete_owned(connection, links)


def _remove(
    connection: Connection,
    journal: Journal,
    finished: Sequence[Owned],
    places: Mapping[str, Place],
    name: str,
) -> None:
    if not finished:
        return
    with connection.in_group(places[name].group_id if name in places else _ALL_GROUPS):
        for each in finished:
            delete_owned(connection, each.objects)
        journal.forget([each.token for each in finished])


def _tell_remains(
    connection: Connection, finished: Sequence[Owned], changed: set[str], context: Context
) -> None:
    """Tell of annotations that stay since something else holds them."""
    left: list[str] = []
    for each in finished:
        if each.token in changed:
            continue
        there = existing(connection, each.objects)
        left += [f"{kind} {number}" for kind, ids in there.items() for number in sorted(ids)]
    context.warn_of("object(s) stay since others use them", sorted(set(left)))
