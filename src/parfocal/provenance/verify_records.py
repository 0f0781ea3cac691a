"""Whether the records of attempts still are what a crate says, and say what they said."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote

from parfocal.errors import InputError
from parfocal.models.source import is_uri
from parfocal.provenance.crate_records import WRITTEN
from parfocal.provenance.read_crate import Action, Crate
from parfocal.provenance.records import read_record

__all__ = ["is_record_of", "laid_out_differently", "records_of", "records_told"]

_LAID_OUT = {"image_id", "attempt", "digest_lists", "written_as"}
"""What collect-results changes in a record, besides paths."""
_LARGEST = 64 << 20


def records_of(crate: Crate) -> set[str]:
    """Return the identifiers of the records of attempts."""
    told = {action.record for action in crate.actions if action.record}
    # Crates from before all records were in them have those of attempts that made nothing else.
    return told | {name for action in crate.actions if action.failed for name in action.made}


def records_told(crate: Crate) -> bool:
    """Return whether a crate names the records of attempts that ended well."""
    done = [action for action in crate.actions if not action.failed]
    return not done or any(action.record for action in crate.actions)


def is_record_of(name: str, action: Action) -> bool:
    """Return whether a path is where the record of an action lies, as it is or as it was.

    Parameters
    ----------
    name : str
        The path, relative to the results folder, or the address on another machine.
    action : Action
    """
    place = "records/" + unquote(action.identifier).removeprefix("#action/")
    names = (f"{place}.json", f"{place}{WRITTEN}")
    if is_uri(name) and not name.lower().startswith("file:"):
        return name.endswith(tuple(f"/{one}" for one in names))
    return name in names


def laid_out_differently(written: Path) -> tuple[str, ...]:
    """Return what is wrong with the record that was laid out of one that its job wrote.

    Parameters
    ----------
    written : Path
        The file as its job wrote it; of any other file nothing is said.
    """
    laid_out = written.with_name(written.name.removesuffix(WRITTEN) + ".json")
    if not written.name.endswith(WRITTEN) or not laid_out.is_file():
        return ()
    try:
        first, second = (_without_places(path) for path in (written, laid_out))
    except InputError:  # what it tells may be the content of a file that is nobody's business
        return (f"It, or {laid_out.name} beside it, cannot be read as a record",)
    other = [name for name in first if first[name] != second[name]]
    told = f"{laid_out.name}, which was laid out of it, says otherwise: {', '.join(other)}"
    return (told,) if other else ()


def _without_places(path: Path) -> dict[str, Any]:
    """Return a record but for what its place in a results folder decides."""
    if path.stat().st_size > _LARGEST:
        what = "A record is larger than that of any attempt"
        raise InputError(what, where=path, expected=f"at most {_LARGEST} bytes")
    told = read_record(path).model_dump(exclude=_LAID_OUT)
    for artifact in (*told["inputs"], *told["outputs"]):
        artifact["uri"] = None
    return told
