"""List what a bucket of an object store holds below a prefix."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from parfocal.errors import RemoteError
from parfocal.models.source import S3Source
from parfocal.remote.faults import fault_of, remedy_of
from parfocal.remote.retry import Retry
from parfocal.remote.stores import open_bucket, open_store

__all__ = ["Listed", "list_keys", "list_zarrs"]

_DEPTH = 4


@dataclass(frozen=True)
class Listed:
    """A file or an OME-Zarr in a bucket.

    Attributes
    ----------
    key : str
        Its key.
    size_bytes : int, optional
        Of a file.
    """

    key: str
    size_bytes: int | None = None

    @property
    def is_zarr(self) -> bool:
        """Whether it is an OME-Zarr by its name."""
        return self.key.endswith(".zarr")


def list_keys(source: S3Source, *, recursive: bool, retry: Retry | None = None) -> list[Listed]:
    """Return the files and OME-Zarrs below a prefix, sorted by their keys.

    What lies within an OME-Zarr is not searched.

    Raises
    ------
    RemoteError
        If the store refuses, or does not answer.
    """
    depth = None if recursive else 1
    store = open_store(source)
    prefix = f"{source.key}/" if source.key else ""
    return asyncio.run(_walk(store, source.uri, prefix, depth, retry or Retry()))


async def list_zarrs(
    endpoint: str, bucket: str, prefix: str, retry: Retry | None = None
) -> list[str]:
    """Return the URLs of the OME-Zarrs below a prefix of a public bucket.

    Raises
    ------
    RemoteError
        If the store refuses, or does not answer.
    """
    where = f"{endpoint}/{bucket}/{prefix}"
    found = await _walk(open_bucket(endpoint, bucket), where, prefix, _DEPTH, retry or Retry())
    return [f"{endpoint}/{bucket}/{quote(item.key)}" for item in found if item.is_zarr]


async def _walk(
    store: S3Store, where: str, prefix: str, depth: int | None, retry: Retry
) -> list[Listed]:
    page = await _page(store, where, prefix, retry)
    found = [Listed(item["path"], item["size"]) for item in page["objects"]]
    inner = []
    for folder in page["common_prefixes"]:
        if folder.rstrip("/").endswith(".zarr"):
            found.append(Listed(folder.rstrip("/")))
        elif depth is None or depth > 1:
            inner.append(folder)
    deeper = None if depth is None else depth - 1
    for below in await asyncio.gather(
        *(_walk(store, where, f"{folder.rstrip('/')}/", deeper, retry) for folder in inner)
    ):
        found += below
    return sorted(found, key=lambda item: item.key)


async def _page(store: S3Store, where: str, prefix: str, retry: Retry) -> Any:
    """Return what lies directly below a prefix."""
    for attempt in range(1, retry.attempts + 1):
        try:
            return await obstore.list_with_delimiter_async(store, prefix or None)
        except FileNotFoundError:
            return {"objects": [], "common_prefixes": []}
        except BaseError as error:
            fault = fault_of(error)
        if not fault.retried or attempt == retry.attempts:
            break
        await asyncio.sleep(retry.wait_s(attempt))
    what = "The object store could not be listed"
    found, remedy = fault.reason, remedy_of(fault.status)
    raise RemoteError(what, where=where, found=found, remedy=remedy)
