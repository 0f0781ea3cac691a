"""The managed repository: original files by the names that they were imported under."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import omero
import omero.grid

from .calls import Call
from .entities import Details, Entity
from .original_files import REPOSITORY, checksum
from .permissions import can_read
from .render import render, render_one
from .servants import Service
from .services.raw_file import RawFile

if TYPE_CHECKING:
    from .host import Server
    from .sessions import Session

__all__ = ["ManagedRepository", "repositories", "repository_root"]

_MIMETYPE = "Repository"


def repository_root(server: Server) -> Entity:
    """Return the original file that stands for the managed repository."""
    with server.store.lock:
        for file in server.store.all("OriginalFile"):
            if file["mimetype"] == _MIMETYPE:
                return file
        values = {
            "name": REPOSITORY,
            "path": f"{server.folder}/",
            "mimetype": _MIMETYPE,
            "hash": server.database_uuid,
            "size": 0,
        }
        owner = server.store.find_by("Experimenter", "omeName", "root")
        group = server.store.find_by("ExperimenterGroup", "name", "user")
        return server.store.add("OriginalFile", values, Details(owner=owner, group=group))


def repositories(server: Server, session: Session, call: Call) -> Any:
    """Return the repositories and their proxies, as shared resources give them."""
    found = omero.grid.RepositoryMap()
    with server.store.lock:
        found.descriptions = [render_one(call, repository_root(server))]
    proxy = server.add_service(ManagedRepository(server, session), "repository")
    found.proxies = [omero.grid.RepositoryPrx.uncheckedCast(proxy)]
    return found


class ManagedRepository(Service):
    """Implements what reads of `omero.grid.ManagedRepository`; nothing is imported through it."""

    interface = omero.grid.ManagedRepository

    def root(self) -> Any:
        """Return the original file of the repository itself."""
        return render_one(self.call, repository_root(self.server))

    def _place(self, path: str) -> Path:
        place = PurePosixPath("/", path).relative_to("/")
        if ".." in place.parts:
            text = f"May not make relative reference to parent directory: {path}"
            raise omero.ValidationException(None, "ome.conditions.ValidationException", text)
        return self.server.original_files.managed / place

    def _file_at(self, path: Path) -> Entity | None:
        files = self.server.original_files
        found = (file for file in self.store.all("OriginalFile") if file["repo"] is not None)
        return next(
            (file for file in found if files.path(file) == path and can_read(self.call, file)),
            None,
        )

    def list(self, path: str) -> list[str]:
        """Return the names in a folder."""
        place = self._place(path)
        inside = sorted(place.iterdir()) if place.is_dir() else []
        return [f"/{one.relative_to(self.server.original_files.managed)}" for one in inside]

    def listFiles(self, path: str) -> Any:
        """Return the original files in a folder."""
        place = self._place(path)
        found = [self._file_at(one) for one in sorted(place.iterdir())] if place.is_dir() else []
        return render(self.call, [file for file in found if file is not None])

    def fileExists(self, path: str) -> bool:
        """Tell whether there is a file of a name."""
        return self._place(path).exists()

    def file(self, path: str, mode: str) -> Any:
        """Open a file by its name."""
        found = self._file_at(self._place(path))
        if found is None:
            text = f"{path} not found"
            raise omero.grid.UnregisteredFileException(None, "UnregisteredFileException", text)
        return self.fileById(found.id or 0)

    def fileById(self, file_id: int) -> Any:
        """Open a file by its id."""
        store = RawFile(self.server, self.session)
        store.setFileId(file_id)
        proxy = self.server.add_service(store, "service")
        return omero.api.RawFileStorePrx.uncheckedCast(proxy)

    def listImports(self) -> Any:
        """Return the imports that are under way: none."""
        return []

    def listChecksumAlgorithms(self) -> Any:
        """Return the algorithms by which files are checked."""
        return render(self.call, self.store.all("ChecksumAlgorithm"))

    def suggestChecksumAlgorithm(self, supported: Any) -> Any:
        """Return the algorithm that is preferred of those that a client has."""
        names = {one.value.val for one in supported}
        for name in ("SHA1-160", "MD5-128", "File-Size-64"):
            if name in names:
                found = self.store.find_by("ChecksumAlgorithm", "value", name)
                return found and render_one(self.call, found)
        return None

    def verifyChecksums(self, ids: Any) -> Any:
        """Return the ids of the files whose bytes are no longer those of their hash."""
        wrong = []
        for number in ids:
            file = self.require("OriginalFile", number)
            hasher = file["hasher"]
            path = self.server.original_files.path(file)
            if checksum(path, hasher and hasher["value"]) != file["hash"]:
                wrong.append(number)
        return wrong
