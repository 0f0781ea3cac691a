"""Reading from a web server or an object store: bounded retries, resumed downloads, clear errors.

Only the address, the status and the kind of fault go into errors: a server may redirect to an
address that holds a secret.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError

from parfocal.errors import RemoteError
from parfocal.models.source import HttpSource, S3Source
from parfocal.remote.faults import (
    RETRIED,
    Fault,
    RefusedError,
    WholeOnlyError,
    WrongSizeError,
    fault_of,
    remedy_of,
)
from parfocal.remote.kept import Kept
from parfocal.remote.limits import Limits
from parfocal.remote.partial import Download, Partial
from parfocal.remote.retry import Retry, Tries, server_of
from parfocal.remote.stores import open_store

__all__ = ["Site"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_BLOCK = 1 << 20
_SMALL = 4 << 20
_TELL_EVERY_S = 10.0
_ABSENT_KEY = "parfocal-asks-for-a-key-that-is-not-there"


class Site:
    """A URL, or a key of a bucket, and what lies below it.

    Parameters
    ----------
    source : HttpSource or S3Source
        A file, or the root of an OME-Zarr.
    retry : Retry, optional
        How often to try.
    limits : Limits, optional
        How many requests may be under way at once, and how fast; by default what the environment
        says.
    slots : asyncio.Semaphore, optional
        What several sites share that may not be asked more than that together.

    Attributes
    ----------
    received : int
        How many bytes have come.
    taken_as_absent : int
        How many keys the server refused as it does those that it does not have.

    Raises
    ------
    ConfigurationError
        If the environment is not valid.
    """

    def __init__(
        self,
        source: HttpSource | S3Source,
        retry: Retry | None = None,
        limits: Limits | None = None,
        slots: asyncio.Semaphore | None = None,
    ) -> None:
        self.url = source.url if isinstance(source, HttpSource) else source.uri.rstrip("/")
        self._prefix = "" if isinstance(source, HttpSource) else source.key
        self._limits = limits or Limits.from_environment()
        self._retry = retry or Retry()
        self._slots = slots or asyncio.Semaphore(self.in_flight)
        self._store = open_store(source)
        self._forbids_absent: bool | None = None
        self._server = server_of(_address_of(source))
        self._told, self._told_at = 0, time.monotonic()
        self.received = 0
        self.taken_as_absent = 0

    @property
    def in_flight(self) -> int:
        """How many requests may be under way at once."""
        return self._limits.in_flight

    def address(self, key: str) -> str:
        """Return the URL of `key`."""
        return f"{self.url}/{key}" if key else self.url

    def _key(self, key: str) -> str:
        return "/".join(part for part in (self._prefix, key) if part)

    async def read(self, key: str) -> bytes | None:
        """Return what lies at `key`, a small document, or None if nothing does.

        Raises
        ------
        RemoteError
            If the server refuses, breaks off, or does not answer.
        """

        async def once() -> bytes:
            result = await obstore.get_async(self._store, self._key(key))
            data = bytes(await result.bytes_async())
            await self._count(len(data))
            return data

        return await self._try(key, once)

    async def read_part(self, key: str, start: int, length: int) -> bytes | None:
        """Return `length` bytes from `start` on, or from the end for a `start` of -`length`.

        Raises
        ------
        RemoteError
            As `read`, and if fewer bytes are there.
        WholeOnlyError
            If the server sends no part of a file.
        """
        span: Any = {"suffix": length} if start < 0 else (start, start + length)

        async def once() -> bytes:
            options: Any = {"range": span}
            try:
                result = await obstore.get_async(self._store, self._key(key), options=options)
            except BaseError as error:
                if fault_of(error).restart:
                    raise WholeOnlyError(self.address(key)) from error
                raise
            data = bytes(await result.bytes_async())
            await self._count(len(data))
            if len(data) != length:
                found = f"{len(data)} of {length} bytes came"
                raise WrongSizeError(found)
            return data

        return await self._try(key, once)

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

    async def download(
        self,
        key: str,
        path: str | os.PathLike[str],
        algorithms: Sequence[str] = (),
        progress: Callable[[int, int], None] | None = None,
        kept: Kept | None = None,
    ) -> Download | None:
        """Download `key` to `path`; return None, and leave no file, if it is not there.

        After a fault, it goes on where it stopped if the server says that the file is the
        same (ETag or modification time), and from the start otherwise.

        Parameters
        ----------
        algorithms : sequence of str
            Which digests to take, by their names in hashlib.
        progress : callable, optional
            Called as ``progress(received, size)`` in bytes.
        kept : Kept, optional
            The note of a folder for this file alone: what an interrupted download left is gone
            on with, under the same condition.

        Raises
        ------
        RemoteError
            If the server refuses, breaks off, does not answer, or sends too much or too little.
        """
        with Partial(path, algorithms, kept) as partial:
            return await self._try(key, lambda: self._receive(key, partial, progress), partial)

    async def _receive(
        self, key: str, partial: Partial, progress: Callable[[int, int], None] | None
    ) -> Download:
        if partial.is_whole():
            return partial.done()
        options: Any = partial.options() or None
        result = await obstore.get_async(self._store, self._key(key), options=options)
        size = result.meta["size"]
        if partial.size is None:
            partial.announce(size, result.meta["e_tag"], result.meta["last_modified"])
            self._refuse_web_page(key, result.attributes.get("Content-Type"))
        if size <= _SMALL:
            data = await result.bytes_async()
            partial.add(data)
            await self._count(len(data))
        else:
            async for block in result.stream(min_chunk_size=_BLOCK):
                partial.add(block)
                await self._count(len(block))
                if progress:
                    progress(partial.received, size)
        if partial.received != size:
            found = f"{partial.received} of {size} bytes came"
            raise WrongSizeError(found)
        return partial.done()

    async def _count(self, size: int) -> None:
        self.received += size
        self._server.delivered_at = time.monotonic()
        self._tell_rate()
        await self._limits.take(size)

    def _tell_rate(self) -> None:
        now = time.monotonic()
        since_s = now - self._told_at
        if since_s > _TELL_EVERY_S:
            rate = (self.received - self._told) / since_s / 1e6
            logger.info("%s: %.0f MB, %.1f MB/s", self.url, self.received / 1e6, rate)
            self._told, self._told_at = self.received, now

    def _refuse_web_page(self, key: str, kind: str | None) -> None:
        if kind and kind.split(";")[0].strip().lower() == "text/html":
            what = "The server sent a web page rather than an image"
            remedy = "Use the URL of the file itself; it must not need a login."
            raise RemoteError(what, where=self.address(key), found=kind, remedy=remedy)

    async def _try(
        self, key: str, once: Callable[[], Awaitable[T]], partial: Partial | None = None
    ) -> T | None:
        tries = Tries(self._retry, self._server)
        while True:
            try:
                async with self._slots:
                    return await once()
            except FileNotFoundError as error:
                if isinstance(error.filename, str):
                    raise  # of the disk, not of the server
                return None
            except BaseError as error:
                fault = fault_of(error)
            if fault.status == HTTPStatus.FORBIDDEN and await self._is_absent(key):
                return None
            if not tries.again(fault, partial.received if partial else 0):
                raise self._error(key, fault, tries.count)
            if partial and fault.restart:
                partial.restart()
            wait_s = self._retry.wait_s(tries.in_row)
            logger.info("%s: %s; again in %.1f s", self.address(key), fault.reason, wait_s)
            await asyncio.sleep(wait_s)

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

    def _error(self, key: str, fault: Fault, attempts: int) -> RemoteError:
        tries = f", tried {attempts} times" if attempts > 1 else ""
        what = "The file could not be downloaded"
        found = fault.reason + tries
        where, remedy = self.address(key), remedy_of(fault.status)
        if fault.status is None or fault.status in RETRIED:
            return RemoteError(what, where=where, found=found, remedy=remedy)
        return RefusedError(what, fault.status, where=where, found=found, remedy=remedy)


def _address_of(source: HttpSource | S3Source) -> str:
    """Return the server, or the bucket, that a source belongs to."""
    if isinstance(source, S3Source):
        return f"s3://{source.bucket}"
    return urlsplit(source.url).netloc
