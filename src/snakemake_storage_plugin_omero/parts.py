"""What Snakemake wants of each thing that a query can name."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol

from snakemake_storage_plugin_omero.queries import Query

if TYPE_CHECKING:
    from parfocal.omero.connection import Connection

__all__ = ["NAMESPACE", "Part", "State", "connection_to", "new_beside"]

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
        What the server tells: the size of a file or of the original files of an image, and of
        an image or a label image that of its pixels, not compressed.
    checksum : str or None
        ``algorithm:hex`` of a file.
    """

    updated_s: float
    size_bytes: int
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


@contextmanager
def new_beside(path: Path) -> Iterator[Path]:
    """Give a path to write to, what lies there in the end is moved to `path`."""
    with TemporaryDirectory(prefix=".fetched-", dir=path.parent) as scratch:
        new = Path(scratch) / path.name
        yield new
        if path.is_dir():  # an older copy
            shutil.rmtree(path)
        new.rename(path)


def connection_to(query: Query) -> Connection:
    """Return the connection of this process to the server of a query."""
    from parfocal.omero.connection import connect

    return connect(query.target.server)
