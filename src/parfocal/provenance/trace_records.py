"""Go from a result back to what it was made from, by the records beside the results."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from parfocal.core.digest import digest_path
from parfocal.errors import InputError
from parfocal.models.record import Artifact, Record
from parfocal.provenance.crate_actions import action_of, record_path
from parfocal.provenance.crate_selection import artifact_key
from parfocal.provenance.crate_terms import flatten, redact, value_text
from parfocal.provenance.read_crate import read_crate
from parfocal.provenance.read_crate_files import crate_files
from parfocal.provenance.read_crate_newest import settings_of
from parfocal.provenance.read_crate_text import iter_entities
from parfocal.provenance.records import iter_attempts, iter_records

Key = tuple[str, str]
"""URI and digest."""

__all__ = ["find_crate", "find_results", "input_of", "trace_back", "unlike"]


def find_results(path: Path) -> Path:
    """Return the results folder that something lies in.

    Raises
    ------
    InputError
        If there are no records in any folder above.
    """
    for folder in path.absolute().parents:
        if (folder / "records").is_dir():
            return folder
    what = "There is no results folder around this: no folder above it has records"
    raise InputError(what, where=path, remedy="Name a table where its run wrote it.")


def find_crate(results: Path, record: Record) -> tuple[Artifact | None, Artifact | None]:
    """Return the newest crate that has an attempt; and where none has it, the newest one."""
    folders = (results / "records" / "record_run").glob("*/")
    attempts = [one for at in folders for _, one in iter_attempts(results, "record_run", at.name)]
    attempts.sort(key=lambda one: one.started, reverse=True)
    crates = [one.outputs[0] for one in attempts if one.status == "done" and one.outputs]
    for crate in crates:
        if _has(results / crate.uri, action_of(record)):
            return crate, None
    return None, crates[0] if crates else None


def _has(path: Path, action: str) -> bool:
    """Return whether a crate has an action; one that cannot be read has none."""
    try:
        with crate_files(path).metadata() as stream:
            return any(entity["@id"] == action for entity in iter_entities(stream, path))
    except InputError:
        return False


def unlike(path: Path, records: Iterable[Record]) -> tuple[str, ...]:
    """Return what records say otherwise than a crate: their parameters and their commits.

    Of a crate that is not valid it is that alone.
    """
    try:
        crate = read_crate(path)
    except InputError as error:
        return (" ".join(str(error).split()),)
    actions = {action.identifier: action for action in crate.actions}
    told = []
    for record in records:
        action = actions.get(action_of(record))
        if action is None:
            told.append(f"{record_path(record)}: the crate has no such attempt")
            continue
        said = dict(settings_of(crate, action))
        said |= dict(crate.values[name] for name in action.facts if name in crate.values)
        pairs = [*flatten(record.parameters), ("commit", record.commit)]
        for name, value in pairs:
            text = None if name == "commit" and value is None else redact(value_text(value))
            if said.get(name) != text:
                told.append(
                    f"{record_path(record)}: {name} is {text}, in the crate {said.get(name)}"
                )
    return tuple(told)


def trace_back(path: Path, results: Path, image_id: str) -> list[Record]:
    """Return the attempt that made a file, those that made its inputs, and so on.

    Parameters
    ----------
    path : Path
        A result; it is digested.
    results : Path
        The results folder.
    image_id : str
        The image that it is of, whose records are looked at first.

    Returns
    -------
    list of Record
        The maker first, each before those that made its inputs.

    Raises
    ------
    InputError
        If no record tells of the file as it is now.
    """
    uri, digest = path.absolute().relative_to(results).as_posix(), digest_path(path)
    makers = _makers(_of_image(results, image_id))
    found = _closure((uri, digest), makers)
    while unknown := _unmade(found, makers) or ({(uri, digest)} - makers.keys()):
        # What images share was made for another one: all records are read, as seldom as can be.
        others = _makers(iter_records(results), unknown)
        if not others:
            break
        makers |= others
        found = _closure((uri, digest), makers)
    if not found:
        what = "No record tells who made this: it was changed since, or its record is gone"
        raise InputError(what, where=path, found=digest, remedy="Look with 'parfocal verify-run'.")
    return found


def _makers(records: Iterable[Record], wanted: Collection[Key] | None = None) -> dict[Key, Record]:
    """Return the newest attempts that made things, by these; of all things, or of some."""
    makers: dict[Key, Record] = {}
    for record in records:
        for key in map(artifact_key, record.outputs if record.status == "done" else ()):
            known = makers.get(key)
            if (wanted is None or key in wanted) and (
                known is None or known.started <= record.started
            ):
                makers[key] = record
    return makers


def _closure(key: Key, makers: Mapping[Key, Record]) -> list[Record]:
    """Return the attempt that made something, those that made its inputs, and so on."""
    found: list[Record] = []
    todo = [key]
    for one in todo:
        record = makers.get(one)
        if record is not None and record not in found:
            found.append(record)
            todo += map(artifact_key, record.inputs)
    return found


def _unmade(records: Iterable[Record], makers: Mapping[Key, Record]) -> set[Key]:
    inputs = {artifact_key(one) for record in records for one in record.inputs}
    return inputs - makers.keys()


def _of_image(results: Path, image_id: str) -> Iterator[Record]:
    for folder in sorted((results / "records").iterdir()):
        for _, record in iter_attempts(results, folder.name, image_id):
            yield record


def input_of(record: Record, role: str) -> Artifact | None:
    """Return an input of an attempt by its role."""
    return next((one for one in record.inputs if one.role == role), None)
