"""What a query can name on an OMERO server, and how each is looked at, fetched and stored."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol

from parfocal.errors import ConfigurationError
from snakemake_storage_plugin_omero.queries import Query

if TYPE_CHECKING:
    from parfocal.omero.attachments import Attachment
    from parfocal.omero.connection import Connection

__all__ = ["NAMESPACE", "Part", "State", "part_of"]

NAMESPACE = "parfocal.readthedocs.io/storage"
"""Of the annotations that hold attached files: others of the same name are left alone."""


@dataclass(frozen=True)
class State:
    """What Snakemake wants to know.

    Attributes
    ----------
    updated_s : float
        When it was last changed, by the clock of the server, in seconds since 1970.
    size_bytes : int
        Size of a file; 0 of a folder.
    footprint_bytes : int
        What it takes locally at most.
    checksum : str or None
        ``algorithm:hex`` of a file.
    """

    updated_s: float
    size_bytes: int
    footprint_bytes: int
    checksum: str | None = None


class Part(Protocol):
    """One thing on a server."""

    def state(self) -> State | None:
        """Return what there is to know, None where there is nothing."""

    def retrieve(self, path: Path) -> None:
        """Fetch it to `path`, whole or not at all."""

    def store(self, path: Path) -> None:
        """Put what lies at `path` in its place."""

    def remove(self) -> None:
        """Remove it."""


def part_of(query: Query) -> Part:
    """Return the part that a query names; its server is connected to when it is asked."""
    return AttachedFile(query) if query.form == "attachment" else FetchedImage(query)


class FetchedImage:
    """An image, as OME-Zarr or as the files that it was imported from; read only."""

    def __init__(self, query: Query) -> None:
        self._query = query

    def state(self) -> State | None:
        """Return when the image or its pixels were changed, and the size of its pixels."""
        from parfocal.omero.states import object_state, original_bytes

        connection, target = _connection(self._query), self._query.target
        state = object_state(connection, target)
        if state is None:
            return None
        size = state.pixel_bytes
        if self._query.form == "original":
            size = original_bytes(connection, target.id) or size
        return State(state.updated_s, 0, size)

    def retrieve(self, path: Path) -> None:
        """Run the steps that fetch and convert an image.

        Raises
        ------
        ParfocalError
            As these steps do.
        """
        with TemporaryDirectory(prefix=".fetched-", dir=path.parent) as scratch:
            made = self._fetch(Path(scratch))
            if path.is_dir():  # an older copy
                shutil.rmtree(path)
            made.rename(path)

    def _fetch(self, scratch: Path) -> Path:
        from parfocal.engine import run_step
        from parfocal.models.manifest import primary_path
        from parfocal.steps import convert_image, fetch_image

        originals, image = scratch / "original", scratch / "image.ome.zarr"
        source = {"source": self._query.target.uri}
        if self._query.form == "original":
            source["pixels"] = "original"
        threads = len(os.sched_getaffinity(0))
        run_step(fetch_image.STEP, {}, {"original": originals}, source, threads=threads)
        if self._query.form == "original":
            return originals
        if (primary := primary_path(originals)).is_dir():
            return primary
        outputs = {"image": image, "certificate": scratch / "certificate.json"}
        run_step(convert_image.STEP, {"source": originals}, outputs, threads=threads)
        return image

    def store(self, path: Path) -> None:
        """Refuse.

        Raises
        ------
        ConfigurationError
            Always.
        """
        what = "An image on an OMERO server is an input only"
        remedy = "Name an attachment of it as output: .../image/ID/attachment/NAME"
        raise ConfigurationError(what, where=path, remedy=remedy)

    def remove(self) -> None:
        """Refuse.

        Raises
        ------
        ConfigurationError
            Always.
        """
        what = "An image is never removed from an OMERO server"
        raise ConfigurationError(what, where=self._query.target.uri)


class AttachedFile:
    """A file attached to an object, in the namespace of this plugin."""

    def __init__(self, query: Query) -> None:
        self._query = query

    def state(self) -> State | None:
        """Return when the file was attached, its size and checksum."""
        found = self._find()
        if found is None:
            return None
        checksum = f"sha1:{found.sha1}" if found.sha1 else None
        return State(found.updated_s, found.size_bytes, found.size_bytes, checksum)

    def retrieve(self, path: Path) -> None:
        """Download the file and compare its checksum.

        Raises
        ------
        FileNotFoundError
            If there is none of that name.
        ParfocalError
            As `parfocal.omero.attachments.download` does.
        """
        from parfocal.omero.attachments import download

        found = self._find()
        if found is None:
            raise FileNotFoundError(self._query.local_path)
        with TemporaryDirectory(prefix=".fetched-", dir=path.parent) as scratch:
            download(_connection(self._query), found, Path(scratch) / "file")
            (Path(scratch) / "file").rename(path)

    def store(self, path: Path) -> None:
        """Attach the file, in place of the one of that name.

        Raises
        ------
        ConfigurationError
            If it is a folder.
        ParfocalError
            As `parfocal.omero.attachments.attach` does.
        """
        from parfocal.omero.attachments import attach

        if path.is_dir():
            what = "A folder cannot be attached to an object on an OMERO server"
            raise ConfigurationError(what, where=path, remedy="Pack it into one file.")
        query = self._query
        attach(_connection(query), query.target, path, query.name, NAMESPACE)

    def remove(self) -> None:
        """Remove the files of that name; others of the object stay."""
        from parfocal.omero.attachments import remove

        remove(_connection(self._query), self._query.target, self._query.name, NAMESPACE)

    def _find(self) -> Attachment | None:
        from parfocal.omero.attachments import attachments

        query = self._query
        found = attachments(_connection(query), query.target, NAMESPACE, query.name)
        return found[0] if found else None


def _connection(query: Query) -> Connection:
    from parfocal.omero.connection import connect

    return connect(query.target.server)
