"""Lay out data that lie apart, such as datasets of Galaxy, as one results folder.

The records say what each thing is: data are matched with their inputs and outputs by digest.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError

from parfocal.core.digest import digest_path, is_zarr, size_of
from parfocal.core.publish import write_json
from parfocal.core.step import Step
from parfocal.core.zipped_zarr import ZippedZarr, find_zipped_zarr
from parfocal.engine.collected_records import RunLayout
from parfocal.engine.paths import digest_lists_of
from parfocal.errors import InputError
from parfocal.models.base import explain_validation
from parfocal.models.manifest import MANIFEST_NAME
from parfocal.models.naming import image_id_of
from parfocal.models.outcome import ImageOutcome, Outcome
from parfocal.models.record import Artifact, Record
from parfocal.models.sheet import Row
from parfocal.models.source import is_uri
from parfocal.provenance.crate_actions import record_path
from parfocal.provenance.crate_records import written_path
from parfocal.provenance.records import write_record
from parfocal.provenance.verify_lists import DigestLists

__all__ = ["collect_results"]

logger = logging.getLogger(__name__)

_FORMAT = b'"parfocal-record-1"'
_LARGEST_RECORD = 64 << 20


def collect_results(
    paths: Sequence[Path],
    folder: Path,
    steps: Sequence[Step],
    rows: Sequence[Row] | None = None,
    threads: int = 1,
    images: Sequence[str] = (),
) -> list[Row]:
    """Lay out records and what they tell of as a results folder.

    Data are linked, not copied, but for OME-Zarrs in zip files, which are unpacked. A step that
    ran on other images of the sheet and of which an image has no record is told by an outcome
    as failed, and what comes after it as skipped.

    Parameters
    ----------
    paths : sequence of Path
        Records and data, in any order; an OME-Zarr may lie in a folder around it.
    folder : Path
        The results folder; it does not exist yet.
    steps : sequence of Step
        All steps, in the order of the pipeline.
    rows : sequence of Row, optional
        The sample sheet.
    threads : int
        How many files to read at once.
    images : sequence of str
        What the images are called that the run began with, for where there is no sample sheet.

    Returns
    -------
    list of Row
        The sample sheet: `rows`, or one row for each of `images` and for each that the records
        tell of.

    Raises
    ------
    InputError
        If there is no record, something cannot be read, or data belong to no record.
    """
    records, data = _sort_out(paths)
    if not records:
        what = "There is no record among the data"
        remedy = "Give the records of the jobs too: the hidden datasets called 'record'."
        raise InputError(what, found=f"{len(data)} other data", remedy=remedy)
    layout = RunLayout(records, steps, rows or ())
    folder.mkdir(parents=True)
    _place_all(layout, data, folder, threads)
    laid_out = layout.records()
    for record in laid_out:
        path = folder / record_path(record)
        path.parent.mkdir(parents=True, exist_ok=True)
        _keep_lists(record, folder)
        write_record(path, record.model_copy(update={"digest_lists": {}}))
        if record.written_as is not None:
            (folder / written_path(record)).symlink_to(record.written_as.uri)
    rows = _rows_of(laid_out, images) if rows is None else rows
    _tell_others(laid_out, rows)
    _tell_missing(laid_out, rows, folder, steps)
    logger.info("%d records of %d images in %s", len(laid_out), len(rows), folder)
    return list(rows)


def _sort_out(paths: Iterable[Path]) -> tuple[list[Record], list[Path]]:
    """Return the records, each once, and all else."""
    records: dict[str, Record] = {}
    data = []
    for path in paths:
        if path.is_file() and not path.stat().st_size:
            logger.warning("%s is empty and was left out", path)
        elif (record := _read_if_record(path)) and record.written_as:
            records.setdefault(record.written_as.digest, record)
        else:
            data.append(path)
    return list(records.values()), data


def _read_if_record(path: Path) -> Record | None:
    """Return a record with what it was written as; None of what is none."""
    if not path.is_file() or path.stat().st_size > _LARGEST_RECORD:
        return None
    content = path.read_bytes()
    if not content.lstrip().startswith(b"{") or _FORMAT not in content:
        return None
    try:
        record = Record.model_validate_json(content)
    except ValidationError as error:
        what = "A record cannot be read"
        remedy = "Give the record as its job wrote it."
        found = explain_validation(error)
        raise InputError(what, where=path, found=found, remedy=remedy) from error
    written = Artifact(
        role="record",
        kind="json",
        uri=str(path.absolute()),
        size_bytes=len(content),
        digest=digest_path(path),
    )
    return record.model_copy(update={"written_as": written})


def _place_all(layout: RunLayout, data: Iterable[Path], folder: Path, threads: int) -> None:
    """Put data where a step would have written them, or would look for them.

    Raises
    ------
    InputError
        If data belong to no record.
    """
    sizes = layout.sizes
    outside, unknown = [], []
    for path in map(_inner, data):
        packed = find_zipped_zarr(path) if path.is_file() else None
        # A zip file that was an input is told by its own size, and by the digest of what it holds.
        looks = {size_of(path), packed.size_bytes if packed else None}
        if sizes.isdisjoint(looks) and None not in sizes:
            unknown.append(path)
            continue
        digest = packed.digest() if packed else digest_path(path, threads)
        if layout.outputs(digest):
            for place in layout.outputs(digest):
                if layout.is_current(digest, place):
                    _put(packed or path, folder / place.uri)
                else:
                    logger.warning("A later attempt replaced %s: %s", place.uri, path.name)
        else:
            outside.append((digest, packed or path, path))
    for digest, content, path in outside:
        places = layout.take_in(digest)
        if places is None:
            unknown.append(path)
        for place in places or ():
            _put(content, folder / place.uri)
    if unknown:
        what = f"{len(unknown)} of the data belong to no record"
        remedy = "Give the records of the jobs that made them too, or leave these data out."
        raise InputError(what, found=", ".join(map(str, unknown)), remedy=remedy)


def _inner(path: Path) -> Path:
    """Return the OME-Zarr in a folder around it, or the path as it is."""
    if not path.exists():
        what = "There is no such file or folder"
        raise InputError(what, where=path, remedy="Check the listing.")
    if not path.is_dir() or is_zarr(path) or (path / MANIFEST_NAME).exists():
        return path
    inside = [entry for entry in sorted(path.iterdir()) if is_zarr(entry)]
    return inside[0] if len(inside) == 1 else path


def _put(content: Path | ZippedZarr, place: Path) -> None:
    if place.exists():
        return  # the same data were given twice
    place.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, Path):
        place.symlink_to(content.absolute())
        return
    unpacked = place.with_name(f".{place.name}.unpacked")
    unpacked.mkdir()
    content.unpack(unpacked).rename(place)
    unpacked.rmdir()


def _keep_lists(record: Record, folder: Path) -> None:
    """Put the lists of digests of a record where those of a results folder lie."""
    lists = DigestLists(digest_lists_of(folder))
    for digest, text in record.digest_lists.items():
        lines = text.encode()
        # Anyone can write a record; by this no list is named otherwise than by what it is.
        if digest == f"zarr-merkle-sha256:{hashlib.sha256(lines).hexdigest()}":
            lists.keep(digest, lines)
        else:
            logger.warning("%s has a list of digests that is not what it says", record.step)


def _rows_of(records: Iterable[Record], images: Iterable[str]) -> list[Row]:
    """Return a row for each image, in the order of their first records; then those without any."""
    rows: dict[str, Row] = {}
    for record in records:
        if record.image_id != "_run" and record.image_id not in rows:
            told = {name: value for name, value in record.row.items() if value}
            source = told.get("source") or record.parameters.get("source")
            if not source:
                uri = record.inputs[0].uri if record.inputs else record.image_id
                source = uri if is_uri(uri) else Path(uri).name
            known = {"name": record.image_id} | told | {"source": source}
            rows[record.image_id] = Row.model_validate(known | {"image_id": record.image_id})
    for name in images:
        image_id, shown = image_id_of(name, name), " ".join(name.split())
        source = Path(shown).name or image_id
        rows.setdefault(image_id, Row(image_id=image_id, name=shown, source=source))
    return list(rows.values())


def _tell_others(records: Iterable[Record], rows: Sequence[Row]) -> None:
    known = {row.image_id for row in rows} | {"_run"}
    others = sorted({record.image_id for record in records} - known)
    if others:
        names = ", ".join(others)
        logger.warning("%d image(s) are not in the sample sheet: %s", len(others), names)


def _tell_missing(
    records: Iterable[Record], rows: Sequence[Row], folder: Path, steps: Sequence[Step]
) -> None:
    """Write outcomes of what was done with other images of the sheet, and not with some."""
    known = {(record.step, record.image_id) for record in records}
    ids = [row.image_id for row in rows]
    used = [step for step in steps if any((step.name, image_id) in known for image_id in ids)]
    first: dict[str, str] = {}
    for step in used:
        lacking = [image_id for image_id in ids if (step.name, image_id) not in known]
        if not lacking or step.scope != "image":
            continue
        for image_id in lacking:
            first.setdefault(image_id, step.name)
        images = tuple(_lacking(step.name, image_id, first[image_id]) for image_id in lacking)
        path = folder / "outcomes" / step.folder / "0.json"
        write_json(path, Outcome(step=step.name, images=images).model_dump(mode="json"))
        logger.warning("No record of %s: %s", step.name, ", ".join(lacking))


def _lacking(step: str, image_id: str, first: str) -> ImageOutcome:
    error = (
        f"There is no record of {first} for this image, but for others: its job failed, or "
        "was left out."
    )
    status = "failed" if step == first else "skipped"
    return ImageOutcome.model_validate(
        {"image_id": image_id, "status": status, "failed_step": first, "error": error}
    )
