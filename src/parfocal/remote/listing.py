"""The images of OME-Zarrs on servers, with what their metadata tell of them; none is fetched."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence

from parfocal.errors import InputError
from parfocal.models.source import HttpSource, S3Source
from parfocal.remote.facts import columns_of_image
from parfocal.remote.fetch import open_zarr
from parfocal.remote.limits import Limits
from parfocal.remote.retry import Retry
from parfocal.remote.site import Site
from parfocal.remote.together import together
from parfocal.remote.tree import MissingMetadataError, RemoteImage, Tree

__all__ = ["is_remote_zarr", "list_remote_images"]

Remote = HttpSource | S3Source
Images = list[RemoteImage] | None


def is_remote_zarr(source: Remote, retry: Retry | None = None) -> bool:
    """Tell whether an OME-Zarr lies at a source.

    Raises
    ------
    RemoteError
        If the server does not answer.
    """

    async def work() -> bool:
        return await open_zarr(source, Site(source, retry)) is not None

    return asyncio.run(work())


def list_remote_images(
    sources: Sequence[Remote], retry: Retry | None = None, *, keep_damaged: bool = False
) -> list[Images]:
    """Return the images of the OME-Zarrs at some sources, each with its columns.

    As many requests are under way at once as the limits of transfers allow, for all together.

    Parameters
    ----------
    sources : sequence of HttpSource or S3Source
        Where to look.
    retry : Retry, optional
        How often to try.
    keep_damaged : bool
        Whether an OME-Zarr that is not valid counts as one image without columns.

    Returns
    -------
    list of list of RemoteImage, or None
        For each source; None where there is no OME-Zarr.

    Raises
    ------
    InputError
        If an OME-Zarr is not valid, unless it is kept.
    RemoteError
        If a server refuses, breaks off, or does not answer; or metadata are missing, likewise.
    """
    return asyncio.run(_list_all(sources, retry, keep_damaged=keep_damaged))


async def _list_all(
    sources: Sequence[Remote], retry: Retry | None, *, keep_damaged: bool
) -> list[Images]:
    limits = Limits.from_environment()
    slots = asyncio.Semaphore(limits.in_flight)
    found: list[Images] = [None] * len(sources)
    queue = iter(enumerate(sources))

    async def work() -> None:
        for number, source in queue:
            site = Site(source, retry, limits, slots)
            tree = await open_zarr(source, site)
            try:
                found[number] = None if tree is None else await _described(tree, limits.in_flight)
            except (InputError, MissingMetadataError):
                if not keep_damaged:
                    raise
                found[number] = [RemoteImage("")]

    await together(work() for _ in range(min(limits.in_flight, len(sources))))
    return found


async def _described(tree: Tree, in_flight: int) -> list[RemoteImage]:
    """Return the images of an OME-Zarr with their columns, in their order."""
    images = await tree.list_images()
    queue = iter(list(enumerate(images)))

    async def work() -> None:
        for number, image in queue:
            # What is read of the fields of a plate is not kept; the root was read before.
            inner = Tree(tree.site, tree.zarr_format) if image.path else tree
            columns = await columns_of_image(inner, image.path)
            images[number] = dataclasses.replace(image, columns=columns)

    await together(work() for _ in range(min(in_flight, len(images))))
    return images
