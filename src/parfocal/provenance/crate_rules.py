"""The files of rules that a Snakefile takes in, for the copies of them in a run crate."""

from __future__ import annotations

import re
from collections.abc import Callable
from os.path import relpath
from pathlib import Path, PurePosixPath

from parfocal.errors import InputError
from parfocal.provenance.crate_terms import redact, short_digest

__all__ = ["RULES", "find_rules"]

RULES = "rules/"
"""Where in a crate the copies lie."""

_TAKEN_IN = re.compile(r"(?m)^[ \t]*(?:include|snakefile)[ \t]*:\s*(.+)$")
_LITERAL = re.compile(r"(?P<quote>[\"'])(?P<path>[^\"'\n{}]+)(?P=quote)[ \t]*,?[ \t]*(?:#.*)?")


def find_rules(workflow: Path, warn: Callable[[str], None]) -> dict[str, Path]:
    """Return the files that a Snakefile includes or has as modules, and those that they do.

    Parameters
    ----------
    workflow : Path
        The Snakefile.
    warn : callable
        Told of each that is not found: of an address, or a path that is worked out.

    Returns
    -------
    dict
        Files by their places in the crate.

    Raises
    ------
    InputError
        If one of them cannot be read.
    """
    places: dict[str, Path] = {}
    todo, known = [workflow.absolute()], {workflow.resolve()}
    for file in todo:
        for told in _TAKEN_IN.findall(_text(file)):
            literal = _LITERAL.fullmatch(told.strip())
            path = file.parent / literal["path"] if literal else None
            if path is None or not path.is_file():
                said = redact(told.strip())
                warn(f"The rules that {file.name} takes in by {said} are not in the crate")
            elif path.resolve() not in known:
                known.add(path.resolve())
                todo.append(path)
                place = _place(path, workflow)
                if place in places:
                    place = f"{RULES}{short_digest(relpath(path, workflow.parent))}/{path.name}"
                places[place] = path
    return places


def _place(path: Path, workflow: Path) -> str:
    """Return where a copy lies: by its path beside the workflow, never by that of a machine."""
    try:
        below = path.resolve().relative_to(workflow.resolve().parent)
    except ValueError:
        return f"{RULES}{path.name}"
    parts = PurePosixPath(below).parts
    return RULES + "/".join(parts[1:] if parts[0] == "rules" and parts[1:] else parts)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = "A file of rules cannot be read as text"
        raise InputError(what, where=path, found=error, remedy="Write it in UTF-8.") from error
