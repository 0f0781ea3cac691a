"""Whether a crate describes all that it refers to, and has digests of all that its run made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from parfocal.provenance.read_crate import Crate
from parfocal.provenance.read_crate_text import iter_entities

__all__ = ["holes"]

_MOST = 20
_WORKFLOW_RUN = "https://w3id.org/ro/wfrun/workflow/"
_OWN = {
    *("agent", "affiliation", "author", "funder", "funding", "hasPart", "instrument", "license"),
    *("mainEntity", "object", "publisher", "result"),
}
"""Properties whose values a crate describes even where they have addresses on the web."""


def holes(crate: Crate) -> list[str]:
    """Return what a crate lacks, but for what `crate.findings` tell.

    Raises
    ------
    InputError
        If the metadata cannot be read again.
    """
    known: set[str] = set()
    wanted: dict[str, str] = {}
    main = True
    with crate.files.metadata() as stream:
        for entity in iter_entities(stream, crate.path):
            identifier = entity["@id"]
            known.add(identifier)
            wanted.pop(identifier, None)
            if identifier == "./":
                main = _names_workflow(entity)
            for reference in _references(entity):
                if reference not in known:
                    wanted.setdefault(reference, identifier)
    told = [
        f"{by} refers to {reference}, which is not described"
        for reference, by in wanted.items()
        if not any(f"refers to {reference}," in finding for finding in crate.findings)
    ]
    if not main:
        told.append("./ says that it is of a workflow, and names none as its mainEntity")
    told += _without_digest(crate, known)
    more = [f"and {len(told) - _MOST} more"] if len(told) > _MOST else []
    return told[:_MOST] + more


def _without_digest(crate: Crate, known: set[str]) -> Iterator[str]:
    """Yield what actions used or made that is described, and no file or folder."""
    for action in crate.actions:
        used = (name for name in action.used if not name.startswith("#value/"))
        for what, names in (("result", action.made), ("object", used)):
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
