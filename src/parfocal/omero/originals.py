"""The files that an image on an OMERO server was imported from."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from parfocal.omero.connection import Connection
from parfocal.omero.files import download_file
from parfocal.omero.queries import find_all

__all__ = ["OriginalFile", "download_originals", "list_originals"]

_FILES = (
    "select e from FilesetEntry e join fetch e.originalFile f left outer join fetch f.hasher "
    "where e.fileset.id in (:ids) order by e.id"
)
_SHA1 = "SHA1-160"


@dataclass(frozen=True)
class OriginalFile:
    """A file that the server keeps.

    Attributes
    ----------
    id : int
        Its number.
    path : str
        Where it lies below the folder that all files of its import share.
    size_bytes : int
        Its size.
    sha1 : str or None
        Its checksum in hex digits; None where the server has none, or one of another kind.
    """

    id: int
    path: str
    size_bytes: int
    sha1: str | None = None


def list_originals(connection: Connection, fileset_id: int) -> list[OriginalFile]:
    """Return the files of an import; the first is the one that was named to the importer.

    Raises
    ------
    RemoteError, InputError
        If the server fails or refuses.
    """
    entries = connection.call(partial(find_all, query=_FILES, ids=[fileset_id]))
    paths = [_path_of(entry.originalFile) for entry in entries]
    shared = posixpath.commonpath([posixpath.dirname(path) for path in paths]) if paths else ""
    return [
        _original(entry.originalFile, path.removeprefix(shared).lstrip("/"))
        for entry, path in zip(entries, paths, strict=True)
    ]


def _original(file: Any, path: str) -> OriginalFile:
    comparable = file.hash is not None and file.hasher is not None
    sha1 = file.hash.val if comparable and file.hasher.value.val == _SHA1 else None
    return OriginalFile(file.id.val, path, 0 if file.size is None else file.size.val, sha1)


def _path_of(file: Any) -> str:
    folder = "" if file.path is None else file.path.val
    path = PurePosixPath("/", folder, file.name.val)
    # A name on the server must lead nowhere else on this machine.
    return "/".join(part for part in path.parts[1:] if part not in (".", ".."))


def download_originals(
    connection: Connection,
    files: list[OriginalFile],
    folder: Path,
    progress: Callable[[int, int], None],
) -> list[Path]:
    """Download files into `folder`, below which they lie as on the server.

    What an interrupted download left there is gone on with.

    Parameters
    ----------
    connection : Connection
        To the server.
    files : list of OriginalFile
        What `list_originals` found.
    folder : Path
        Where they go.
    progress : callable
        Called as ``progress(done, total)`` with bytes.

    Returns
    -------
    list of Path
        Where they are now, in the order of `files`.

    Raises
    ------
    RemoteError
        If the server fails, or a file is not of the size or checksum that it says.
    InputError
        If the user may not download.
    """
    total = sum(file.size_bytes for file in files)
    done = 0
    paths = []
    for file in files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)

        def tell(come: int, before: int = done) -> None:
            progress(before + come, total)

        download_file(
            connection,
            file.id,
            path,
            size_bytes=file.size_bytes,
            sha1=file.sha1,
            progress=tell,
            resume=True,
        )
        done += file.size_bytes
        paths.append(path)
    return paths
