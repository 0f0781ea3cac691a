"""Fetch a file or an OME-Zarr from a web server into a folder."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

from parfocal.errors import ConfigurationError, RemoteError
from parfocal.models.source import HttpSource
from parfocal.remote.chunks import ChunkGrid
from parfocal.remote.site import Download, Retry, Site
from parfocal.remote.tree import RemoteImage, Tree, open_tree

__all__ = ["Fetched", "fetch", "fetch_beside", "list_remote_images"]

Progress = Callable[[int, int], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Fetched:
    """What was fetched.

    Attributes
    ----------
    path : Path
        The file, or the folder of the OME-Zarr.
    file : Download or None
        Size and digest of a file; None for an OME-Zarr.
    keys, absent : int
        How many chunks or shards the metadata of an OME-Zarr names, and how many of them
        the server does not have, which read as the fill value.
    empty_arrays : tuple of str
        Arrays of which the server has no chunk at all.
    taken_as_absent : int
        How many keys the server refused with 403, as it does for keys that it does not have.
    """

    path: Path
    file: Download | None = None
    keys: int = 0
    absent: int = 0
    empty_arrays: tuple[str, ...] = ()
    taken_as_absent: int = 0


def fetch(
    source: HttpSource, folder: Path, progress: Progress, retry: Retry | None = None
) -> Fetched:
    """Download a file, or the image that an OME-Zarr holds, into `folder`.

    An OME-Zarr is copied key by key as it is, with all levels and label images. Memory does
    not grow with it.

    Raises
    ------
    RemoteError
        If the server refuses, breaks off, or does not answer; or nothing lies at the URL.
    InputError
        If the OME-Zarr is not valid.
    ConfigurationError
        If it holds several images: a source names one.
    """
    return _run(_fetch(source, folder, progress, Site(source.url, retry)))


def fetch_beside(
    source: HttpSource, name: str, folder: Path, retry: Retry | None = None
) -> Download | None:
    """Download the file `name` that lies beside `source`; None if the server does not have it.

    Raises
    ------
    RemoteError
        As `fetch`.
    """
    address = urlsplit(source.url)
    beside = f"{address.path.rsplit('/', 1)[0]}/{quote(name)}"
    site = Site(urlunsplit((address.scheme, address.netloc, beside, address.query, "")), retry)
    return _run(site.download("", folder / name))


def list_remote_images(source: HttpSource, retry: Retry | None = None) -> list[RemoteImage] | None:
    """Return the images of the OME-Zarr at a URL, or None where there is no OME-Zarr.

    Raises
    ------
    RemoteError, InputError
        As `fetch`.
    """

    async def work() -> list[RemoteImage] | None:
        tree = await _tree(source, Site(source.url, retry))
        return await tree.list_images() if tree else None

    return _run(work())


def _run(work: Coroutine[None, None, T]) -> T:
    return asyncio.run(work)


async def _tree(source: HttpSource, site: Site) -> Tree | None:
    # A query belongs to one file; a Zarr has many keys.
    return None if "?" in source.url else await open_tree(site)


async def _fetch(source: HttpSource, folder: Path, progress: Progress, site: Site) -> Fetched:
    tree = await _tree(source, site)
    if tree:
        name = source.name if source.name.endswith(".zarr") else f"{source.name}.ome.zarr"
        return await _fetch_zarr(tree, folder / name, progress)
    path = folder / source.name
    file = await site.download("", path)
    if file is None:
        what = "There is nothing at the URL"
        found = "status 404 Not Found"
        raise RemoteError(what, where=source.url, found=found, remedy="Check the URL.")
    progress(1, 1)
    return Fetched(path, file)


async def _fetch_zarr(tree: Tree, root: Path, progress: Progress) -> Fetched:
    images = await tree.list_images()
    if len(images) != 1:
        raise _not_one(tree.site.url, images)
    await tree.add_image(images[0].path)
    absent = await _fetch_chunks(tree, root, progress)
    # The documents come last, so that what they promise is there.
    for key, data in sorted(tree.documents.items(), reverse=True):
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return Fetched(
        root,
        keys=sum(len(grid) for grid in tree.grids),
        absent=sum(absent.values()),
        empty_arrays=tuple(g.path for g in tree.grids if len(g) and absent[g.path] == len(g)),
        taken_as_absent=tree.site.taken_as_absent,
    )


async def _fetch_chunks(tree: Tree, root: Path, progress: Progress) -> dict[str, int]:
    """Download the chunks of all arrays; return how many of each the server does not have."""
    absent = dict.fromkeys((grid.path for grid in tree.grids), 0)
    total = sum(len(grid) for grid in tree.grids)
    queue = _keys(tree.grids)
    done = 0

    async def work() -> None:
        nonlocal done
        for grid, key in queue:
            path = root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            if await tree.site.download(key, path) is None:
                absent[grid.path] += 1
            done += 1
            progress(done, total)

    workers = [asyncio.create_task(work()) for _ in range(min(tree.site.in_flight, total))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return absent


def _keys(grids: list[ChunkGrid]) -> Iterator[tuple[ChunkGrid, str]]:
    for grid in grids:
        for key in grid:
            yield grid, key


def _not_one(url: str, images: list[RemoteImage]) -> ConfigurationError:
    some = ", ".join(f"{url}/{image.path}" for image in images[:10])
    more = f" and {len(images) - 10} more" if len(images) > 10 else ""
    return ConfigurationError(
        "A source must be one image",
        where=url,
        expected="1 image",
        found=f"{len(images)} images: {some}{more}" if images else "no image",
        remedy="Name the URL of one image, or let 'parfocal list-images' write a row for each.",
    )
