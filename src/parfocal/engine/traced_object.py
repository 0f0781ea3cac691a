"""From an object to the chunk, the image, the source and the crate."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parfocal.core.digest import digest_path
from parfocal.engine.measured_object import MeasuredObject, find_row, read_row
from parfocal.engine.object_chunks import chunks_of
from parfocal.engine.traced_proof import Proof, proofs_of
from parfocal.errors import InputError
from parfocal.models.record import Artifact, Record
from parfocal.provenance.crate_actions import record_path
from parfocal.provenance.lost_records import makers_of, unrecorded_inputs
from parfocal.provenance.trace_records import (
    artifact_of,
    attempts_on,
    find_crate,
    trace_back,
    unlike,
    uri_of,
)

if TYPE_CHECKING:
    from parfocal.engine.traced_roi import TracedRoi

__all__ = ["Trace", "trace_back_roi", "trace_row"]

_MEASURE = "measure-objects"


@dataclass(frozen=True)
class Trace:
    """Where an object comes from.

    Attributes
    ----------
    wanted : MeasuredObject
        The object.
    table, row : str and int, or None
        The table that it is a row of, if there is one.
    roi : TracedRoi or None
        The ROI that was asked for.
    labels : Artifact
        The label image that was measured.
    labels_found : str
        The digest of the label image as it lies there now.
    chunks : tuple of str
        The files of its full resolution that hold the object.
    records : tuple of Record
        The attempt that measured, or segmented, and all that led to it.
    proofs : tuple of Proof
        What proves the conversion of the image.
    crate : Artifact or None
        The newest crate that has the attempt which measured.
    other_crate : Artifact or None
        Where there is none, a crate that was made before, or is of other images.
    crate_found : str or None
        The digest of the crate as it lies there now.
    workflow_url : str or None
        Page or repository of the workflow, as the crate has it.
    unlike : tuple of str
        What the records say otherwise than the crate.
    unrecorded : tuple of str
        What attempts used that a step made in the results folder, and no record tells of.
    """

    wanted: MeasuredObject
    table: str | None
    row: int | None
    roi: TracedRoi | None
    labels: Artifact
    labels_found: str
    chunks: tuple[str, ...]
    records: tuple[Record, ...]
    proofs: tuple[Proof, ...]
    crate: Artifact | None
    other_crate: Artifact | None
    crate_found: str | None = None
    workflow_url: str | None = None
    unlike: tuple[str, ...] = ()
    unrecorded: tuple[str, ...] = ()

    @property
    def source(self) -> str | None:
        """The source, as the sample sheet has it, or what the first step took in as its source."""
        rows = (record.row["source"] for record in self.records if record.row.get("source"))
        taken = (
            one.uri for r in reversed(self.records) for one in r.inputs if one.role == "source"
        )
        return next(rows, None) or next(taken, None)

    @property
    def image(self) -> Artifact | None:
        """The image that was measured, or segmented."""
        return artifact_of(self.records[0].inputs, "image")

    def as_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return {
            "format": "parfocal-object-trace-1",
            "object": self.wanted.known_as,
            "table": self.table,
            "row": self.row,
            "roi": self.roi.as_json() if self.roi else None,
            "labels": self.labels.model_dump(mode="json"),
            "labels_found": self.labels_found,
            "chunks": list(self.chunks),
            "image": self.image.model_dump(mode="json") if self.image else None,
            "proofs": [proof.as_json() for proof in self.proofs],
            "source": self.source,
            "attempts": [_attempt(record) for record in self.records],
            "crate": self.crate.model_dump(mode="json") if self.crate else None,
            "crate_found": self.crate_found,
            "workflow_url": self.workflow_url,
            "unlike_crate": list(self.unlike),
            "unrecorded": list(self.unrecorded),
            "other_crate": self.other_crate.model_dump(mode="json") if self.other_crate else None,
        }


def trace_row(table: Path, row: int, results: Path) -> Trace:
    """Trace the object of a row back.

    Parameters
    ----------
    table : Path
        A Parquet or TSV file of measure-objects.
    row : int
        Number of the row, from 0.
    results : Path
        The results folder that it lies in, or is a copy from.

    Raises
    ------
    ConfigurationError
        If there is no such row.
    InputError
        If the table or its records cannot be read, or no record tells of the table as it is.
    VerificationError
        If the object is not in the label image.
    """
    wanted = read_row(table, row)
    digest = digest_path(table)
    key = uri_of(table, digest, results, wanted.image_id), digest
    return _trace(wanted, key, results, row=row)


def trace_back_roi(roi: TracedRoi, results: Path) -> Trace:
    """Trace the object of a ROI further back, by its row where it was measured.

    Raises
    ------
    InputError, VerificationError
        As of `trace_row`.
    """
    key = roi.labels.path, str(roi.labels.digest)
    for record in attempts_on(results, roi.wanted.image_id):
        labels = artifact_of(record.inputs, "labels")
        table = artifact_of(record.outputs, "table")
        if record.step != _MEASURE or record.status != "done" or not (labels and table):
            continue
        path = results / table.uri
        if (labels.uri, labels.digest) != key or not path.is_file():
            continue
        row = find_row(path, roi.wanted.t, roi.wanted.label)
        if row is not None and digest_path(path) == table.digest:
            wanted = read_row(path, row)
            return _trace(wanted, (table.uri, table.digest), results, row=row, roi=roi)
    return _trace(roi.wanted, key, results, roi=roi)


def _trace(
    wanted: MeasuredObject,
    key: tuple[str, str],
    results: Path,
    *,
    row: int | None = None,
    roi: TracedRoi | None = None,
) -> Trace:
    """Trace an object back from its table, or its label image."""
    records = trace_back(key, results, wanted.image_id)
    made = records[0].outputs if row is None else records[0].inputs
    labels = artifact_of(made, "labels")
    if labels is None:
        what = "The table was not made from a label image"
        raise InputError(what, where=results / key[0], found=records[0].step)
    chunks = chunks_of(results / labels.uri, wanted)
    recorded, other_crate = find_crate(results, records[0])
    crate = recorded.outputs[0] if recorded else None
    url = recorded.parameters.get("workflow_url") if recorded else None
    return Trace(
        wanted=wanted,
        table=key[0] if row is not None else None,
        row=row,
        roi=roi,
        labels=labels,
        labels_found=digest_path(results / labels.uri, len(os.sched_getaffinity(0))),
        chunks=chunks,
        records=tuple(records),
        proofs=proofs_of(records, results),
        crate=crate,
        other_crate=other_crate,
        crate_found=digest_path(results / crate.uri) if crate else None,
        workflow_url=str(url) if url else None,
        unlike=unlike(results / crate.uri, records) if crate else (),
        unrecorded=_unrecorded(records, results),
    )


def _unrecorded(records: Sequence[Record], results: Path) -> tuple[str, ...]:
    from parfocal.steps import STEPS

    found = unrecorded_inputs(results, records, records, makers_of(STEPS))
    return tuple(artifact.uri for _, artifact in found)


def _attempt(record: Record) -> dict[str, Any]:
    names = {
        *("step", "step_version", "parfocal_version", "commit", "lock_digest"),
        *("image_digest", "container_id", "python_version"),
        *("parameters", "inputs", "outputs", "started", "engine", "host"),
    }
    return record.model_dump(mode="json", include=names) | {"record": record_path(record)}
