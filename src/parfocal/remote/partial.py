"""A download on its way into a file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from parfocal.errors import VerificationError
from parfocal.remote.kept import DRAFT, Kept

__all__ = ["Download", "Expected", "Partial"]

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
_BLOCK = 1 << 20
_LONGEST_NAME = 60  # what file systems take, in letters of up to four bytes
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # what stores tell that know no modification time


@dataclass(frozen=True)
class Download:
    """What was downloaded.

    Attributes
    ----------
    size_bytes : int
        Its size.
    etag : str or None
        The ETag, if the server gave one.
    digests : mapping of str to str
        The hex digits of its digests by the names of their algorithms.
    """

    size_bytes: int
    etag: str | None
    digests: Mapping[str, str]

    @property
    def digest(self) -> str:
        """``sha256:<hex>``, where that was taken."""
        return f"sha256:{self.digests['sha256']}"


@dataclass(frozen=True)
class Expected:
    """What was told of a file before it was downloaded.

    Attributes
    ----------
    size_bytes : int, optional
        Its size.
    md5, sha256 : str, optional
        Hex digits of its digests, in small letters.
    """

    size_bytes: int | None = None
    md5: str | None = None
    sha256: str | None = None

    @property
    def algorithms(self) -> list[str]:
        """Which digests have to be taken."""
        return ["sha256", "md5"] if self.md5 else ["sha256"]

    def check(self, file: Download, where: str) -> None:
        """Compare a file with what was told of it.

        Raises
        ------
        VerificationError
            If it differs.
        """
        told = {"bytes": self.size_bytes, "md5": self.md5, "sha256": self.sha256}
        found = {"bytes": file.size_bytes, **file.digests}
        for kind, value in told.items():
            if value is not None and value != found[kind]:
                what = "The downloaded file is not the one that was announced"
                remedy = "Try again; if it stays, list the source anew, or ask its owner."
                raise VerificationError(
                    what,
                    where=where,
                    expected=f"{kind} {value}",
                    found=found[kind],
                    remedy=remedy,
                )


class Partial:
    """What has come of a file so far, and how to tell whether the server still has the same.

    Parameters
    ----------
    path : path-like
        Where to; the file gets this name when it is whole.
    algorithms : sequence of str
        Which digests to take of it, by their names in hashlib.
    kept : Kept, optional
        The note of a folder with this file alone: what has come is gone on with later.
    """

    def __init__(
        self, path: str | os.PathLike[str], algorithms: Sequence[str], kept: Kept | None = None
    ) -> None:
        # As text, since a Path costs more than all else for a small chunk.
        self._path = os.fspath(path)
        folder, _, name = self._path.rpartition("/")
        self._draft = f"{folder}/{name[:_LONGEST_NAME]}{DRAFT}" if folder else f"{name}{DRAFT}"
        self._kept = kept
        self.size: int | None = None
        self.etag: str | None = None
        self.modified: datetime | None = None
        self._algorithms = algorithms
        self._descriptor = -1
        self._clear()
        if kept:
            self._take_up(kept)

    def _take_up(self, kept: Kept) -> None:
        """Go on with what an interrupted download left, or remove it."""
        facts = kept.facts()
        if "size" not in facts or not Path(self._draft).is_file():
            kept.clear()
            return
        self.size, self.etag = facts["size"], facts["etag"]
        modified = facts["modified"]
        self.modified = datetime.fromisoformat(modified) if modified else None
        with Path(self._draft).open("rb") as stream:
            while block := stream.read(_BLOCK):
                self._digest(block)
        self._descriptor = os.open(self._draft, _FLAGS | os.O_APPEND, 0o666)

    def is_whole(self) -> bool:
        """Return whether nothing more has to come."""
        return self.size is not None and self.received == self.size > 0

    def announce(self, size: int, etag: str | None, modified: datetime | None) -> None:
        """Take down what the server says of the file."""
        self.size, self.etag = size, etag
        self.modified = modified if modified != _EPOCH else None
        if self._kept:
            told = self.modified.isoformat() if self.modified else None
            self._kept.note({"size": size, "etag": etag, "modified": told})

    def _clear(self) -> None:
        self.received = 0
        self._digests = {name: hashlib.new(name) for name in self._algorithms}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def add(self, block: Any) -> None:
        """Append bytes.

        Raises
        ------
        OSError
            If the disk does not take them.
        """
        if self._descriptor < 0:
            self._descriptor = os.open(self._draft, _FLAGS | os.O_TRUNC, 0o666)
        view = memoryview(block)
        self._digest(view)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def _digest(self, block: Any) -> None:
        for digest in self._digests.values():
            digest.update(block)
        self.received += len(block)

    def restart(self) -> None:
        """Forget what has come."""
        if self._descriptor >= 0:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.ftruncate(self._descriptor, 0)
        self.size = None
        self._clear()

    def options(self) -> dict[str, Any]:
        """Return how to ask for the rest, provided that the file is the same; else for all."""
        strong = self.etag and not self.etag.startswith("W/")
        if self.received and (strong or self.modified):
            same = {"if_match": self.etag} if strong else {"if_unmodified_since": self.modified}
            return {"range": {"offset": self.received}, **same}
        self.restart()
        return {}

    def done(self) -> Download:
        """Give the file its name, and return what came; an empty file is there too."""
        if not self.received:
            self.add(b"")
        os.replace(self._draft, self._path)  # noqa: PTH105
        digests = {name: digest.hexdigest() for name, digest in self._digests.items()}
        return Download(self.received, self.etag, digests)
