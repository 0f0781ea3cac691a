"""Whole-or-absent results: written aside under a name of their own, published by rename."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from parfocal.core.digest import fingerprint

__all__ = [
    "Stamp",
    "adopt_partial",
    "partial_path",
    "publish",
    "remove_partials",
    "remove_tree",
    "write_json",
]

logger = logging.getLogger(__name__)


def partial_path(final: Path, token: str, key: str | None = None) -> Path:
    """Return where the writer called `token` prepares what will be published at `final`.

    It is a name of its own in a hidden folder beside `final`, on the same file system, and it
    ends in the name of `final`, since writers go by suffixes. With `key`, which stands for all
    that decides the result, a later writer of the same can find it and go on with it.
    """
    known = f"{_short(key)}.{token}" if key else token
    return final.parent / f".{final.name}.{known}.partial" / final.name


def adopt_partial(final: Path, token: str, key: str) -> bool:
    """Take over the folder that a dead writer of the same left, and remove all other partials.

    Its folder gets the name of the new writer, so that the old one, should it live on, no longer
    finds it. The caller holds the lease of `final`.

    Returns
    -------
    bool
        Whether there was one.
    """
    mine = partial_path(final, token, key)
    for entry in _partials(final):
        named = entry.name.startswith(f".{final.name}.{_short(key)}.")
        if named and (entry / final.name).is_dir() and not mine.parent.exists():
            entry.rename(mine.parent)
            for other in list(mine.parent.iterdir()):
                if other != mine:  # scratch, or what was about to be replaced
                    remove_tree(other)
        else:
            _remove_or_warn(entry)
    return mine.exists()


def _short(key: str) -> str:
    return key[:12]


def publish(partial: Path, final: Path) -> None:
    """Move `partial` to `final`, in place of what may lie there.

    A file is replaced at once; for a folder there is a moment at which `final` is absent,
    and none at which it is half there.
    """
    if final.is_dir() or (partial.is_dir() and (final.exists() or final.is_symlink())):
        final.rename(partial.with_name(f"{final.name}.old"))
    partial.replace(final)
    remove_tree(partial.parent)


def remove_partials(final: Path) -> None:
    """Remove what dead writers of `final` left beside it. The caller holds its lease."""
    for entry in _partials(final):
        _remove_or_warn(entry)


def _partials(final: Path) -> list[Path]:
    if not final.parent.is_dir():
        return []
    prefix, suffix = f".{final.name}.", ".partial"
    entries = sorted(final.parent.iterdir())
    return [e for e in entries if e.name.startswith(prefix) and e.name.endswith(suffix)]


def _remove_or_warn(entry: Path) -> None:
    # A writer that was thought dead may still be adding files; it cannot publish them.
    try:
        remove_tree(entry)
    except OSError as error:
        logger.warning("A partial output could not be removed: %s", error)


def remove_tree(path: Path) -> None:
    """Remove a file or a folder with all in it; nothing where there is nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write `value` as JSON with sorted keys to `path`, whole or not at all."""
    if not path.name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, indent=1)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class Stamp:
    """The note beside a published result that says what it was made from.

    A result is reused when its stamp has the key of the work to be done. The stamp also keeps
    what the files looked like, so that a result that was changed since is not taken for it.

    Parameters
    ----------
    final : Path
        The first output of the step.
    """

    def __init__(self, final: Path) -> None:
        self._final = final
        self.path = final.with_name(f".{final.name}.stamp.json")
        self._content = self._read()

    @property
    def key(self) -> str | None:
        """Digest of all that decided the result, None where there is no stamp."""
        return self._content.get("key")

    @property
    def digests(self) -> dict[str, str]:
        """Digests of all outputs of the step by role; empty where there is no stamp."""
        return dict(self._content.get("digests", {}))

    def vouches_for(self, role: str, path: Path) -> bool:
        """Return whether the output `role` at `path` looks as it did when it was published."""
        seen: str | None = self._content.get("fingerprints", {}).get(role)
        return seen is not None and seen == fingerprint(path)

    def digest(self) -> str | None:
        """Return the digest of the first output, None where it is not known to hold."""
        role = self._content.get("primary")
        if role is None or not self._final.exists() or not self.vouches_for(role, self._final):
            return None
        return self.digests.get(role)

    def write(self, key: str, digests: Mapping[str, str], outputs: Mapping[str, Path]) -> None:
        """Say that the result is whole.

        Parameters
        ----------
        key : str
            Digest of all that decided it.
        digests : mapping of str to str
            Digests of all outputs of the step by role, the first output first.
        outputs : mapping of str to Path
            Where they lie, in the same order.
        """
        self._content = {
            "key": key,
            "primary": next(iter(outputs)),
            "digests": dict(digests),
            "fingerprints": {role: fingerprint(path) for role, path in outputs.items()},
        }
        write_json(self.path, self._content)

    def remove(self) -> None:
        """Take the word back, before the result is replaced."""
        self._content = {}
        self.path.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        try:
            stamp = json.loads(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
            return {}
        return stamp if isinstance(stamp, dict) else {}
