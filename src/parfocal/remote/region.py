"""Fetch a region of one level of an OME-Zarr: the chunks that it touches, and no others.

What comes is a Zarr of the same shape in which all other chunks are missing, so that any reader
reads the region from it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from parfocal.errors import RemoteError
from parfocal.models.source import HttpSource, S3Source
from parfocal.remote.chunks import ChunkGrid, Inside
from parfocal.remote.faults import WholeOnlyError
from parfocal.remote.fetch import below, one_image
from parfocal.remote.retry import Retry
from parfocal.remote.shards import ShardLayout, Span, spans_of
from parfocal.remote.site import Site
from parfocal.remote.together import together
from parfocal.remote.tree import Tree, open_tree

__all__ = ["RemoteLevels", "fetch_region", "open_levels"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class RemoteLevels:
    """The metadata of an image on a server, which lie in a folder.

    Attributes
    ----------
    source : HttpSource or S3Source
        The OME-Zarr.
    root : Path
        The folder.
    levels : tuple of ChunkGrid
        Its resolutions, the full one first.
    labels : tuple of str
        Paths of the label images, which are not taken.
    """

    source: HttpSource | S3Source
    root: Path
    levels: tuple[ChunkGrid, ...]
    labels: tuple[str, ...]


def open_levels(
    source: HttpSource | S3Source, folder: Path, retry: Retry | None = None
) -> RemoteLevels | None:
    """Fetch the metadata of the image that an OME-Zarr holds; None where there is none.

    Raises
    ------
    RemoteError, InputError, ConfigurationError
        As `parfocal.remote.fetch.fetch`.
    """
    return asyncio.run(_open_levels(source, folder, Site(source, retry), retry))


async def _open_levels(
    source: HttpSource | S3Source, folder: Path, site: Site, retry: Retry | None
) -> RemoteLevels | None:
    tree = await open_tree(site)
    if tree is None:
        return None
    image = await one_image(tree)
    if image.path:  # the only one of a collection
        inner = below(source, image.path)
        return await _open_levels(inner, folder, Site(inner, retry), retry)
    await tree.add_image("")
    root = folder / "image.ome.zarr"
    _write_documents(tree, root)
    labels = {grid.path.rpartition("/")[0] for grid in tree.grids if _is_label(grid)}
    levels = tuple(grid for grid in tree.grids if not _is_label(grid))
    return RemoteLevels(source, root, levels, tuple(sorted(labels)))


def _is_label(grid: ChunkGrid) -> bool:
    return grid.path.startswith("labels/")


def _write_documents(tree: Tree, root: Path) -> None:
    for key, data in tree.documents.items():
        if not key.startswith("labels/"):
            path = root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def fetch_region(
    image: RemoteLevels,
    level: int,
    region: Sequence[tuple[int, int]],
    progress: Progress,
    retry: Retry | None = None,
) -> int:
    """Fetch the chunks of a level that a region touches into the folder of the metadata.

    Parameters
    ----------
    level : int
        0 for the full resolution.
    region : sequence of (start, stop)
        In pixels of that level, one for each axis that it has.
    progress : callable
        Called as ``progress(done, total)``, in objects on the server.

    Returns
    -------
    int
        How many bytes came.

    Raises
    ------
    RemoteError
        If the server refuses, breaks off, or does not answer.
    InputError
        If the index of a shard is damaged.
    """
    site = Site(image.source, retry)
    asyncio.run(_fetch_region(site, image.root, image.levels[level], region, progress))
    return site.received


async def _fetch_region(
    site: Site,
    root: Path,
    grid: ChunkGrid,
    region: Sequence[tuple[int, int]],
    progress: Progress,
) -> None:
    objects = list(grid.touched(region))
    queue = iter(objects)
    done = 0

    async def work() -> None:
        nonlocal done
        for key, inside in queue:
            await _fetch_object(site, key, root / key, grid, inside)
            done += 1
            progress(done, len(objects))

    await together(work() for _ in range(min(site.in_flight, len(objects))))


async def _fetch_object(site: Site, key: str, path: Path, grid: ChunkGrid, inside: Inside) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    layout = grid.shards
    places = layout.numbers(inside) if layout else []
    if layout and 2 * len(places) <= layout.count:
        try:
            await _fetch_part(site, key, path, layout, places)
        except WholeOnlyError:
            await site.download(key, path)
        return
    await site.download(key, path)


async def _fetch_part(
    site: Site, key: str, path: Path, layout: ShardLayout, places: Sequence[int]
) -> None:
    """Make a shard of the chunks at some places of a shard on the server."""
    data = await site.read_part(key, layout.index_start, layout.index_bytes)
    if data is None:
        return
    spans = spans_of(layout.read_index(data, site.address(key)), places)
    entries = dict(_new_places(spans, layout.index_bytes if layout.index_first else 0))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        await together(_copy(site, key, span, entries, descriptor) for span in spans)
        end = max((offset + length for offset, length in entries.values()), default=0)
        _write(descriptor, layout.write_index(entries), 0 if layout.index_first else end)
    finally:
        os.close(descriptor)


def _new_places(spans: Sequence[Span], start: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Lay the chunks of the spans one behind the other, from `start` on."""
    for span in spans:
        for place, (_, length) in span.members.items():
            yield place, (start, length)
            start += length


async def _copy(
    site: Site, key: str, span: Span, entries: dict[int, tuple[int, int]], descriptor: int
) -> None:
    data = await site.read_part(key, span.start, span.stop - span.start)
    if data is None:
        what = "A file on the server was removed while it was read"
        raise RemoteError(what, where=site.address(key), remedy="Run again.")
    for place, (start, length) in span.members.items():
        _write(descriptor, data[start : start + length], entries[place][0])


def _write(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count
