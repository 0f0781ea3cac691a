"""From a ROI on an OMERO server to the object of a label image that it was drawn from."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parfocal.core.annotation_plan import read_plan
from parfocal.core.digest import digest_path
from parfocal.engine.measured_object import MeasuredObject, object_of
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.annotation_entries import ResultFile, Rois
from parfocal.models.annotation_plan import Target
from parfocal.models.omero_server import OmeroServer
from parfocal.models.source import OmeroSource, parse_source
from parfocal.omero.annotate.journal import Journal, Owned
from parfocal.provenance.trace_records import artifact_of, runs_of, trace_back
from parfocal.steps.annotations.servers import FOLDER

if TYPE_CHECKING:
    from parfocal.analysis.outlines import Outline

__all__ = ["TracedRoi", "trace_roi"]

_PLAN = "annotation-plan.json"
_OTHER_FOLDER = "Name the results folder that its plan was applied from with --results."
_ANEW = "Apply the plan with 'parfocal apply-annotations', and trace the ROIs that there are then."


@dataclass(frozen=True)
class TracedRoi:
    """A ROI of ours, and what it was drawn from.

    Attributes
    ----------
    number : int
        Its id on the server.
    target : str
        URI of the image that it is on.
    run_id : str
        The run whose plan it is of.
    wanted : MeasuredObject
        The object, without its bounding box.
    labels : ResultFile
        The label image, which is as it was then.
    checked : bool
        Whether the server was asked.
    differences : tuple of str
        In what the ROI is not as it was written.
    """

    number: int
    target: str
    run_id: str
    wanted: MeasuredObject
    labels: ResultFile
    checked: bool
    differences: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        names = ("target", "run_id", "checked")
        told = {"id": self.number} | {name: getattr(self, name) for name in names}
        return told | {"differences": list(self.differences)}


def trace_roi(
    number: int, results: Path, server: OmeroServer | None = None, *, offline: bool = False
) -> TracedRoi:
    """Find the object of a ROI, by the journal, the plan and the label image.

    Parameters
    ----------
    number : int
        Id of the ROI.
    results : Path
        The results folder that it was written from.
    server : OmeroServer, optional
        Needed where ROIs of two servers have this id.
    offline : bool
        Whether to believe the journal, and not to ask the server.

    Raises
    ------
    ConfigurationError
        If two servers have such a ROI.
    InputError
        If the ROI was not written from these results or is gone, or its plan or label image is
        not there any more.
    RemoteError
        If the server fails.
    """
    entries = list(_entries(results))
    if server is not None:
        entries = [each for each in entries if _target(each).server == server]
    if not entries:
        what = "The results folder has no journal of what was written to an OMERO server"
        where, found = results / FOLDER, None if server is None else f"none of {server.uri}"
        raise InputError(what, where=where, found=found, remedy=_OTHER_FOLDER)
    owned = _owner(number, entries, offline=offline)
    target, entry = _planned(owned, results)
    _check_labels(entry.labels, results)
    drawn = _drawn(list(owned.objects["Roi"]).index(number), entry, results)
    differences = () if offline else _differences(number, owned, drawn, entry)
    values = {
        "image_id": target.image_id or _maker(entry.labels, results),
        "label_name": entry.label_name,
        "label": drawn.label,
        "t": drawn.t,
    }
    return TracedRoi(
        number=number,
        target=owned.target,
        run_id=owned.run_id,
        wanted=object_of(values, f"ROI:{number} of {owned.target}"),
        labels=entry.labels,
        checked=not offline,
        differences=differences,
    )


def _entries(results: Path) -> Iterator[Owned]:
    """Yield what all journals of a results folder tell of; they are only read."""
    for path in sorted((results / FOLDER).glob("*.jsonl")):
        yield from Journal(path).all()


def _target(owned: Owned) -> OmeroSource:
    source = parse_source(owned.target)
    if not isinstance(source, OmeroSource):
        what = "The journal of annotations tells of what is not on an OMERO server"
        raise InputError(what, where=owned.target, remedy="Put a whole copy in its place.")
    return source


def _owner(number: int, entries: Sequence[Owned], *, offline: bool) -> Owned:
    """Return the entry of the journals that has a ROI."""
    found = [each for each in entries if number in each.objects.get("Roi", ())]
    if not found:
        raise _not_ours(number, entries, offline=offline)
    servers = dict.fromkeys(_target(each).server for each in found)
    if len(servers) > 1:
        what = "There are ROIs of this number on several servers"
        told = ", ".join(each.uri for each in servers)
        remedy = "Say which with --server."
        raise ConfigurationError(what, where=f"ROI:{number}", found=told, remedy=remedy)
    return found[-1]


def _not_ours(number: int, entries: Iterable[Owned], *, offline: bool) -> InputError:
    """Return the error of a ROI that no journal has, with what its server tells of it."""
    from parfocal.omero.annotate.written_roi import image_of, read_roi, token_of
    from parfocal.omero.connection import connect

    told = []
    begun = {each.token for each in entries if not each.finished}
    for server in dict.fromkeys(_target(each).server for each in entries):
        roi = None if offline else read_roi(connect(server), number)
        token = token_of(roi) if roi is not None else None
        if offline:
            told.append(f"none in the journal of {server.uri}")
        elif roi is None:
            told.append(f"none on {server.uri} that this user may see")
        elif token is None:
            told.append(f"one of {server.uri}/image/{image_of(roi)} that Parfocal did not write")
        elif token in begun:
            told.append(f"one of {server.uri}/image/{image_of(roi)} that was begun, not finished")
        else:
            told.append(f"one of {server.uri}/image/{image_of(roi)}, of other results")
    what = "This ROI was not written from these results, or was replaced since"
    remedy = f"{_OTHER_FOLDER} What was begun is finished by 'parfocal apply-annotations'."
    return InputError(what, where=f"ROI:{number}", found="; ".join(told), remedy=remedy)


def _planned(owned: Owned, results: Path) -> tuple[Target, Rois]:
    """Return the entry of the plan that was applied; of those that were, the newest first."""
    used = (artifact_of(one.inputs, "plan") for one in runs_of(results, "apply-annotations"))
    places = [results / plan.uri for plan in used if plan] + [results / _PLAN]
    there = [place for place in dict.fromkeys(places) if place.exists()]
    for plan in map(read_plan, there):
        for target in plan.targets:
            for entry in target.annotations if target.target == owned.target else ():
                known = (entry.entry_id, entry.content) == (owned.entry_id, owned.content)
                if known and isinstance(entry, Rois):
                    return target, entry
    what = "The annotation plan that the ROI was drawn by is not there any more"
    where = ", ".join(map(str, there)) or results / _PLAN
    told = "another plan" if there else "none"
    expected = f"an entry {owned.entry_id} of {owned.target} with the content {owned.content}"
    raise InputError(what, where=where, expected=expected, found=told, remedy=_ANEW)


def _check_labels(labels: ResultFile, results: Path) -> None:
    found = digest_path(results / labels.path)
    if found != labels.digest:
        what = "The label image is not the one that the ROI was drawn from"
        where = results / labels.path
        remedy = f"Plan the annotations again. {_ANEW}"
        raise InputError(what, where=where, expected=labels.digest, found=found, remedy=remedy)


def _drawn(index: int, entry: Rois, results: Path) -> Outline:
    """Return the outline of the object whose ROI was written at some place among all."""
    from parfocal.analysis.outlines import iter_outlines
    from parfocal.images import open_image

    with open_image(results / entry.labels.path) as labels:
        outlines = iter_outlines(labels, labels.block5, entry.shape)
        for drawn in itertools.islice(outlines, index, None):
            return drawn
    what = "The journal of annotations has more ROIs than the label image has objects"
    remedy = "Put a whole copy of the journal in its place."
    raise InputError(what, where=results / entry.labels.path, found=index + 1, remedy=remedy)


def _differences(number: int, owned: Owned, drawn: Outline, entry: Rois) -> tuple[str, ...]:
    """Return in what a ROI on its server is not as it was written."""
    from parfocal.omero.annotate.written_roi import differences_of, image_of, read_roi
    from parfocal.omero.connection import connect

    target = _target(owned)
    roi = read_roi(connect(target.server), number)
    where = f"ROI:{number} of {owned.target}"
    if roi is None:
        what = "The ROI is not on the OMERO server any more, or this user may not see it"
        remedy = "Where it led to when it was written, --offline tells."
        raise InputError(what, where=where, remedy=remedy)
    if image_of(roi) != target.id:
        what = "The ROI of this number is on another image than the one that was written"
        found = f"image {image_of(roi)}"
        raise InputError(what, where=where, found=found, remedy=_OTHER_FOLDER)
    return differences_of(roi, drawn, entry, owned.token)


def _maker(labels: ResultFile, results: Path) -> str:
    """Return the image of a label image, of which the plan does not tell it."""
    return trace_back((labels.path, str(labels.digest)), results, None)[0].image_id
