"""What two runs of the same work have in common: everything but what is listed here.

docs/explanation/determinism.md has the same list.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

__all__ = ["CONTAINER", "crate_copies", "crate_facts", "report_text", "result_files"]

TIMES = {"startTime", "endTime", "datePublished"}
"""Properties that tell when."""
OWN = ("#run/", "#report.html@")
"""Beginnings of the identifiers that end with what is the run's own."""
MEASURED = (*OWN, "#usage/", "#records/")
"""Beginnings of the identifiers of what has times, or use of processors and memory, in it."""
COMMIT = "#value/fact/commit/"
"""Beginning of the identifiers of the commit: others may be made between two runs of a test."""
CONTAINER = ("#value/fact/host/", "#value/fact/python/", "#container/")
"""Beginnings of the identifiers of what tells that a run was made in a container."""
OF_CONTENT = {"value", "sha256", "identifier", "contentSize"}
USAGE = re.compile(r'<section id="usage">.*?</section>', re.DOTALL)


def result_files(results: Path) -> dict[str, str]:
    """Return the sha256 of each file that steps made of images, by its path; not of stamps."""
    files = [
        path
        for folder in ("digests", "images", "originals")
        for path in sorted((results / folder).rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    ]
    return {
        path.relative_to(results).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def report_text(results: Path) -> str:
    """Return the report without its section on memory and time."""
    text, number = USAGE.subn("", (results / "report.html").read_text(encoding="utf-8"))
    assert number == 1
    return text


def crate_copies(results: Path) -> dict[str, bytes]:
    """Return the content of all files of the run crate but its metadata."""
    crate = results / "run-crate"
    files = (path for path in crate.rglob("*") if path.is_file())
    content = {path.relative_to(crate).as_posix(): path.read_bytes() for path in files}
    del content["ro-crate-metadata.json"]
    return content


def crate_facts(results: Path, place: Collection[str] = ()) -> dict[str, Any]:
    """Return what the run crate says of each entity, by its identifier, without what is listed.

    Parameters
    ----------
    place : collection of str
        Beginnings of the identifiers of entities that are left out besides.
    """
    path = results / "run-crate/ro-crate-metadata.json"
    graph = json.loads(path.read_text(encoding="utf-8"))["@graph"]
    left_out = (COMMIT, *place)
    kept = [entity for entity in graph if not entity["@id"].startswith(left_out)]
    facts = {_own(entity["@id"]): _without(entity, left_out) for entity in kept}
    for name, fact in facts.items():
        if name.startswith("workflow/"):
            del fact["version"]  # the commit
    return facts


def _own(identifier: str) -> str:
    """Return an identifier, or its beginning where its end is the run's own."""
    return next((kind for kind in OWN if identifier.startswith(kind)), identifier)


def _without(value: Any, left_out: tuple[str, ...]) -> Any:
    """Return a part of a crate without times, and references with the identifiers of `_own`."""
    if isinstance(value, list):
        kept = (_without(one, left_out) for one in value)
        return sorted((one for one in kept if one is not None), key=json.dumps)
    if not isinstance(value, dict):
        return value
    identifier = value.get("@id", "")
    if len(value) == 1 and identifier.startswith(left_out):
        return None
    dropped = TIMES | (OF_CONTENT if identifier.startswith(MEASURED) else set())
    kept = {k: _without(v, left_out) for k, v in value.items() if k not in dropped}
    if identifier:
        kept["@id"] = _own(identifier)
    return {k: v for k, v in kept.items() if v is not None}
