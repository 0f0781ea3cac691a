"""RawFileStore: the bytes of one original file at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import omero
from omero.rtypes import rlong
from tests.omero.server.entities import Entity
from tests.omero.server.original_files import check_unrestricted, checksum
from tests.omero.server.permissions import Right, can_read, rights
from tests.omero.server.render import render_one
from tests.omero.server.servants import Service

__all__ = ["RawFile"]


class RawFile(Service):
    """Implements `omero.api.RawFileStore`."""

    interface = omero.api.RawFileStore
    exclusive = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._file: Entity | None = None
        self._writable = self._modified = False

    @property
    def file(self) -> Entity:
        """The file that was chosen."""
        if self._file is None:
            raise omero.ApiUsageException(
                None,
                "ome.conditions.ApiUsageException",
                "This RawFileStore has not been properly initialized.\n"
                "Please set the file id before executing any other methods.\n",
            )
        return self._file

    @property
    def path(self) -> Path:
        """Where its bytes are."""
        return self.server.original_files.path(self.file)

    def setFileId(self, file_id: int) -> None:
        """Choose the file; it can be written where the user may edit it."""
        if self._file is not None and self._file.id == file_id:
            return
        with self.store.lock:
            file = self.store.get("OriginalFile", file_id)
            if file is None or not can_read(self.call, file):
                raise omero.ValidationException(
                    None,
                    "ome.conditions.ValidationException",
                    f"No row with the given identifier exists: [OriginalFile#{file_id}]",
                )
            self._writable = Right.EDIT in rights(self.call, file)
        self._file, self._modified = file, False

    def getFileId(self) -> Any:
        """Return the id of the file, None before one is chosen."""
        return None if self._file is None else rlong(self._file.id)

    def exists(self) -> bool:
        """Tell whether there are bytes."""
        return self.path.is_file()

    def size(self) -> int:
        """Return how many bytes there are."""
        return self.path.stat().st_size if self.exists() else 0

    def read(self, position: int, length: int) -> bytes:
        """Return so many bytes, zeros behind the end of the file."""
        with self.store.lock:
            check_unrestricted(self.call, self.file, self.store.policy)
        if not self.exists():
            text = f"{self.path} (No such file or directory)"
            raise omero.ResourceError(None, "ome.conditions.ResourceError", text)
        with self.path.open("rb") as file:
            file.seek(position)
            return file.read(length).ljust(length, b"\0")

    def write(self, data: bytes, position: int, length: int) -> None:
        """Set bytes, growing the file where needed."""
        self._check_writable()
        self.server.faults.disk.demand(length)
        path = self.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        with path.open("r+b") as file:
            file.seek(position)
            file.write(bytes(data)[:length])
        self._modified = True

    def truncate(self, length: int) -> bool:
        """Cut the file off; tell whether it was longer."""
        self._check_writable()
        if length >= self.size():
            return False
        with self.path.open("r+b") as file:
            file.truncate(length)
        self._modified = True
        return True

    def _check_writable(self) -> None:
        if self.file is not None and not self._writable:
            raise omero.SecurityViolation(
                None, "ome.conditions.SecurityViolation", "File not writeable!"
            )

    def save(self) -> Any:
        """Note size and digest of what was written; return the file, None if nothing was."""
        if self._file is None or not (self._modified or self._grew()):
            return None
        path = self.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        hasher = self.file["hasher"]
        digest = checksum(path, hasher and hasher["value"])
        with self.store.lock, self.store.transaction():
            if digest is not None:
                self.store.set(self.file, "hash", digest)
            self.store.set(self.file, "size", path.stat().st_size)
            self.store.set(self.file, "mtime", path.stat().st_mtime_ns // 1_000_000)
            self._modified = False
            return render_one(self.call, self.file, "hasher")

    def _grew(self) -> bool:
        return self._writable and (self.size() == 0 or self.size() != self.file["size"])

    def close(self) -> None:
        """Save what was written and let go of the file."""
        try:
            self.save()
        finally:
            self._file = None
            super().close()
