"""Apply a plan: make on the server what it says, and take away what it no longer says."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from parfocal.core.step import Context
from parfocal.errors import ConfigurationError, ParfocalError, RemoteError
from parfocal.models.annotation_entries import LabelImage, PlannedEntry, Rois, Table, Tag
from parfocal.models.annotation_plan import AnnotationPlan, Target
from parfocal.omero.annotate.deletion import delete_owned
from parfocal.omero.annotate.journal import Journal, Owned, new_token, spans
from parfocal.omero.annotate.label_images import check_datasets, datasets_of
from parfocal.omero.annotate.making import Common, Maker, find_common, said_by
from parfocal.omero.annotate.materials import Materials
from parfocal.omero.annotate.state import (
    edited,
    find_lost,
    gathered,
    half_made,
    refuse_foreign,
    tell_remains,
    unused,
)
from parfocal.omero.annotate.tables import columns_at
from parfocal.omero.annotate.targets import Place, find_places
from parfocal.omero.annotate.texts import tag_links, tag_sets_called, tags_called
from parfocal.omero.annotate.undo import undo
from parfocal.omero.connection import Connection

__all__ = ["Applied", "apply_plan"]

logger = logging.getLogger(__name__)

_ATTEMPTS = 3


@dataclass
class Applied:
    """What became of one target.

    Attributes
    ----------
    made, replaced, kept, removed : int
        Numbers of entries that are new, that were written in place of what was there of them,
        that were there already, and that are no longer.
    ids : dict of str to list of (int, int)
        All that the plan has there now: first and last id of those that follow each other, by
        kind of object.
    """

    made: int = 0
    replaced: int = 0
    kept: int = 0
    removed: int = 0
    ids: dict[str, list[list[int]]] = field(default_factory=dict)


@dataclass
class _Work:
    """What is to be done on a target."""

    make: list[PlannedEntry] = field(default_factory=list)
    drop: list[Owned] = field(default_factory=list)
    undo: list[Owned] = field(default_factory=list)
    kept: list[PlannedEntry] = field(default_factory=list)

    @property
    def replaced(self) -> list[PlannedEntry]:
        """What of `make` comes in place of something."""
        before = {owned.entry_id for owned in self.drop}
        return [entry for entry in self.make if entry.entry_id in before]

    @property
    def made(self) -> list[PlannedEntry]:
        """What of `make` does not."""
        before = {owned.entry_id for owned in self.drop}
        return [entry for entry in self.make if entry.entry_id not in before]

    @property
    def removed(self) -> list[Owned]:
        """What of `drop` nothing comes in place of; one of each entry."""
        wanted = {entry.entry_id for entry in (*self.make, *self.kept)}
        gone = {owned.entry_id: owned for owned in self.drop if owned.entry_id not in wanted}
        return list(gone.values())


def apply_plan(
    connection: Connection,
    plan: AnnotationPlan,
    journal: Journal,
    materials: Materials,
    context: Context,
    *,
    overwrite_edited: bool = False,
) -> dict[str, Applied]:
    """Bring a server to what a plan says, target by target.

    All targets are looked up, and all files compared with their digests, before anything is
    written. Of a target all is written or nothing, as far as OMERO allows: large things come
    first and are undone when a later one fails, links and texts are one transaction, and what
    they replace goes last. A target that is as it should be is not touched.

    Parameters
    ----------
    connection : Connection
        To the server of all targets.
    plan : AnnotationPlan
        What is to be there; complete, so that each file has a digest.
    journal : Journal
        What is there of earlier plans.
    materials : Materials
        The results.
    context : Context
        For progress, warnings and temporary files.
    overwrite_edited : bool
        Whether to replace annotations that somebody edited on the server.

    Returns
    -------
    dict of str to Applied
        By target.

    Raises
    ------
    InputError
        If a target or a file is missing, something may not be written, or would overwrite what
        somebody edited.
    RemoteError
        If the server fails, or does not answer for as long as the connection is patient.
    """
    places = find_places(connection, [target.target for target in plan.targets])
    _check_files(plan, materials)
    owned = {target.target: journal.of(target.target) for target in plan.targets}
    finished = [each for several in owned.values() for each in several if each.finished]
    begun = [each for several in owned.values() for each in several if not each.finished]
    lost = find_lost(connection, finished)
    changed = edited(connection, [*finished, *half_made(connection, begun)])
    unfit = lost | set(changed) if overwrite_edited else lost
    works = {
        target.target: _plan_work(target, owned[target.target], unfit) for target in plan.targets
    }
    refuse_foreign(connection, [each for work in works.values() for each in work.drop + work.undo])
    _respect(works, changed, context, overwrite=overwrite_edited)
    _check_label_images(connection, works, places, context)
    _tell_wells(works, places, context)
    gone = lost | {each.token for work in works.values() for each in work.drop}
    common = find_common(journal, places, gone, connection.user_id)
    strangers = [target for target in journal.targets if target not in owned]
    context.warn_of(
        "target(s) of earlier plans are not in this one, and stay as they are: see the parameter "
        "all_runs of revert-annotations",
        strangers,
    )
    writer = _Writer(connection, journal, materials, plan.run_id, context, common)
    for name, work in works.items():
        writer.undo(places[name], work, remove_edited=overwrite_edited)
    done: dict[str, Applied] = {}
    for number, target in enumerate(plan.targets, 1):
        place = places[target.target]
        done[target.target] = writer.write(target, place, works[target.target])
        context.progress(number, len(plan.targets))
    dropped = [owned for work in works.values() for owned in work.drop]
    tell_remains(connection, unused([*writer.undone, *dropped], journal), context)
    logger.info("%s: %s", connection.server.uri, _summary(works))
    return done


def _summary(works: Mapping[str, _Work]) -> str:
    """Return in one line what was done, by kinds of entries."""
    done: dict[str, list[str]] = {
        "made": [entry.kind for work in works.values() for entry in work.made],
        "replaced": [entry.kind for work in works.values() for entry in work.replaced],
        "removed": [owned.kind for work in works.values() for owned in work.removed],
    }
    told = [f"{name} {_counted(kinds)}" for name, kinds in done.items() if kinds]
    kept = sum(len(work.kept) for work in works.values())
    parts = [*(told or ["nothing was written"]), f"{kept} were there already"]
    return f"{len(works)} target(s); {'; '.join(parts)}"


def _counted(kinds: Iterable[str]) -> str:
    return ", ".join(f"{kind} ({number})" for kind, number in Counter(kinds).items())


def _check_label_images(
    connection: Connection,
    works: Mapping[str, _Work],
    places: Mapping[str, Place],
    context: Context,
) -> None:
    """Make sure that label images have datasets that they may go to, and tell of the others."""
    wanted = [
        (entry, places[target])
        for target, work in works.items()
        for entry in work.make
        if isinstance(entry, LabelImage)
    ]
    context.warn_of(
        "label image(s) lie in no dataset, since their images lie in none, as those of plates do: "
        "search for their names",
        check_datasets(connection, wanted),
    )


def _tell_wells(works: Mapping[str, _Work], places: Mapping[str, Place], context: Context) -> None:
    """Tell of tables that are to name wells, of images that lie in none on the server."""
    without = [
        f"{entry.title} of {target}"
        for target, work in works.items()
        for entry in work.make
        if isinstance(entry, Table) and len(columns_at(entry, places[target])) < len(entry.columns)
    ]
    context.warn_of(
        "table(s) are written without their column Well, since their images lie in no well on the "
        "server, though the sample sheet names one",
        without,
    )


def _check_files(plan: AnnotationPlan, materials: Materials) -> None:
    """Compare all files of a plan with their digests."""
    for target in plan.targets:
        for entry in target.annotations:
            file = getattr(entry, "file", None) or getattr(entry, "labels", None)
            if file is not None:
                materials.path(file)


def _plan_work(target: Target, owned: Sequence[Owned], lost: set[str]) -> _Work:
    contents = {entry.entry_id: entry.content for entry in target.annotations}
    work = _Work(undo=[each for each in owned if not each.finished])
    finished = [each for each in owned if each.finished]
    # The last of two is the new one: the other was about to be removed.
    newest = {each.entry_id: each for each in finished}
    good = {
        each.entry_id
        for each in newest.values()
        if each.token not in lost
        # A tag that is there stays as it is, whatever is said of it.
        and (each.kind == "tag" or contents.get(each.entry_id) == each.content)
    }
    make = {entry.entry_id for entry in target.annotations} - good
    make |= _bound_to(target, make)
    work.make = [entry for entry in target.annotations if entry.entry_id in make]
    work.kept = [entry for entry in target.annotations if entry.entry_id not in make]
    kept = {entry.entry_id for entry in work.kept}
    work.drop = [
        each
        for each in finished
        if each.entry_id not in kept or newest[each.entry_id].token != each.token
    ]
    return work


def _bound_to(target: Target, make: set[str]) -> set[str]:
    """Return the ROIs of tables that are made anew, and the tables of ROIs that are."""
    rois = {entry.name: entry.entry_id for entry in target.annotations if isinstance(entry, Rois)}
    bound: set[str] = set()
    for entry in target.annotations:
        if isinstance(entry, Table) and entry.rois is not None:
            pair = {entry.entry_id, rois[entry.rois]}
            bound |= pair if pair & make else set()
    # Other tables of the same ROIs follow.
    return bound if bound <= make else bound | _bound_to(target, make | bound)


def _respect(
    works: Mapping[str, _Work], changed: Mapping[str, str], context: Context, *, overwrite: bool
) -> None:
    """Refuse to overwrite what somebody edited, and tell of what stays edited."""
    going = [(each, target) for target, work in works.items() for each in work.drop + work.undo]
    hit = [f"{each.kind} of {target}" for each, target in going if each.token in changed]
    tokens = {each.token for each, _ in going}
    stays = [kind for token, kind in changed.items() if token not in tokens]
    told = "annotation(s) were edited on the server since, and stay so (see overwrite_edited)"
    context.warn_of(told, stays)
    if hit and not overwrite:
        what = "Annotations that would be replaced were edited on the server since"
        remedy = "Set overwrite_edited to replace them, or delete them there. Nothing was written."
        raise ConfigurationError(what, where=", ".join(hit[:5]), remedy=remedy)


class _Writer:
    """Writes targets, one after the other."""

    def __init__(
        self,
        connection: Connection,
        journal: Journal,
        materials: Materials,
        run_id: str,
        context: Context,
        common: Common,
    ) -> None:
        self._connection = connection
        self._journal = journal
        self._run_id = run_id
        self._context = context
        self._maker = Maker(connection, materials, context.scratch, common)
        self.undone: list[Owned] = []

    def undo(self, place: Place, work: _Work, *, remove_edited: bool) -> None:
        """Undo what was begun on a target: before any is written, or others would use its tags."""
        if work.undo:
            with self._connection.in_group(place.group_id):
                self.undone += undo(
                    self._connection, self._journal, work.undo, place, remove_edited=remove_edited
                )

    def write(self, target: Target, place: Place, work: _Work) -> Applied:
        """Bring one target to what the plan says."""
        with self._connection.in_group(place.group_id):
            if work.make:
                self._make(target.target, place, work.make)
            delete_owned(self._connection, gathered(work.drop))
            self._journal.forget([owned.token for owned in work.drop])
        there = gathered(self._journal.of(target.target))
        ids = {kind: spans(sorted(set(one))) for kind, one in sorted(there.items()) if one}
        made, replaced, removed = len(work.made), len(work.replaced), len(work.removed)
        return Applied(made, replaced, len(work.kept), removed, ids)

    def _make(self, target: str, place: Place, entries: Sequence[PlannedEntry]) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            begun = {new_token(): entry for entry in entries}
            owned = [self._begin(token, entry, target, place) for token, entry in begun.items()]
            self._journal.begin(owned)
            try:
                made = self._maker.make(begun, place)
            except ParfocalError as error:
                undone = self._undo_at_once(owned, place)
                # What stays would be taken for what was there before.
                if not undone or not isinstance(error, RemoteError) or attempt == _ATTEMPTS:
                    raise
                logger.warning("%s; made anew", error)
            else:
                self._journal.finish(made.objects, made.said)
                self._maker.remember(begun, place, made)
                return

    def _undo_at_once(self, begun: Sequence[Owned], place: Place) -> bool:
        """Undo what has just failed, and tell what stays; return whether all is undone.

        The next call looks again at what stays.
        """
        try:
            undone = undo(self._connection, self._journal, begun, place)
            tell_remains(self._connection, unused(undone, self._journal), self._context)
        except ParfocalError as error:
            told = f"what was begun of {place.source.uri} stays until the next call undoes it"
            self._context.warn(f"{told}: {error}")
            return False
        tokens = {owned.token for owned in undone}
        stays = [f"{owned.kind} of {owned.target}" for owned in begun if owned.token not in tokens]
        self._context.warn_of(
            "annotation(s) that were half made stay, since somebody edited them or put something "
            "on them meanwhile: see overwrite_edited, and remove_edited of revert-annotations",
            stays,
        )
        return not stays

    def _begin(self, token: str, entry: PlannedEntry, target: str, place: Place) -> Owned:
        run, user = self._run_id, self._connection.user_id
        owned = Owned(token, target, entry.entry_id, entry.kind, entry.content, run, user)
        owned = replace(owned, said=said_by(entry))
        if isinstance(entry, LabelImage):
            return replace(owned, datasets=tuple(datasets_of(self._connection, entry, place)))
        if not isinstance(entry, Tag):
            return owned
        links = [link for link, _ in tag_links(self._connection, entry.name, place)]
        tags = tags_called(self._connection, entry.name, place.group_id)
        owned = replace(owned, tag=entry.name, links=tuple(links), tags=tuple(tags))
        if entry.tag_set is None:
            return owned
        sets = tag_sets_called(self._connection, entry.tag_set, place.group_id)
        return replace(owned, tag_set=entry.tag_set, sets=tuple(sets))
