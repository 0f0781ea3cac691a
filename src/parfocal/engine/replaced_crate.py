"""What a new run crate may take the place of: an older one, and nothing that anybody else made."""

from __future__ import annotations

from pathlib import Path

from parfocal.core.publish import Stamp
from parfocal.errors import InputError, OutputExistsError
from parfocal.provenance.crate_terms import HOME
from parfocal.provenance.read_crate_files import METADATA, crate_files

__all__ = ["refuse_other"]

_MARK = f"{HOME}/reference/steps/#".encode()
_PARTS = {"README.md", "config", "digests", "inputs", "lock", "rules", "sheet", "workflow"}
_CHUNK = 1 << 20


def refuse_other(path: Path) -> None:
    """Make sure that nothing lies at `path`, or a run crate, or nothing that would be lost.

    Raises
    ------
    OutputExistsError
        If something else lies there.
    """
    if not path.exists() or _is_empty(path) or _is_torn(path) or _is_ours(path):
        return
    what = "What lies where the run crate should go is none, and is not replaced"
    expected = "nothing, or a run crate that 'parfocal record-run' made"
    remedy = "Name another place, or move this away."
    raise OutputExistsError(what, where=path, expected=expected, remedy=remedy)


def _is_empty(path: Path) -> bool:
    return not any(path.iterdir()) if path.is_dir() else path.stat().st_size == 0


def _is_torn(path: Path) -> bool:
    """Tell a crate of ours without its metadata: Snakemake deletes what a rule declares."""
    if not path.is_dir() or (path / METADATA).exists() or not Stamp(path).digests:
        return False
    return {entry.name for entry in path.iterdir()} <= _PARTS


def _is_ours(path: Path) -> bool:
    """Tell a run crate by the identifiers of its tools."""
    try:
        with crate_files(path).metadata() as stream:
            before = b""
            while block := stream.read(_CHUNK):
                if _MARK in before + block:
                    return True
                before = block[-len(_MARK) :]
    except InputError:
        return False
    return False
