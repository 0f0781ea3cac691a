"""Fetch a file or an OME-Zarr from a web server or an object store into a folder."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

from parfocal.errors import ConfigurationError, RemoteError
from parfocal.models.source import HttpSource, S3Source
from parfocal.remote.chunks import ChunkGrid
from parfocal.remote.kept import DRAFT, Kept
from parfocal.remote.partial import Download, Expected
from parfocal.remote.retry import Retry
from parfocal.remote.site import Site
from parfocal.remote.together import together
from parfocal.remote.tree import RemoteImage, Tree, open_tree

__all__ = ["Fetched", "below", "fetch", "fetch_beside", "one_image", "open_zarr"]

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
Remote = HttpSource | S3Source
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
    received : int
        How many bytes came.
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
    received: int = 0
    keys: int = 0
    absent: int = 0
    empty_arrays: tuple[str, ...] = ()
    taken_as_absent: int = 0


def fetch(
    source: Remote,
    folder: Path,
    progress: Progress,
    retry: Retry | None = None,
    expected: Expected | None = None,
) -> Fetched:
    """Download a file, or the image that an OME-Zarr holds, into `folder`.

    An OME-Zarr is copied key by key as it is, with all levels and label images. Memory does
    not grow with it. What an interrupted download of the same left in `folder` is kept.

    Parameters
    ----------
    folder : Path
        It exists, and is empty or holds what an interrupted download left.
    expected : Expected, optional
        What was told of the file; an OME-Zarr is not compared with it.

    Raises
    ------
    VerificationError
        If the file is another one than was told.
    RemoteError
        If the server refuses, breaks off, or does not answer; or nothing lies at the URL.
    InputError
        If the OME-Zarr is not valid.
    ConfigurationError
        If it holds several images: a source names one.
    """
    return _run(_fetch(source, folder, progress, Site(source, retry), expected or Expected()))


def fetch_beside(
    source: Remote, name: str, folder: Path, retry: Retry | None = None
) -> Download | None:
    """Download the file `name` that lies beside `source`; None if the server does not have it.

    Raises
    ------
    RemoteError
        As `fetch`.
    """
    site = Site(_beside(source, name), retry)
    return _run(site.download("", folder / name, ["sha256"]))


def _beside(source: Remote, name: str) -> Remote:
    if isinstance(source, S3Source):
        folder = source.key.rpartition("/")[0]
        return S3Source(source.bucket, f"{folder}/{name}" if folder else name)
    address = urlsplit(source.url)
    beside = f"{address.path.rsplit('/', 1)[0]}/{quote(name)}"
    return HttpSource(urlunsplit((address.scheme, address.netloc, beside, address.query, "")))


def _run(work: Coroutine[None, None, T]) -> T:
    return asyncio.run(work)


async def open_zarr(source: Remote, site: Site) -> Tree | None:
    """Return the OME-Zarr at a source, whose site is `site`, or None if there is none.

    Raises
    ------
    RemoteError
        If the server does not answer.
    """
    # A query belongs to one file; a Zarr has many keys.
    has_query = isinstance(source, HttpSource) and "?" in source.url
    return None if has_query else await open_tree(site)


async def _fetch(
    source: Remote, folder: Path, progress: Progress, site: Site, expected: Expected
) -> Fetched:
    tree = await open_zarr(source, site)
    if tree:
        name = source.name if source.name.endswith(".zarr") else f"{source.name}.ome.zarr"
        return await _fetch_zarr(tree, folder / name, progress)
    path = folder / source.name
    kept = Kept(folder, site.url)
    with kept.until_done():
        file = await site.download("", path, expected.algorithms, progress, kept)
    if file is None:
        what = "There is nothing at the URL"
        found = "status 404 Not Found"
        raise RemoteError(what, where=site.url, found=found, remedy="Check the URL.")
    expected.check(file, site.url)
    progress(file.size_bytes, file.size_bytes)
    return Fetched(path, file, received=site.received)


async def one_image(tree: Tree) -> RemoteImage:
    """Return the image that an OME-Zarr holds.

    Raises
    ------
    ConfigurationError
        If it holds none or several.
    RemoteError, InputError
        As `Tree.list_images`.
    """
    images = await tree.list_images()
    if len(images) != 1:
        raise _not_one(tree.site.url, images)
    return images[0]


def below(source: Remote, path: str) -> Remote:
    """Return what lies at a path below a source."""
    if isinstance(source, S3Source):
        return S3Source(source.bucket, f"{source.key}/{path}")
    return HttpSource(f"{source.url}/{quote(path)}")


async def _fetch_zarr(tree: Tree, root: Path, progress: Progress) -> Fetched:
    image = await one_image(tree)
    await tree.add_image(image.path)
    kept = Kept(root.parent, tree.site.url)
    resumed = kept.begin({"documents": _digest(tree.documents)})
    if resumed:
        logger.info("%s: going on with what an interrupted download left", tree.site.url)
        for draft in root.rglob(f"*{DRAFT}"):
            draft.unlink()
    with kept.until_done():
        return await _fetch_all(tree, root, progress, resumed=resumed)


def _digest(documents: Mapping[str, bytes]) -> str:
    """Return a digest of metadata documents, by which a changed image is known."""
    total = hashlib.sha256()
    for key, data in sorted(documents.items()):
        total.update(f"{key} {len(data)} ".encode() + data)
    return total.hexdigest()


async def _fetch_all(tree: Tree, root: Path, progress: Progress, *, resumed: bool) -> Fetched:
    absent = await _fetch_chunks(tree, root, progress, resumed=resumed)
    # The documents come last, so that what they promise is there.
    for key, data in sorted(tree.documents.items(), reverse=True):
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return Fetched(
        root,
        received=tree.site.received,
        keys=sum(len(grid) for grid in tree.grids),
        absent=sum(absent.values()),
        empty_arrays=tuple(g.path for g in tree.grids if len(g) and absent[g.path] == len(g)),
        taken_as_absent=tree.site.taken_as_absent,
    )


async def _fetch_chunks(
    tree: Tree, root: Path, progress: Progress, *, resumed: bool
) -> dict[str, int]:
    """Download the chunks of all arrays; return how many of each the server does not have."""
    absent = dict.fromkeys((grid.path for grid in tree.grids), 0)
    total = sum(len(grid) for grid in tree.grids)
    queue = _keys(tree.grids)
    made: set[str] = set()
    done = 0

    async def work() -> None:
        nonlocal done
        for grid, key in queue:
            path = f"{root}/{key}"
            folder = path.rpartition("/")[0]
            if folder not in made:
                Path(folder).mkdir(parents=True, exist_ok=True)
                made.add(folder)
            known = resumed and _is_there(Path(path))
            if not known and await tree.site.download(key, path) is None:
                absent[grid.path] += 1
            done += 1
            progress(done, total)

    await together(work() for _ in range(min(tree.site.in_flight, total)))
    return absent


def _is_there(path: Path) -> bool:
    """Return whether a chunk has come before; an empty file may be what a crash left of one."""
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


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
