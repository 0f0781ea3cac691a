"""Read back from a server all that a plan says, and compare."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from parfocal.core.blocks import Region
from parfocal.core.step import Context
from parfocal.models.annotation_entries import (
    Comment,
    FileAttachment,
    KeyValues,
    LabelImage,
    PlannedEntry,
    Rating,
    Rois,
    Table,
)
from parfocal.models.annotation_plan import AnnotationPlan, Target
from parfocal.omero.annotate.journal import Journal, Owned
from parfocal.omero.annotate.materials import Materials
from parfocal.omero.annotate.state import find_lost, plain_value
from parfocal.omero.annotate.tables import columns_at, open_table, table_parts
from parfocal.omero.annotate.targets import Place, find_places
from parfocal.omero.annotate.verify_files import FileCheck
from parfocal.omero.annotate.written_roi import ROIS, shape_difference
from parfocal.omero.connection import Connection
from parfocal.omero.images import read_image
from parfocal.omero.pixels import OmeroPixels
from parfocal.omero.queries import find_all, project
from parfocal.omero.roi_parts import roi_parts

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

__all__ = ["verify_plan"]

_TABLE = "select a.file.id from FileAnnotation a where a.id in (:ids)"
_ANNOTATION = "select a from {} a where a.id in (:ids)"
_IN_PARTS = ("rois", "label-image")
_STRIP_PIXELS = 1 << 22
_TEXTS = {
    KeyValues: ("MapAnnotation", "mapValue"),
    Rating: ("LongAnnotation", "longValue"),
    Comment: ("CommentAnnotation", "textValue"),
}


def verify_plan(
    connection: Connection,
    plan: AnnotationPlan,
    journal: Journal,
    materials: Materials,
    context: Context,
) -> list[str]:
    """Return how a server differs from a plan; nothing where it is as the plan says.

    Parameters
    ----------
    connection, plan, journal, materials, context
        As for `apply_plan`.

    Raises
    ------
    InputError
        If a target or a file of the results is missing.
    RemoteError
        If the server fails.
    """
    places = find_places(connection, [target.target for target in plan.targets])
    lost = _lost(connection, journal, places)
    files = FileCheck(connection, materials, context.scratch)
    found: list[str] = []
    for number, target in enumerate(plan.targets, 1):
        mine = journal.of(target.target)
        owned = {each.entry_id: each for each in mine if each.finished}
        check = _Check(connection, materials, places[target.target], owned, lost, files)
        check.rois = [entry for entry in target.annotations if isinstance(entry, Rois)]
        for entry in target.annotations:
            where = f"{target.target}, {entry.title}"
            found += [f"{where}: {text}" for text in check.differences(entry)]
        found += [f"{target.target}: {text}" for text in _left_over(target, mine)]
        context.progress(number, len(plan.targets))
    return found


def _left_over(target: Target, owned: Sequence[Owned]) -> Iterator[str]:
    """Yield what of ours is on a target though the plan does not have it."""
    wanted = {entry.entry_id for entry in target.annotations}
    newest = {each.entry_id: each.token for each in owned if each.finished}
    for each in owned:
        if not each.finished:
            yield f"a {each.kind} was begun and not finished"
        elif each.entry_id not in wanted:
            yield f"{_ids_of(each)} of run {each.run_id} is there, and not in the plan"
        elif newest[each.entry_id] != each.token:
            yield f"{_ids_of(each)} of run {each.run_id} is there besides what replaced it"


def _ids_of(owned: Owned) -> str:
    """Return the kind of an entry, with the first of its objects on the server."""
    first = [f"{kind} {ids[0]}" for kind, ids in owned.objects.items() if ids]
    return f"a {owned.kind} ({', '.join(first)})" if first else f"a {owned.kind}"


def _lost(connection: Connection, journal: Journal, places: Mapping[str, Place]) -> set[str]:
    """Return the tokens of what `apply_plan` would make anew, but of what is compared in parts."""
    here = [each for each in journal.all() if each.finished and each.target in places]
    return find_lost(connection, [each for each in here if each.kind not in _IN_PARTS])


class _Check:
    """Compares the entries of one target."""

    def __init__(
        self,
        connection: Connection,
        materials: Materials,
        place: Place,
        owned: dict[str, Owned],
        lost: set[str],
        files: FileCheck,
    ) -> None:
        self._connection = connection
        self._materials = materials
        self._place = place
        self._owned = owned
        self._lost = lost
        self._files = files
        self.rois: list[Rois] = []
        self._ways: dict[type, Callable[[Any, Owned], Iterator[str]]] = {
            **dict.fromkeys(_TEXTS, self._text),
            FileAttachment: self._file,
            Table: self._table,
            Rois: self._rois,
            LabelImage: self._labels,
        }

    def differences(self, entry: PlannedEntry) -> Iterator[str]:
        """Yield how what is on the server differs from an entry."""
        owned = self._owned.get(entry.entry_id)
        if owned is None:
            yield "it was not applied"
        elif owned.content != entry.content and owned.kind != "tag":
            yield "another version of it was applied"
        elif owned.token in self._lost:
            yield "it is no longer on the object"
        elif owned.kind != "tag":  # which is there, and says nothing else
            yield from self._ways[type(entry)](entry, owned)

    def _text(self, entry: KeyValues | Rating | Comment, owned: Owned) -> Iterator[str]:
        kind, attribute = _TEXTS[type(entry)]
        ids = owned.objects.get(kind, ())
        query = _ANNOTATION.format(kind)
        there = self._connection.call(partial(find_all, query=query, ids=ids))
        if not there:
            yield "it is gone from the server"
            return
        found = plain_value(getattr(there[0], attribute))
        expected: Any
        if isinstance(entry, KeyValues):
            expected = [list(pair) for pair in entry.pairs]
        else:
            expected = entry.stars if isinstance(entry, Rating) else entry.text
        if found != expected:
            yield f"it is {_short(found)} on the server, and {_short(expected)} in the plan"

    def _file(self, entry: FileAttachment, owned: Owned) -> Iterator[str]:
        if told := self._files.difference(entry, owned.objects.get("FileAnnotation", ())):
            yield told

    def _table(self, entry: Table, owned: Owned) -> Iterator[str]:
        ids = owned.objects.get("FileAnnotation", ())
        rows = self._connection.call(partial(project, query=_TABLE, ids=ids))
        if not rows:
            yield "it is gone from the server"
            return
        yield from self._connection.call(
            partial(self._compare_table, entry=entry, file_id=int(rows[0][0]))
        )

    def _compare_table(self, gateway: BlitzGateway, entry: Table, file_id: int) -> list[str]:
        rois = self._roi_ids(entry)
        path = self._materials.path(entry.file)
        with open_table(gateway, file_id) as table:
            headers = [(each.name, type(each).__name__) for each in table.getHeaders()]
            columns = columns_at(entry, self._place)
            wanted = [(each.name, f"{each.type.capitalize()}Column") for each in columns]
            if headers != wanted:
                return [f"its columns are {headers} on the server, and {wanted} in the plan"]
            if table.getNumberOfRows() != entry.rows:
                return [f"it has {table.getNumberOfRows()} rows, and {entry.rows} in the plan"]
            start = 0
            for part in table_parts(entry, path, self._place, rois):
                stop = start + len(part[0].values)
                there = table.read(list(range(len(part))), start, stop).columns if part else []
                for here, remote in zip(part, there, strict=True):
                    if not _same(here.values, remote.values):
                        return [f"column {here.name} differs in rows {start} to {stop}"]
                start = stop
        return []

    def _roi_ids(self, entry: Table) -> dict[tuple[int, int], int]:
        for rois in self.rois:
            if rois.name == entry.rois and rois.entry_id in self._owned:
                ids = self._owned[rois.entry_id].objects.get("Roi", ())
                pairs = zip(self._materials.outlines(rois), ids, strict=False)
                return {(each.t, each.label): number for each, number in pairs}
        return {}

    def _rois(self, entry: Rois, owned: Owned) -> Iterator[str]:
        ids = list(owned.objects.get("Roi", ()))
        drawn = self._materials.outlines(entry)
        count = 0
        for part in roi_parts(self._connection, ids):
            there = self._connection.call(partial(find_all, query=ROIS, ids=part))
            known = {one.id.val: one for one in there}
            for number, each in zip(part, itertools.islice(drawn, len(part)), strict=False):
                count += 1
                if number not in known:
                    yield f"ROI {number} is gone from the server"
                elif told := shape_difference(known[number], each, entry):
                    yield f"ROI {number} of object {each.label}: {told}"
        more = sum(1 for _ in drawn)
        if more or count != len(ids):
            yield f"there are {len(ids)} ROIs on the server, and {count + more} objects here"

    def _labels(self, entry: LabelImage, owned: Owned) -> Iterator[str]:
        ids = owned.objects.get("Image", ())
        rows = self._connection.call(
            partial(project, query="select i.id from Image i where i.id in (:ids)", ids=ids)
        )
        if not rows:
            yield "it is gone from the server"
            return
        image = read_image(self._connection, int(ids[0]))
        with (
            self._materials.labels(entry) as labels,
            OmeroPixels(self._connection.server, image) as pixels,
        ):
            if pixels.shape5 != labels.shape5:
                yield f"it is {pixels.shape5} on the server, and {labels.shape5} here"
                return
            for region in _strips(labels.shape5):
                if not np.array_equal(pixels.read(region), labels.read(region)):
                    yield f"its pixels differ at T {region[0].start}, Z {region[2].start}"
                    return


def _strips(shape5: Sequence[int]) -> Iterator[Region]:
    times, _, depth, height, width = shape5
    rows = max(1, _STRIP_PIXELS // width)
    for t, z, start in itertools.product(range(times), range(depth), range(0, height, rows)):
        stop = min(start + rows, height)
        yield slice(t, t + 1), slice(0, 1), slice(z, z + 1), slice(start, stop), slice(0, width)


def _same(here: Sequence[Any], there: Sequence[Any]) -> bool:
    return len(here) == len(there) and all(
        one == other or (isinstance(one, float) and math.isnan(one) and math.isnan(other))
        for one, other in zip(here, there, strict=True)
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
