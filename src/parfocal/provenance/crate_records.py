"""The files of the records of a run, which its crate names with their digests."""

from __future__ import annotations

import hashlib
from pathlib import Path

from parfocal.errors import InputError
from parfocal.models.record import Artifact, Record
from parfocal.provenance.crate_actions import record_path
from parfocal.provenance.records import iter_files

__all__ = ["WRITTEN", "read_records", "written_path"]

WRITTEN = ".written.json"
"""How the name of a record ends that lies as its job wrote it, beside one laid out of it."""


def written_path(record: Record) -> str:
    """Return where a record lies as its job wrote it, beside the one that was laid out of it."""
    return record_path(record).removesuffix(".json") + WRITTEN


def read_records(results: Path) -> tuple[list[Record], dict[str, Artifact]]:
    """Return the records of a results folder, and the file of each by `record_path`.

    The file of a record that was laid out anew is the one that its job wrote.

    Raises
    ------
    InputError
        If a file is no record, or that of another attempt.
    """
    records, files = [], {}
    for path, content, record in iter_files(results):
        place = record_path(record)
        if path != results / place:
            what = "A record lies where that of another attempt belongs"
            remedy = "Put the records back to where their steps wrote them."
            raise InputError(what, where=path, expected=place, remedy=remedy)
        if record.written_as is not None:
            files[place] = record.written_as.model_copy(update={"uri": written_path(record)})
        else:
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            files[place] = Artifact(
                role="record", kind="json", uri=place, size_bytes=len(content), digest=digest
            )
        records.append(record)
    return records, files
