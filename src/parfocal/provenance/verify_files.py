"""Whether a file or folder still is what a crate says: digests, and which file of it changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from parfocal.core.digest import (
    ROOTS,
    digest_json,
    digest_path,
    file_digests,
    is_zarr,
    is_zarr_key,
    lines_of,
)
from parfocal.core.zipped_zarr import find_zipped_zarr
from parfocal.errors import InputError, StorageError
from parfocal.models.manifest import read_manifest
from parfocal.provenance.verify_lists import DigestLists

__all__ = ["Look", "Looker", "strange_file"]

Status = Literal["unchanged", "changed", "missing", "unreadable", "carried"]
"""What is said of a file or folder."""

_NO_ROOT = f"It is no Zarr any more: none of {', '.join(ROOTS)} lies in it"
_WORST_FIRST: tuple[Status, ...] = ("changed", "unreadable", "missing", "carried")
_SYSTEM = {"proc", "sys"}  # files there are no files, and may never end


@dataclass(frozen=True)
class Look:
    """What was found of a file or folder.

    Attributes
    ----------
    status : {"unchanged", "changed", "missing", "unreadable", "carried"}
        ``carried`` where originals are whole but for files of which the crate has copies.
    found : str or None
        Its digest, as far as it was taken.
    reasons : tuple of str
        What is different: names of files, sizes.
    """

    status: Status
    found: str | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Looker:
    """Compares files and folders with the digests that a crate has of them.

    Parameters
    ----------
    lists : DigestLists
        Lists of the digests of the files of folders, from an earlier verification.
    place_of : callable
        Returns where a path of a manifest lies, None where that is no file of this machine.
    threads : int
        How many files of a folder to read at once.
    carried : frozenset of str
        Digests of what the crate has copies of.
    """

    lists: DigestLists
    place_of: Callable[[str], Path | None]
    threads: int = 1
    carried: frozenset[str] = frozenset()

    def look(self, path: Path, expected: str, size_bytes: int | None) -> Look:
        """Compare what lies at `path` with a digest; nothing is raised of what lies there.

        Raises
        ------
        StorageError
            If a list of digests cannot be written.
        """
        try:
            if not path.exists():
                return Look("missing")
            if strange := strange_file(path):
                return Look("unreadable", None, (strange,))
            return self._compare(path, expected, size_bytes)
        except StorageError:
            raise
        except (OSError, InputError, RuntimeError, ValueError) as error:
            return Look("unreadable", None, (" ".join(str(error).split()),))

    def _compare(self, path: Path, expected: str, size_bytes: int | None) -> Look:
        kind = expected.partition(":")[0]
        if kind == "sha256" and path.is_file() and size_bytes not in (None, path.stat().st_size):
            sizes = f"{size_bytes} bytes expected, {path.stat().st_size} found"
            return Look("changed", None, (sizes,))
        if kind == "manifest-sha256" and path.is_dir():
            return self._compare_originals(path, expected)
        if path.is_dir() and (is_zarr(path) or kind in ("tree-sha256", "zarr-merkle-sha256")):
            return self._compare_folder(path, expected)
        packed = find_zipped_zarr(path) if kind == "zarr-merkle-sha256" else None
        found = packed.digest() if packed else digest_path(path, self.threads)
        return Look("unchanged" if found == expected else "changed", found)

    def _compare_folder(self, path: Path, expected: str) -> Look:
        digests = file_digests(path, self.threads)
        lines = lines_of(digests)
        kind = "zarr-merkle-sha256" if is_zarr(path) else "tree-sha256"
        found = f"{kind}:{hashlib.sha256(lines).hexdigest()}"
        if found == expected:
            self.lists.keep(expected, lines)
            return Look("unchanged", found)
        if is_zarr(path) or expected.startswith("tree-"):
            return Look("changed", found, self.lists.differences(expected, digests))
        keys = {name: digest for name, digest in digests.items() if is_zarr_key(name)}
        return Look("changed", found, (_NO_ROOT, *self.lists.differences(expected, keys)))

    def _compare_originals(self, folder: Path, expected: str) -> Look:
        """Compare each file that the manifest lists: the crate has the digest of the list."""
        listed = digest_path(folder)
        if listed != expected:
            return Look("changed", listed, ("manifest.json lists other files, or is gone",))
        reasons, found, states = [], [], set()
        for file in read_manifest(folder).files:
            place = self._original(folder, file.path)
            look = Look("missing") if place is None else self.look(place, file.digest, None)
            if look.status == "missing" and file.digest in self.carried:
                look = Look("carried")
            found.append((PurePosixPath(file.path).name, look.found))
            states.add(look.status)
            if look.status != "unchanged":
                reasons.append(": ".join((f"{file.path} is {look.status}", *look.reasons)))
        status: Status = next((one for one in _WORST_FIRST if one in states), "unchanged")
        whole = status in ("unchanged", "carried")
        digest = expected if whole else f"manifest-sha256:{digest_json(sorted(found, key=str))}"
        return Look(status, digest, tuple(reasons))

    def _original(self, folder: Path, name: str) -> Path | None:
        path = PurePosixPath(name)
        if path.is_absolute():
            return self.place_of(name)
        return None if ".." in path.parts else folder / path


def strange_file(path: Path) -> str | None:
    """Tell what may not be read: neither files nor folders, or the kernel's own."""
    real = path.resolve()
    if real.parts[1:2] and real.parts[1] in _SYSTEM:
        return "It is a file of the system, and not read"
    return None if real.is_file() or real.is_dir() else "It is neither a file nor a folder"
