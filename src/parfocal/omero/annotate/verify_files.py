"""Compare files that are attached on a server with those of the results, byte by byte."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from parfocal.models.annotation_entries import FileAttachment
from parfocal.omero.annotate.attached import pack_folder, sha1_of
from parfocal.omero.annotate.materials import Materials
from parfocal.omero.connection import Connection
from parfocal.omero.files import first_difference
from parfocal.omero.queries import project

__all__ = ["FileCheck"]

_FILES = (
    "select f.id, f.name, f.size, f.hash from FileAnnotation a join a.file f where a.id in (:ids)"
)


class FileCheck:
    """Compares attached files; one that several targets share comes once.

    Parameters
    ----------
    connection : Connection
        To the server.
    materials : Materials
        The results.
    scratch : Path
        A folder for what is packed.
    """

    def __init__(self, connection: Connection, materials: Materials, scratch: Path) -> None:
        self._connection = connection
        self._materials = materials
        self._scratch = scratch
        self._known: dict[tuple[int, str], str | None] = {}

    def difference(self, entry: FileAttachment, ids: Sequence[int]) -> str | None:
        """Return how what is attached differs from an entry; None where it does not.

        Parameters
        ----------
        entry : FileAttachment
            What the plan says.
        ids : sequence of int
            The annotation that was made for it.

        Raises
        ------
        InputError
            If the file of the results is missing, or may not be read on the server.
        StorageError
            If there is no room to pack a folder.
        RemoteError
            If the server fails.
        """
        rows = self._connection.call(partial(project, query=_FILES, ids=ids))
        if not rows:
            return "it is gone from the server"
        number, *told = rows[0]
        key = (int(number), entry.content)
        if key not in self._known:
            self._known[key] = self._compare(entry, int(number), tuple(told))
        return self._known[key]

    def _compare(self, entry: FileAttachment, number: int, found: tuple[object, ...]) -> str | None:
        path = self._materials.path(entry.file)
        packed = self._scratch / f"{entry.content}.zip"
        if entry.packed and path.is_dir():
            pack_folder(path, packed)
            path = packed
        try:
            size = path.stat().st_size
            expected = (entry.name, size, sha1_of(path))
            if found != expected:
                return f"it is {found} on the server, and {expected} here"
            at = first_difference(self._connection, number, path, size)
        finally:
            packed.unlink(missing_ok=True)
        if at is None:
            return None
        return f"its bytes on the server differ from those here, from byte {at} on"
