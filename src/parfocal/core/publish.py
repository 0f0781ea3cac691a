"""Whole-or-absent results: written aside under a name of their own, published by rename."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

__all__ = ["Stamp", "partial_path", "publish", "remove_partials", "remove_tree", "write_json"]


def partial_path(final: Path, token: str) -> Path:
    """Return where the writer called `token` prepares what will be published at `final`.

    It is a name of its own in a hidden folder beside `final`, on the same file system, and it
    ends in the name of `final`, since writers go by suffixes.
    """
    return final.parent / f".{final.name}.{token}.partial" / final.name


def publish(partial: Path, final: Path) -> None:
    """Move `partial` to `final`, in place of what may lie there.

    A file is replaced at once; for a folder there is a moment at which `final` is absent,
    and none at which it is half there.
    """
    if final.is_dir():
        old = partial.with_name(f"{final.name}.old")
        final.rename(old)
        partial.rename(final)
        remove_tree(old)
    else:
        partial.replace(final)
    remove_tree(partial.parent)


def remove_partials(final: Path) -> None:
    """Remove what dead writers of `final` left beside it. The caller holds its lease."""
    if final.parent.is_dir():
        prefix, suffix = f".{final.name}.", ".partial"
        for entry in list(final.parent.iterdir()):
            if entry.name.startswith(prefix) and entry.name.endswith(suffix):
                remove_tree(entry)


def remove_tree(path: Path) -> None:
    """Remove a file or a folder with all in it; nothing where there is nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write `value` as JSON with sorted keys to `path`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, indent=1)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class Stamp:
    """The note beside a published result that says what it was made from.

    A result is reused when its stamp has the key of the work to be done.

    Parameters
    ----------
    final : Path
        The first output of the step.
    """

    def __init__(self, final: Path) -> None:
        self.path = final.with_name(f".{final.name}.stamp.json")

    def read(self) -> dict[str, Any]:
        """Return what `write` wrote, or ``{}`` where there is no stamp."""
        try:
            stamp = json.loads(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return stamp if isinstance(stamp, dict) else {}

    def write(self, key: str, digest: str, digests: dict[str, str]) -> None:
        """Say that the result is whole.

        Parameters
        ----------
        key : str
            Digest of all that decided it.
        digest : str
            Digest of the output that the stamp stands beside.
        digests : dict of str to str
            Digests of all outputs of the step by role.
        """
        write_json(self.path, {"key": key, "digest": digest, "digests": digests})

    def remove(self) -> None:
        """Take the word back, before the result is replaced."""
        self.path.unlink(missing_ok=True)
