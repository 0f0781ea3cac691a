"""Studies of the BioImage Archive: their files, and the OME-Zarrs made from them.

Source: the API of BioStudies (``/api/v1/studies/ACCESSION/info``, whose ``httpLink`` leads to the
files, and ``/api/v1/files/ACCESSION?start=N&length=N``), and the archive's public bucket, in which
OME-Zarrs lie at ``ACCESSION/UUID/UUID.zarr``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from parfocal.errors import InputError, RemoteError
from parfocal.models.found_image import FoundImage, columns_of
from parfocal.models.source import BiaSource, HttpSource
from parfocal.remote.bucket import list_zarrs
from parfocal.remote.retry import Retry
from parfocal.remote.web_api import WebApi, base_url

__all__ = ["API_VARIABLE", "STORE_VARIABLE", "list_study", "locate", "locate_async"]

API_VARIABLE = "PARFOCAL_BIA_URL"
STORE_VARIABLE = "PARFOCAL_BIA_STORE_URL"

_API = "https://www.ebi.ac.uk/biostudies"
_STORE = "https://uk1s3.embassy.ebi.ac.uk"
_BUCKET = "bia-integrator-data"
_PAGE = 1000
_NO_VALUES = ("path", "Name", "Size", "type", "Section", "Thumbnail", "size", "name")
_OWN = "file_"


def locate(source: BiaSource, retry: Retry | None = None) -> HttpSource:
    """Return the URL of a file or OME-Zarr of a study.

    Raises
    ------
    InputError
        If there is no such study.
    RemoteError
        If the archive does not answer.
    """
    return asyncio.run(locate_async(source, retry))


async def locate_async(source: BiaSource, retry: Retry | None = None) -> HttpSource:
    """Return what `locate` does, within a running loop."""
    link = await _link(WebApi(base_url(API_VARIABLE, _API), retry), source.accession)
    return HttpSource(_url(link, source.path))


def _url(link: str, path: str) -> str:
    return f"{link}/Files/{quote(path)}"


async def _link(api: WebApi, accession: str) -> str:
    """Return where the files of a study are."""
    info = await api.get(f"/api/v1/studies/{accession}/info")
    # Of a study that is not there, or not public, it says nothing.
    link = info.get("httpLink") if isinstance(info, dict) else None
    if not isinstance(link, str) or not link.startswith(("https://", "http://")):
        what = "The BioImage Archive has no such public study"
        remedy = "Check the accession; a study is public from its release date on."
        raise InputError(what, where=f"bia:{accession}", remedy=remedy)
    return link.rstrip("/")


def list_study(
    source: BiaSource, is_wanted: Callable[[str], bool], retry: Retry | None = None
) -> tuple[list[FoundImage], list[FoundImage]]:
    """Return the images of a study, or of a folder in it.

    Parameters
    ----------
    is_wanted : callable
        Tells by its path whether a file or OME-Zarr should be listed.

    Returns
    -------
    files, zarrs : list of FoundImage
        What the submitters sent, with its attributes as columns; and the OME-Zarrs that the
        archive made of some of it.

    Raises
    ------
    InputError
        If there is no such study.
    RemoteError
        If the archive does not answer.
    """
    return asyncio.run(_list_study(source, is_wanted, retry))


async def _list_study(
    source: BiaSource, is_wanted: Callable[[str], bool], retry: Retry | None
) -> tuple[list[FoundImage], list[FoundImage]]:
    api = WebApi(base_url(API_VARIABLE, _API), retry)
    link = await _link(api, source.accession)
    entries = _as_images(await _entries(api, source.accession))
    files = [
        _found(source.accession, entry, link)
        for entry in entries
        if _is_below(entry["path"], source.path) and is_wanted(_path(entry))
    ]
    if source.path:
        return files, []
    store = base_url(STORE_VARIABLE, _STORE)
    zarrs = await list_zarrs(store, _BUCKET, f"{source.accession}/", retry)
    found = [FoundImage(url, url.rsplit("/", 1)[-1]) for url in zarrs]
    return files, [image for image in found if is_wanted(image.name)]


def _as_images(entries: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Take the files within an OME-Zarr for the OME-Zarr, once."""
    found: dict[str, Mapping[str, Any]] = {}
    for entry in entries:
        root, mark, _ = str(entry["path"]).partition(".zarr/")
        path = f"{root}.zarr" if mark else root
        found.setdefault(path, {"path": path, "type": "directory"} if mark else entry)
    return list(found.values())


def _is_below(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(f"{folder}/")


def _path(entry: Mapping[str, Any]) -> str:
    """Return the path of an entry; folders other than OME-Zarrs with a slash at the end."""
    path = str(entry["path"])
    folder = entry.get("type") == "directory" and not path.endswith(".zarr")
    return f"{path}/" if folder else path


async def _entries(api: WebApi, accession: str) -> list[dict[str, Any]]:
    """Return what is told of each file of a study."""
    entries: list[dict[str, Any]] = []
    while True:
        query = [("start", len(entries)), ("length", _PAGE)]
        page = await api.get(f"/api/v1/files/{accession}", query)
        try:
            rows, total = page["data"], int(page["recordsTotal"])
            entries += [row for row in rows if row["path"] is not None]
        except (KeyError, TypeError, ValueError) as error:
            what = "The BioImage Archive did not answer with a list of files"
            where = f"{api.base}/api/v1/files/{accession}"
            raise RemoteError(what, where=where, found=f"{type(error).__name__} {error}") from error
        if not rows or len(entries) >= total:
            return entries


def _found(accession: str, entry: Mapping[str, Any], link: str) -> FoundImage:
    path = str(entry["path"]).strip("/")
    pairs = [
        (key, str(value))
        for key, value in entry.items()
        if key not in _NO_VALUES and not key.startswith(_OWN) and value not in (None, "", "null")
    ]
    columns = columns_of((key, value) for key, value in pairs if not _is_md5(key))
    size = entry.get("Size", entry.get("size"))
    if not path.endswith(".zarr") and str(size).isdecimal():
        columns["size_bytes"] = str(size)
    for key, value in pairs:
        if _is_md5(key):
            columns["md5"] = value
    source = BiaSource(accession, path)
    location = _url(link, path) if path.endswith(".zarr") else ""
    return FoundImage(source.uri, source.name, columns=columns, location=location)


def _is_md5(key: str) -> bool:
    return key.lower().replace(" ", "").replace("_", "") in ("md5", "md5sum", "md5checksum")
