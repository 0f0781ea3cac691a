"""Reading from a web server: bounded retries, resumed downloads, errors that say what happened.

Only the address, the status and the kind of fault go into errors: a server may redirect to an
address that holds a secret.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import obstore
from obstore import exceptions as faults
from obstore.store import HTTPStore

from parfocal.errors import RemoteError

__all__ = ["Download", "Retry", "Site"]

logger = logging.getLogger(__name__)

_BLOCK = 1 << 20
_READ_TIMEOUT = timedelta(seconds=60)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ABSENT_KEY = "parfocal-asks-for-a-key-that-is-not-there"
_RETRIED = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Retry:
    """How often a request is tried, and how long to wait in between.

    The wait doubles from `first_wait_s` to `longest_wait_s`, of which a random part of up
    to a half is left out, so that many jobs do not come back at the same moment.
    """

    attempts: int = 6
    first_wait_s: float = 0.5
    longest_wait_s: float = 20.0

    def wait_s(self, attempt: int) -> float:
        """Return how long to wait after the `attempt` that failed, counted from 1."""
        longest = min(self.longest_wait_s, self.first_wait_s * 2.0 ** (attempt - 1))
        return longest * random.uniform(0.5, 1.0)


@dataclass(frozen=True)
class Download:
    """What was downloaded: its size, ``sha256:<hex>``, and the ETag if the server gave one."""

    size_bytes: int
    digest: str
    etag: str | None


@dataclass
class _Partial:
    """What has come of a file so far, and how to tell whether the server still has the same."""

    path: Path
    received: int = 0
    size: int | None = None
    etag: str | None = None
    modified: datetime | None = None
    digest: Any = field(default_factory=hashlib.sha256)

    def __enter__(self) -> Self:
        self._stream = self.path.open("wb", buffering=0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()

    def add(self, block: bytes) -> None:
        view = memoryview(block)
        self.digest.update(view)
        self.received += len(view)
        while view:
            view = view[self._stream.write(view) :]

    def restart(self) -> None:
        self._stream.seek(0)
        self._stream.truncate()
        self.received, self.size, self.digest = 0, None, hashlib.sha256()

    def options(self) -> dict[str, Any]:
        """Return how to ask for the rest, provided that the file is the same; else for all."""
        strong = self.etag and not self.etag.startswith("W/")
        if self.received and (strong or self.modified):
            same = {"if_match": self.etag} if strong else {"if_unmodified_since": self.modified}
            return {"range": {"offset": self.received}, **same}
        self.restart()
        return {}


class RefusedError(RemoteError):
    """A server refused a request, and will again."""

    def __init__(self, what: str, status: int, **details: Any) -> None:
        super().__init__(what, **details)
        self.status = status


class _WrongSizeError(faults.BaseError):
    """The server sent more or less than it had announced."""


@dataclass(frozen=True)
class _Fault:
    reason: str
    status: int | None = None
    retried: bool = True
    restart: bool = False


class Site:
    """A URL and what lies below it.

    Parameters
    ----------
    url : str
        Checked URL without secrets; a file, or the root of an OME-Zarr.
    retry : Retry
        How often to try.
    in_flight : int
        How many requests may be under way at once.
    """

    def __init__(self, url: str, retry: Retry | None = None, in_flight: int = 24) -> None:
        self.url = url
        self.in_flight = in_flight
        self.taken_as_absent = 0
        self._retry = retry or Retry()
        self._slots = asyncio.Semaphore(in_flight)
        self._forbids_absent: bool | None = None
        options = {
            "allow_http": True,
            "connect_timeout": timedelta(seconds=20),
            "read_timeout": _READ_TIMEOUT,
            "timeout": timedelta(days=7),  # of a whole download; read_timeout finds what hangs
            "user_agent": "parfocal",
        }
        self._store = HTTPStore(url, client_options=options, retry_config={"max_retries": 0})

    def address(self, key: str) -> str:
        """Return the URL of `key`."""
        return f"{self.url}/{key}" if key else self.url

    async def read(self, key: str) -> bytes | None:
        """Return what lies at `key`, a small document, or None if nothing does.

        Raises
        ------
        RemoteError
            If the server refuses, breaks off, or does not answer.
        """

        async def once() -> bytes:
            result = await obstore.get_async(self._store, key)
            return bytes(await result.bytes_async())

        return await self._try(key, once)  # type: ignore[no-any-return]

    async def read_if_any(self, key: str) -> bytes | None:
        """Return what lies at `key`, or None if nothing does or the server refuses to say.

        Raises
        ------
        RemoteError
            If the server breaks off or does not answer.
        """
        try:
            return await self.read(key)
        except RefusedError:
            return None

    async def download(self, key: str, path: Path) -> Download | None:
        """Download `key` to `path`; return None, and leave no file, if it is not there.

        After a fault, it goes on where it stopped if the server says that the file is the
        same (ETag or modification time), and from the start otherwise.

        Raises
        ------
        RemoteError
            If the server refuses, breaks off, does not answer, or sends too much or too little.
        """
        with _Partial(path) as partial:
            done = await self._try(key, lambda: self._receive(key, partial), partial)
        if done is None:
            path.unlink()
        return done  # type: ignore[no-any-return]

    async def _receive(self, key: str, partial: _Partial) -> Download:
        result = await obstore.get_async(self._store, key, options=partial.options() or None)
        size = result.meta["size"]
        if partial.size is None:
            partial.size, partial.etag = size, result.meta["e_tag"]
            modified = result.meta["last_modified"]
            partial.modified = modified if modified != _EPOCH else None
            self._refuse_web_page(key, result.attributes.get("Content-Type"))
        async for block in result.stream(min_chunk_size=_BLOCK):
            partial.add(block)
        if partial.received != size:
            found = f"{partial.received} of {size} bytes came"
            raise _WrongSizeError(found)
        return Download(size, f"sha256:{partial.digest.hexdigest()}", partial.etag)

    def _refuse_web_page(self, key: str, kind: str | None) -> None:
        if kind and kind.split(";")[0].strip().lower() == "text/html":
            what = "The server sent a web page rather than an image"
            remedy = "Use the URL of the file itself; it must not need a login."
            raise RemoteError(what, where=self.address(key), found=kind, remedy=remedy)

    async def _try(self, key: str, once: Any, partial: _Partial | None = None) -> Any:
        for attempt in range(1, self._retry.attempts + 1):
            try:
                async with self._slots:
                    return await once()
            except FileNotFoundError as error:
                if isinstance(error.filename, str):
                    raise  # of the disk, not of the server
                return None
            except faults.BaseError as error:
                fault = _fault_of(error)
            if fault.status == HTTPStatus.FORBIDDEN and await self._is_absent(key):
                return None
            if not fault.retried or attempt == self._retry.attempts:
                raise self._error(key, fault, attempt)
            if partial and fault.restart:
                partial.restart()
            wait_s = self._retry.wait_s(attempt)
            logger.info("%s: %s; again in %.1f s", self.address(key), fault.reason, wait_s)
            await asyncio.sleep(wait_s)
        msg = "a site is tried at least once"
        raise AssertionError(msg)

    async def _is_absent(self, key: str) -> bool:
        """Return whether 403 means that `key` is absent, as object stores without listing say."""
        if not key or key == _ABSENT_KEY:
            return False
        if self._forbids_absent is None:
            try:
                await self.read(_ABSENT_KEY)
                self._forbids_absent = False
            except RefusedError as error:
                self._forbids_absent = error.status == HTTPStatus.FORBIDDEN
        self.taken_as_absent += self._forbids_absent
        return self._forbids_absent

    def _error(self, key: str, fault: _Fault, attempts: int) -> RemoteError:
        tries = f", tried {attempts} times" if attempts > 1 else ""
        what = "The file could not be downloaded"
        found = fault.reason + tries
        where, remedy = self.address(key), _remedy(fault.status)
        if fault.status is None or fault.status in _RETRIED:
            return RemoteError(what, where=where, found=found, remedy=remedy)
        return RefusedError(what, fault.status, where=where, found=found, remedy=remedy)


def _fault_of(error: faults.BaseError) -> _Fault:
    text = str(error)
    match = re.search(r"non-2xx status code: (\d{3})", text)
    if isinstance(error, faults.PreconditionError):
        return _Fault("the file changed meanwhile", restart=True)
    if isinstance(error, faults.NotSupportedError) or "Range request not supported" in text:
        return _Fault("the server sends no part of a file", restart=True)
    if match:
        status = int(match[1])
        known = status in {entry.value for entry in HTTPStatus}
        phrase = f" {HTTPStatus(status).phrase}" if known else ""
        return _Fault(f"status {status}{phrase}", status, retried=status in _RETRIED)
    if "Content-Length" in text:
        return _Fault("the server does not say the size of the file", retried=False)
    if "TimedOut" in text or "timed out" in text:
        return _Fault("no answer in time")
    if isinstance(error, _WrongSizeError):
        return _Fault(text, restart=True)
    return _Fault("the connection failed or broke off")


def _remedy(status: int | None) -> str:
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return "The file is not public: download it yourself and name its path."
    if status is not None and status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return "Check the URL."
    return "Check the URL and the network, then run again."
