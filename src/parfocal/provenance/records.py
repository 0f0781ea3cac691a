"""The records of a results folder: one file an attempt, never overwritten by another attempt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from parfocal.core.publish import write_json
from parfocal.errors import InputError
from parfocal.models.naming import is_image_id
from parfocal.models.record import Record

__all__ = [
    "claim_attempt",
    "iter_attempts",
    "iter_files",
    "iter_records",
    "read_record",
    "write_record",
]


def claim_attempt(results: Path, step_folder: str, image_id: str) -> tuple[Path, int]:
    """Claim the next attempt at a step and an image.

    Returns
    -------
    path : Path
        The record's file, empty so far, so that nobody else claims it.
    attempt : int
        1 for the first.

    Raises
    ------
    InputError
        If the image_id would name no folder, or one elsewhere.
    """
    if not is_image_id(image_id):
        what = "A record would lie outside of its folder"
        expected = "letters, digits, dot, underscore, hyphen; neither dot nor hyphen first"
        remedy = "Give the image an image_id as sample sheets have them."
        raise InputError(
            what, where=step_folder, expected=expected, found=ascii(image_id)[:200], remedy=remedy
        )
    folder = results / "records" / step_folder / image_id
    folder.mkdir(parents=True, exist_ok=True)
    attempt = max((int(file.stem) for file in _files(folder)), default=0) + 1
    while True:
        path = folder / f"{attempt:04d}.json"
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            attempt += 1
        else:
            return path, attempt


def write_record(path: Path, record: Record) -> None:
    """Write a record, whole or not at all."""
    write_json(path, record.model_dump(mode="json"))


def read_record(path: Path) -> Record:
    """Read a record.

    Raises
    ------
    InputError
        If the file is not a record.
    """
    return _read(path)[1]


def _read(path: Path) -> tuple[bytes, Record]:
    """Return a record with the bytes that it was read from."""
    try:
        content = path.read_bytes()
        return content, Record.model_validate_json(content.decode("utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        what = "A record cannot be read"
        remedy = "Restore the file, or remove it and run the step again."
        raise InputError(what, where=path, found=error, remedy=remedy) from error


def iter_attempts(results: Path, step_folder: str, image_id: str) -> Iterator[tuple[Path, Record]]:
    """Yield the records of one step and image, the newest attempt first."""
    folder = results / "records" / step_folder / image_id
    for path in reversed(_files(folder)):
        if path.stat().st_size:
            yield path, read_record(path)


def iter_records(results: Path) -> Iterator[Record]:
    """Yield the records of a results folder in the order of step, image and attempt.

    Files that a killed process left empty are passed over: nothing had started yet.
    """
    return (record for _, _, record in iter_files(results))


def iter_files(results: Path) -> Iterator[tuple[Path, bytes, Record]]:
    """Yield the records as `iter_records` does, each with its file and the bytes in it."""
    for folder in sorted((results / "records").glob("*/*/")):
        for path in _files(folder):
            if path.stat().st_size:
                yield (path, *_read(path))


def _files(folder: Path) -> list[Path]:
    files = [file for file in folder.glob("*.json") if file.stem.isascii() and file.stem.isdigit()]
    return sorted(files, key=lambda file: int(file.stem))
