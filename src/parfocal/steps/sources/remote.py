"""Sources on web servers and in object stores: downloaded, as wholes or in part."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from parfocal.errors import ConfigurationError, InputError
from parfocal.models.manifest import MANIFEST_NAME, Manifest, ManifestFile
from parfocal.models.source import HttpSource, S3Source
from parfocal.steps.sources.entry import entry_of
from parfocal.steps.sources.order import Order
from parfocal.steps.sources.part import crop_zarr, refuse_part, write_zarr_part

if TYPE_CHECKING:
    from parfocal.core.step import Context
    from parfocal.remote.fetch import Fetched
    from parfocal.remote.partial import Download, Expected

__all__ = ["fetch_remote"]

_CHECKED = ("size_bytes", "md5", "sha256")


def fetch_remote(source: HttpSource | S3Source, order: Order) -> Manifest:
    """Download a file, or the OME-Zarr of one image, or a part of it.

    Size and digests that the row of the sheet tells are those of a file, and are compared.

    Raises
    ------
    ConfigurationError
        If it is not one image, or a part of a file is wanted.
    InputError
        If the OME-Zarr is not valid.
    RemoteError
        If the server refuses, breaks off, or does not answer.
    VerificationError
        If a file is not the one that the row announces.
    """
    from parfocal.remote.fetch import fetch

    if source.name == MANIFEST_NAME:
        what = "The source has the name that Parfocal gives to its manifest"
        raise ConfigurationError(what, where=order.text, remedy="Name the URL of an image.")
    if order.part:
        return _fetch_part(source, order)
    context = order.context
    start = time.monotonic()
    fetched = fetch(source, order.folder, context.progress, expected=_expected(context))
    context.details["transfer"] = _rate(fetched.received, time.monotonic() - start)
    name = fetched.path.name
    if fetched.file:
        files = [_downloaded(name, fetched.file)]
        files += _download_named(source, fetched.path, context)
        return Manifest(source=order.text, files=tuple(files), primary=name)
    _tell(fetched, order.text, context)
    entry = entry_of(fetched.path, name, context)
    return Manifest(source=order.text, files=(entry,), primary=name)


def _rate(received: int, seconds: float) -> dict[str, float]:
    return {"bytes": received, "seconds": round(seconds, 3)}


def _expected(context: Context) -> Expected | None:
    """Return what the row of the sheet tells of the file."""
    from parfocal.remote.partial import Expected

    free = context.row.free if context.row else {}
    told = {name: free[name].strip().lower() for name in _CHECKED if free.get(name, "").strip()}
    if not told:
        return None
    size = told.get("size_bytes")
    if size is not None and not size.isdecimal():
        what = "The size of a file in the sample sheet is not a whole number"
        raise ConfigurationError(what, where="column size_bytes", found=repr(size))
    return Expected(int(size) if size else None, told.get("md5"), told.get("sha256"))


def _fetch_part(source: HttpSource | S3Source, order: Order) -> Manifest:
    from parfocal.remote.region import fetch_region, open_levels

    context = order.context
    start = time.monotonic()
    levels = open_levels(source, context.scratch)
    if levels is None:
        raise refuse_part(order.text)
    if levels.labels:
        context.warn(f"{order.text}: label images are not fetched with a part of their image")
    crop = crop_zarr(levels.root, order)
    received = fetch_region(levels, crop.level, crop.bounds, context.progress)
    context.details["transfer"] = _rate(received, time.monotonic() - start)
    return write_zarr_part(levels.root, crop, source.name, order)


def _tell(fetched: Fetched, text: str, context: Context) -> None:
    context.details |= {"chunks": fetched.keys, "absent_chunks": fetched.absent}
    for array in fetched.empty_arrays:
        context.warn(
            f"{text}: the server has no chunk of array {array}: it reads as fill value only"
        )
    if fetched.taken_as_absent:
        context.warn(
            f"{text}: the server refused {fetched.taken_as_absent} keys with status 403 "
            "as it does for keys that it does not have: they were taken as absent"
        )


def _downloaded(name: str, file: Download) -> ManifestFile:
    return ManifestFile(path=name, size_bytes=file.size_bytes, digest=file.digest, etag=file.etag)


def _download_named(
    source: HttpSource | S3Source, path: Path, context: Context
) -> Iterator[ManifestFile]:
    """Download the other files of a set; what the server does not have, the reader will miss."""
    from parfocal.remote.fetch import fetch_beside

    asked = {path.name}
    for name in _names_beside(path):
        if name in asked:
            continue
        asked.add(name)
        (path.parent / name).parent.mkdir(parents=True, exist_ok=True)
        file = fetch_beside(source, name, path.parent)
        if file is None:
            context.warn(f"{source.uri} names the file {name}, which the server does not have")
        else:
            yield _downloaded(name, file)


def _names_beside(path: Path) -> Iterator[str]:
    """Iterate over the names of other files of a set, below the folder of `path`."""
    from parfocal.images import other_files
    from parfocal.images.candidates import leads
    from parfocal.remote.filesets import named_files

    for name in named_files(path):
        yield name
        # The file that a TIFF names may be the one that describes the set.
        yield from named_files(path.with_name(name))
    if leads(path):
        try:
            files = other_files(path)
        except InputError:
            return  # its reader will tell why
        yield from (
            file.relative_to(path.parent).as_posix()
            for file in files
            if path.parent in file.parents and ".." not in file.parts
        )
