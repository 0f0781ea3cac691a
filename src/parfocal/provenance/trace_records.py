"""Go from a result back to what it was made from, by the records beside the results."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from parfocal.errors import InputError
from parfocal.models.record import Artifact, Record
from parfocal.provenance.crate_actions import action_of, record_path
from parfocal.provenance.crate_selection import artifact_key
from parfocal.provenance.crate_terms import flatten, fragment, redact, value_text
from parfocal.provenance.read_crate import read_crate
from parfocal.provenance.read_crate_files import crate_files
from parfocal.provenance.read_crate_newest import settings_of
from parfocal.provenance.read_crate_text import iter_entities
from parfocal.provenance.records import iter_attempts, iter_records

Key = tuple[str, str]
"""URI and digest."""

__all__ = [
    "artifact_of",
    "attempts_on",
    "find_crate",
    "find_results",
    "runs_of",
    "trace_back",
    "unlike",
    "uri_of",
]


def find_results(path: Path) -> Path:
    """Return the results folder that something is, or lies in.

    Raises
    ------
    InputError
        If there are no records in it or in any folder above.
    """
    place = _whole(path)
    for folder in (place, *place.parents):
        if (folder / "records").is_dir():
            return folder
    what = "There is no results folder around this: no folder above it has records"
    remedy = "Name a table where its run wrote it, or the results folder with --results."
    raise InputError(what, where=path, remedy=remedy)


def _whole(path: Path) -> Path:
    """Return an absolute path without ``..``; links stay, as collected results are links."""
    return Path(os.path.normpath(path.absolute()))


def uri_of(path: Path, digest: str, results: Path, image_id: str) -> str:
    """Return what records call a file: by its place in the results, elsewhere by its digest.

    Raises
    ------
    InputError
        If it lies elsewhere, and no record tells of it.
    """
    place = _whole(path)
    if place.is_relative_to(results):
        return place.relative_to(results).as_posix()
    for records in (attempts_on(results, image_id), iter_records(results)):
        for record in records:
            for one in record.outputs if record.status == "done" else ():
                if one.digest == digest:
                    return one.uri
    raise _not_made_here(path, digest)


def _not_made_here(path: object, digest: str) -> InputError:
    what = "No record tells who made this: it was changed since, or its record is gone"
    return InputError(what, where=path, found=digest, remedy="Look with 'parfocal verify-run'.")


def find_crate(results: Path, record: Record) -> tuple[Record | None, Artifact | None]:
    """Return the attempt at the newest crate that has an attempt; if none has, the newest crate."""
    made = [one for one in runs_of(results, "record-run") if one.outputs]
    for one in made:
        if _has(results / one.outputs[0].uri, action_of(record)):
            return one, None
    return None, made[0].outputs[0] if made else None


def runs_of(results: Path, step: str) -> list[Record]:
    """Return the attempts at a step on a whole run that ended well, the newest first."""
    folder = step.replace("-", "_")
    names = [at.name for at in (results / "records" / folder).glob("*/")]
    attempts = [one for name in names for _, one in iter_attempts(results, folder, name)]
    done = [one for one in attempts if one.status == "done"]
    return sorted(done, key=lambda one: one.started, reverse=True)


def _has(path: Path, action: str) -> bool:
    """Return whether a crate has an action; one that cannot be read has none."""
    try:
        with crate_files(path).metadata() as stream:
            return any(entity["@id"] == action for entity in iter_entities(stream, path))
    except InputError:
        return False


def unlike(path: Path, records: Iterable[Record]) -> tuple[str, ...]:
    """Return what records say otherwise than a crate: parameters, commits, lock files, containers.

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
        facts = [("commit", record.commit), ("lock_digest", record.lock_digest)]
        for name, value in [*flatten(record.parameters), *facts]:
            text = None if (name, value) in facts and value is None else redact(value_text(value))
            if said.get(name) != text:
                told.append(
                    f"{record_path(record)}: {name} is {text}, in the crate {said.get(name)}"
                )
        image = record.image_digest
        if action.container != (None if image is None else fragment("container", image)):
            told.append(f"{record_path(record)}: the container is {image}, in the crate another")
    return tuple(told)


def trace_back(key: Key, results: Path, image_id: str | None) -> list[Record]:
    """Return the attempt that made a file, those that made its inputs, and so on.

    Parameters
    ----------
    key : tuple of str
        URI of a result, and its digest.
    results : Path
        The results folder.
    image_id : str, optional
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
    makers = _makers(attempts_on(results, image_id) if image_id else iter_records(results))
    found = _closure(key, makers)
    while unknown := _unmade(found, makers) or ({key} - makers.keys()):
        # What images share was made for another one: all records are read, as seldom as can be.
        others = _makers(iter_records(results), unknown)
        if not others:
            break
        makers |= others
        found = _closure(key, makers)
    if not found:
        raise _not_made_here(results / key[0], key[1])
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


def attempts_on(results: Path, image_id: str) -> Iterator[Record]:
    """Yield the records of one image."""
    for folder in sorted((results / "records").iterdir()):
        for _, record in iter_attempts(results, folder.name, image_id):
            yield record


def artifact_of(artifacts: Iterable[Artifact], role: str) -> Artifact | None:
    """Return an input or output of an attempt by its role."""
    return next((one for one in artifacts if one.role == role), None)
