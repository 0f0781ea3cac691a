"""Whether a crate describes all that it refers to, and has digests of all that its run made."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from parfocal.provenance.crate_losses import loss_told
from parfocal.provenance.read_crate import Crate, read_crate
from parfocal.provenance.verify_records import is_record_of

__all__ = ["read_checked"]

_MOST = 20
_WORKFLOW_RUN = "https://w3id.org/ro/wfrun/workflow/"
_OWN = {
    *("agent", "affiliation", "author", "funder", "funding", "hasPart", "instrument", "license"),
    *("mainEntity", "object", "publisher", "result"),
}
"""Properties whose values a crate describes even where they have addresses on the web."""


def read_checked(path: Path) -> Crate:
    """Read a crate as `read_crate` does, and find what it lacks in the same pass.

    Raises
    ------
    InputError
        If there is none, it is damaged, larger than a crate is, or was not made by record-run.
    """
    watch = _Watch()
    crate = read_crate(path, watch.see)
    crate.findings += watch.holes(crate)
    return crate


class _Watch:
    """Sees all entities, and keeps what they refer to as long as it was not described."""

    def __init__(self) -> None:
        self._known: Collection[str] = ()
        self._wanted: dict[str, str] = {}
        self._main = True
        self._lost: list[str] = []

    def see(self, entity: Mapping[str, Any], known: Collection[str]) -> None:
        """Look at an entity."""
        identifier = entity["@id"]
        self._known = known
        self._wanted.pop(identifier, None)
        lost = loss_told(entity)
        if lost is not None:
            self._lost.append(lost if len(self._lost) < _MOST else "")  # counted, and not told
        if identifier == "./":
            self._main = _names_workflow(entity)
        for reference in _references(entity):
            if reference not in known:
                self._wanted.setdefault(reference, identifier)

    def holes(self, crate: Crate) -> list[str]:
        """Return what a crate lacks, but for what `crate.findings` tell."""
        told = [
            f"{by} refers to {reference}, which is not described"
            for reference, by in self._wanted.items()
            if not any(f"refers to {reference}," in finding for finding in crate.findings)
        ]
        if not self._main:
            told.append("./ says that it is of a workflow, and names none as its mainEntity")
        told += _without_digest(crate, self._known)
        told += _without_record(crate)
        told += self._lost
        more = [f"and {len(told) - _MOST} more"] if len(told) > _MOST else []
        return told[:_MOST] + more


def _without_record(crate: Crate) -> Iterator[str]:
    """Yield which actions have no record of theirs, in a crate that has some."""
    if not any(action.record for action in crate.actions):
        return
    for action in crate.actions:
        record = crate.data.get(action.record or "")
        if action.record is None:
            yield f"{action.identifier} has no record"
        elif record and not is_record_of(record.name, action):
            yield f"{action.identifier} has the record of something else, {record.name}"


def _without_digest(crate: Crate, known: Collection[str]) -> Iterator[str]:
    """Yield what actions used or made that is described, and no file or folder."""
    for action in crate.actions:
        used = (name for name in action.used if not name.startswith("#value/"))
        recorded = (action.record,) if action.record and action.record not in action.made else ()
        for what, names in (("result", action.made), ("object", used), ("record", recorded)):
            for name in names:
                if name in known and name not in crate.data:
                    yield f"{name} is a {what} of {action.identifier}, and no file or folder"


def _names_workflow(root: Mapping[str, Any]) -> bool:
    """Tell whether a crate names its workflow, if it says that it has one."""
    profiles = _ids(root.get("conformsTo"))
    return bool(_ids(root.get("mainEntity"))) or not any(
        profile.startswith(_WORKFLOW_RUN) for profile in profiles
    )


def _references(entity: Mapping[str, Any]) -> Iterator[str]:
    """Yield what an entity refers to that has to be in the crate."""
    for name, value in entity.items():
        for identifier in _ids(value):
            if name in _OWN or "://" not in identifier.partition("#")[0]:
                yield identifier


def _ids(value: object) -> list[str]:
    items = value if isinstance(value, list) else [value]
    found = [item.get("@id") for item in items if isinstance(item, dict)]
    return [identifier for identifier in found if isinstance(identifier, str)]
