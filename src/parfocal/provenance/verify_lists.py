"""Lists of the digests of the files of folders, which tell later which file was changed.

A list is what ``sha256sum`` prints, and its own sha256 is the digest of the folder. So it needs
no trust: one that was changed is not taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from parfocal.errors import StorageError
from parfocal.provenance.read_crate_files import CrateFiles

__all__ = ["LISTS", "DigestLists", "list_name"]

LISTS = "digests/"
"""Where in a results folder, and in a crate, the lists lie."""
_MOST = 20
_LARGEST = 1 << 30


class DigestLists:
    """The lists in a folder, by the digests of what they are of.

    Parameters
    ----------
    folder : Path or None
        None to keep none.
    known : Path, optional
        Another folder, whose lists are read, and where none is written.
    carried : CrateFiles, optional
        A crate that may have lists.
    """

    def __init__(
        self, folder: Path | None, known: Path | None = None, carried: CrateFiles | None = None
    ) -> None:
        self._folder = folder
        self._known = known
        self._carried = carried

    def keep(self, digest: str, lines: bytes) -> None:
        """Write a list, unless it is there.

        Raises
        ------
        StorageError
            If the folder does not take it.
        """
        path = _path(self._folder, digest)
        if path is None or _read(path, digest) is not None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(lines)
        except OSError as error:
            what = "A list of digests cannot be written"
            raise StorageError(what, where=path, found=error) from error

    def differences(self, digest: str, found: Mapping[str, str]) -> tuple[str, ...]:
        """Name the files that are not those of the folder that had `digest`.

        Parameters
        ----------
        digest : str
            What the folder had.
        found : mapping of str to str
            The sha256 of each file by its path, as it is now.

        Returns
        -------
        tuple of str
            Empty where there is no list.
        """
        lines = next(filter(None, self._found(digest)), None)
        if lines is None:
            return ()
        pairs = (line.partition("  ") for line in lines.split("\n") if line)
        known = {name: hexadecimal for hexadecimal, _, name in pairs}
        told = [
            f"{name} is {_what(name in known, name in found)}"
            for name in sorted(known.keys() | found.keys())
            if known.get(name) != found.get(name)
        ]
        more = [f"and {len(told) - _MOST} more files"] if len(told) > _MOST else []
        return (*told[:_MOST], *more)

    def _found(self, digest: str) -> Iterator[str | None]:
        """Yield what there is as a list."""
        for path in (_path(folder, digest) for folder in (self._folder, self._known)):
            yield None if path is None else _read(path, digest)
        name, whole = LISTS + list_name(digest), f"sha256:{digest.partition(':')[2]}"
        if self._carried is not None and self._carried.digest(name) == whole:
            yield self._carried.content(name, _LARGEST).decode("utf-8", "surrogateescape")


def list_name(digest: str) -> str:
    """Return the name of the list of what has a digest."""
    kind, _, hexadecimal = digest.partition(":")
    return f"{kind}-{hexadecimal}.txt"


def _path(folder: Path | None, digest: str) -> Path | None:
    return None if folder is None else folder / list_name(digest)


def _read(path: Path, digest: str) -> str | None:
    """Return a list, if it is there and is what it was."""
    if not path.is_file():
        return None
    content = path.read_bytes()
    whole = hashlib.sha256(content).hexdigest() == digest.partition(":")[2]
    return content.decode("utf-8", "surrogateescape") if whole else None


def _what(expected: bool, there: bool) -> str:
    if not expected:
        return "new"
    return "changed" if there else "missing"
