"""Where an image of the Image Data Resource can be had without its OMERO server.

Known from the documentation and the tables of the IDR: the OME-Zarrs in its own bucket
(``zarr/v0.4/idr0062A/6001240.zarr``, plates by their number), the paths that
``/webgateway/original_file_paths/`` tells, and where those that begin with ``uod/idr/filesets``
and ``bia-idr`` are published. Whether an OME-Zarr is that of the image is not known beforehand:
its size is compared with what the IDR tells.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from parfocal.errors import InputError, RemoteError
from parfocal.models.naming import well_name
from parfocal.models.source import BiaSource, HttpSource, IdrSource
from parfocal.remote.bia import locate_async
from parfocal.remote.idr import IdrApi
from parfocal.remote.retry import Retry
from parfocal.remote.site import Site
from parfocal.remote.tree import RemoteImage, Tree, open_tree
from parfocal.remote.web_api import base_url

__all__ = ["FILES_VARIABLE", "STORE_VARIABLE", "IdrPlaces", "find_places", "find_zarr"]

STORE_VARIABLE = "PARFOCAL_IDR_STORE_URL"
FILES_VARIABLE = "PARFOCAL_IDR_FILES_URL"

_STORE = "https://uk1s3.embassy.ebi.ac.uk/idr"
_FILES = "https://ftp.ebi.ac.uk/pub/databases/IDR"
_VERSIONS = ("v0.5", "v0.4")
_OLD_VERSIONS = ("v0.3", "v0.2", "v0.1")
_EXPERIMENT = re.compile(r"(idr[0-9]{4})-[^/]*/(?:experiment|screen)([A-Z])$")
_FILESETS = re.compile(r"/?(?:uod/idr|nfs/bioimage/drop)/filesets/(.+)")
_BIA = re.compile(r"/?bia-idr/(S-BIAD[0-9]+)/(.+)")


@dataclass(frozen=True)
class IdrPlaces:
    """Where an image of the IDR lies.

    Attributes
    ----------
    zarr : HttpSource or None
        Its OME-Zarr.
    file : HttpSource or None
        The first of its original files, of which it is the only image as far as is known.
    tried : tuple of str
        What was found not to be there, or not to be the image, and why.
    """

    zarr: HttpSource | None
    file: HttpSource | None
    tried: tuple[str, ...]


@dataclass(frozen=True)
class _Image:
    """What the IDR tells of an image."""

    id: str
    sizes: dict[str, int]
    series: int
    paths: list[str]
    parents: dict[str, str]
    experiment: str
    well: str
    field: int


def find_zarr(source: IdrSource, retry: Retry | None = None) -> HttpSource:
    """Return the URL of an OME-Zarr that is named by its path in the bucket of the IDR.

    Raises
    ------
    InputError
        If it is there in no version.
    RemoteError
        If the store does not answer.
    """
    store = base_url(STORE_VARIABLE, _STORE)
    urls = [f"{store}/zarr/{version}/{quote(source.id)}" for version in _VERSIONS]

    async def work() -> HttpSource | None:
        for url in urls:
            if await open_tree(Site(HttpSource(url), retry)):
                return HttpSource(url)
        return None

    found = asyncio.run(work())
    if found is None:
        what = "The bucket of the IDR has no such OME-Zarr"
        raise InputError(what, where=source.uri, expected=" or ".join(urls))
    return found


def find_places(source: IdrSource, retry: Retry | None = None) -> IdrPlaces:
    """Find out where an image can be had.

    Raises
    ------
    InputError
        If the IDR has no such image.
    RemoteError
        If it does not answer.
    """
    return asyncio.run(_find_places(source.id, retry))


async def _find_places(number: str, retry: Retry | None) -> IdrPlaces:
    image = await _look_up(IdrApi(retry), number)
    tried: list[str] = []
    async for root in _zarr_roots(image, retry):
        inner, why = await _inner_image(root, image, retry)
        if inner is not None:
            url = f"{root}/{inner.path}" if inner.path else root
            return IdrPlaces(HttpSource(url), None, tuple(tried))
        tried.append(f"{root} {why}")
    file, why = await _file(image, retry)
    return IdrPlaces(None, file, (*tried, why) if why else tuple(tried))


async def _look_up(api: IdrApi, number: str) -> _Image:
    row = await api.object("image", number)
    paths = await api.web.get(f"/webgateway/original_file_paths/{number}/") or {}
    parents = await _parents(api, number)
    experiment = ""
    for kind in ("project", "screen"):
        if kind in parents:
            experiment = str((await api.object(kind, parents[kind])).get("Name", ""))
    well, field = "", 0
    if "well" in parents:
        found = await api.object("well", parents["well"])
        well = well_name(int(found["Row"]), int(found["Column"]))
        samples = [str(s.get("Image", {}).get("@id")) for s in found.get("WellSamples") or ()]
        field = samples.index(number) if number in samples else 0
    pixels = row.get("Pixels", {})
    sizes = {axis: int(pixels[f"Size{axis}"]) for axis in "TCZYX" if f"Size{axis}" in pixels}
    client = [str(path) for path in paths.get("client") or ()]
    series = int(row.get("omero:series", 0))
    return _Image(number, sizes, series, client, parents, experiment, well, field)


async def _parents(api: IdrApi, number: str) -> dict[str, str]:
    """Return the ids of what an image lies in, by their kinds."""
    query = [("image", number)]
    answer = await api.web.get("/webclient/api/paths_to_object/", query) or {}
    paths = answer.get("paths") or [[]]
    return {str(step.get("type")): str(step.get("id")) for step in paths[0]}


async def _zarr_roots(image: _Image, retry: Retry | None) -> AsyncIterator[str]:
    """Iterate over the URLs at which an OME-Zarr of the image may be, the surest first."""
    for root in dict.fromkeys(filter(None, map(_zarr_root, image.paths))):
        if root.startswith(("https://", "http://")):
            yield root
        elif match := _BIA.fullmatch(root):
            yield (await locate_async(BiaSource(match[1], match[2]), retry)).url
        elif match := _FILESETS.fullmatch(root):
            yield f"{base_url(FILES_VARIABLE, _FILES)}/{quote(match[1])}"
    for url in _in_bucket(image):
        yield url


def _zarr_root(path: str) -> str:
    """Return the path of the OME-Zarr that a file belongs to, or nothing."""
    start, mark, _ = path.partition(".zarr/")
    if mark:
        return f"{start}.zarr"
    return path.rstrip("/") if path.rstrip("/").endswith(".zarr") else ""


def _in_bucket(image: _Image) -> Iterator[str]:
    store = base_url(STORE_VARIABLE, _STORE)
    numbers = [number for number in (image.parents.get("plate"), image.id) if number]
    match = _EXPERIMENT.match(image.experiment)
    for number in numbers:
        if match:
            for version in _VERSIONS:
                yield f"{store}/zarr/{version}/{match[1]}{match[2]}/{number}.zarr"
    for number in numbers:
        for version in _OLD_VERSIONS:
            yield f"{store}/zarr/{version}/{number}.zarr"


async def _inner_image(
    root: str, image: _Image, retry: Retry | None
) -> tuple[RemoteImage | None, str]:
    """Return which image of an OME-Zarr is the one, or None and why it is none."""
    tree = await open_tree(Site(HttpSource(root), retry))
    if tree is None:
        return None, "is no OME-Zarr"
    try:
        images = await tree.list_images()
        chosen = _choose(images, image)
        if chosen is None:
            return None, f"has {len(images)} images, of which none is known to be this one"
        sizes = await _sizes(tree, chosen)
    except (InputError, RemoteError) as error:
        return None, f"cannot be used: {error.what}"
    wanted = sorted(size for size in image.sizes.values() if size > 1)
    if wanted and wanted != sorted(size for size in sizes if size > 1):
        return None, f"has sizes {sizes} rather than {image.sizes}"
    return chosen, ""


def _choose(images: list[RemoteImage], image: _Image) -> RemoteImage | None:
    if len(images) == 1:
        return images[0]
    if any(found.well for found in images):
        same = [found for found in images if _plain(found.well) == _plain(image.well)]
        return same[image.field] if image.well and image.field < len(same) else None
    return images[image.series] if image.series < len(images) else None


def _plain(well: str) -> str:
    """Return the name of a well without zeros before its number."""
    match = re.fullmatch(r"([A-Za-z]+)0*([0-9]+)", well)
    return f"{match[1].upper()}{match[2]}" if match else well


async def _sizes(tree: Tree, image: RemoteImage) -> tuple[int, ...]:
    before = len(tree.grids)
    await tree.add_image(image.path)
    return tree.grids[before].shape


async def _file(image: _Image, retry: Retry | None) -> tuple[HttpSource | None, str]:
    """Return the URL of the original file, or None and why there is none."""
    if not image.paths:
        return None, "the IDR tells no original file"
    first = image.paths[0]
    if image.series:
        return None, f"{first} holds several images"
    if _zarr_root(first):
        return None, f"{first} is part of an OME-Zarr"
    if match := _FILESETS.fullmatch(first):
        return HttpSource(f"{base_url(FILES_VARIABLE, _FILES)}/{quote(match[1])}"), ""
    if match := _BIA.fullmatch(first):
        return await locate_async(BiaSource(match[1], match[2]), retry), ""
    if urlsplit(first).scheme in ("https", "http"):
        return HttpSource(quote(unquote(first), safe=":/")), ""
    return None, f"{first} is not published under a known address"
