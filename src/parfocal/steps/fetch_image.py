"""Step ``fetch-image``: have the originals of a source at hand, with a manifest of digests."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from parfocal.core.digest import digest_path, is_zarr, size_of, zarr_keys
from parfocal.core.publish import write_json
from parfocal.core.step import Context, Port, Step
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.base import Parameters
from parfocal.models.manifest import MANIFEST_NAME, Manifest, ManifestFile
from parfocal.models.sheet import Row
from parfocal.models.source import HttpSource, parse_source
from parfocal.steps import SUMMARIES

if TYPE_CHECKING:
    from parfocal.remote.site import Download

__all__ = ["STEP", "FetchImageParams", "run"]

_TOLD = 10
_MANY_FILES = 500
_LOOK_S = 10.0
_looks: dict[Path, tuple[float, str]] = {}
"""The latest look at a source of many files, which its images share, and until when it counts."""


class FetchImageParams(Parameters):
    """What to fetch."""

    source: str | None = Field(
        default=None,
        min_length=1,
        description="Path or URI of the image; only where no sample sheet says it.",
    )


def run(
    inputs: Mapping[str, Path],  # noqa: ARG001
    outputs: Mapping[str, Path],
    params: FetchImageParams,
    context: Context,
) -> None:
    """Write the folder of originals: local files stay in place, remote ones are downloaded.

    Raises
    ------
    ConfigurationError
        If there is no source, it is not valid or not supported, or the parameter and the
        sample sheet name different ones.
    InputError
        If a local source is missing, may not be read, or is a folder but no OME-Zarr.
    RemoteError
        If a remote one cannot be downloaded.
    """
    text = _source(params, context.row)
    source = parse_source(text)
    folder = outputs["original"]
    folder.mkdir()
    if isinstance(source, HttpSource):
        manifest = _download(text, source, folder, context)
    else:
        manifest = _leave_in_place(text, source.path, context)
    write_json(folder / MANIFEST_NAME, manifest.model_dump(exclude_none=True))
    context.details["bytes"] = sum(file.size_bytes for file in manifest.files)


def _source(params: FetchImageParams, row: Row | None) -> str:
    stated = row.source if row else None
    if params.source and stated and params.source != stated:
        what = "The parameter 'source' and the sample sheet name different sources"
        where = f"image {row.image_id}" if row else None
        remedy = "Leave out the parameter: in a batch each image has the source of its row."
        found = repr(params.source)
        raise ConfigurationError(
            what, where=where, expected=repr(stated), found=found, remedy=remedy
        )
    text = params.source or stated
    if text is None:
        what = "There is no source to fetch"
        remedy = "Set the parameter 'source', or give a sample sheet."
        raise ConfigurationError(what, where="parameter source", remedy=remedy)
    return text


def _leave_in_place(text: str, path: Path, context: Context) -> Manifest:
    path = path.absolute()
    try:
        mere_folder = path.is_dir() and not is_zarr(path)
    except PermissionError as error:
        what = "The source may not be read"
        remedy = "Give yourself read permission, or name another file."
        raise InputError(what, where=path, remedy=remedy) from error
    if mere_folder:
        what = "The source is a folder, but no OME-Zarr"
        remedy = "Let 'parfocal list-images' write a row for each image in it."
        expected = "a file, or a folder with zarr.json, .zgroup or .zattrs"
        raise InputError(what, where=path, expected=expected, remedy=remedy)
    there = [path, *(file for file in _other_files(path, context) if _is_there(file))]
    files = tuple(_entry(file, str(file), context) for file in there)
    return Manifest(source=text, files=files, primary=str(path))


def _other_files(path: Path, context: Context) -> list[Path]:
    """Return the other files of a set, there or not; the latter are told."""
    from parfocal.images import other_files

    if is_zarr(path):
        return []
    try:
        files = other_files(path)
    except InputError as error:
        context.warn(f"The source cannot be read: only the file itself is kept: {error}")
        return []
    missing = [str(file) for file in files if not _is_there(file)]
    if missing:
        more = f" and {len(missing) - _TOLD} more" if len(missing) > _TOLD else ""
        context.warn(
            f"{path}: {len(missing)} files of the set are missing, and their images will fail: "
            f"{', '.join(missing[:_TOLD])}{more}"
        )
    return files


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False  # such as a name that is too long for any file


def _entry(path: Path, shown: str, context: Context) -> ManifestFile:
    digest = digest_path(path, context.threads)
    return ManifestFile(path=shown, size_bytes=size_of(path), digest=digest)


def _download(text: str, source: HttpSource, folder: Path, context: Context) -> Manifest:
    from parfocal.remote.fetch import fetch

    if source.name == MANIFEST_NAME:
        what = "The source has the name that Parfocal gives to its manifest"
        raise ConfigurationError(what, where=source.url, remedy="Name the URL of an image.")
    fetched = fetch(source, folder, context.progress)
    name = fetched.path.name
    if fetched.file:
        files = [_downloaded(name, fetched.file)]
        files += _download_named(source, fetched.path, context)
        return Manifest(source=text, files=tuple(files), primary=name)
    context.details |= {"chunks": fetched.keys, "absent_chunks": fetched.absent}
    for array in fetched.empty_arrays:
        context.warn(
            f"{source.url}: the server has no chunk of array {array}: it reads as fill value only"
        )
    if fetched.taken_as_absent:
        context.warn(
            f"{source.url}: the server refused {fetched.taken_as_absent} keys with status 403 "
            "as it does for keys that it does not have: they were taken as absent"
        )
    entry = _entry(fetched.path, name, context)
    return Manifest(source=text, files=(entry,), primary=name)


def _downloaded(name: str, file: Download) -> ManifestFile:
    return ManifestFile(path=name, size_bytes=file.size_bytes, digest=file.digest, etag=file.etag)


def _download_named(source: HttpSource, path: Path, context: Context) -> Iterator[ManifestFile]:
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
            context.warn(f"{source.url} names the file {name}, which the server does not have")
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


def _state(params: FetchImageParams, row: Row | None) -> str:
    """Say whether a local source changed: its place, sizes and modification times.

    What lies at a URL is taken to stay the same.
    """
    text = _source(params, row)
    source = parse_source(text)
    if isinstance(source, HttpSource):
        return text
    path = source.path.absolute()
    known = _looks.get(path)
    if known and time.monotonic() < known[0]:
        return known[1]
    count, state = _look(path)
    _looks.clear()
    if count >= _MANY_FILES:
        _looks[path] = (time.monotonic() + _LOOK_S, state)
    return state


def _look(path: Path) -> tuple[int, str]:
    """Return how many files a source has, and their state."""
    try:
        if is_zarr(path):
            stats = [(path / key).stat() for key in zarr_keys(path)]
        else:
            stats = [path.stat(), *(file.stat() for file in _known_files(path) if file.is_file())]
    except OSError as error:
        return 0, f"{path} {os.strerror(error.errno or 0)}"
    newest = max(stat.st_mtime_ns for stat in stats)
    size = sum(stat.st_size for stat in stats)
    return len(stats), f"{path} {len(stats)} files {size} bytes {newest}"


def _known_files(path: Path) -> list[Path]:
    """Return the other files of a set, as far as they are known without reading images."""
    from parfocal.images.candidates import leads
    from parfocal.images.opening import format_of, other_files
    from parfocal.remote.filesets import named_files

    try:
        format_ = format_of(path)
        if format_ is None:  # Java would have to be started
            return []
        if format_.module == "tiff" and not leads(path):
            return [path.with_name(name) for name in named_files(path)]
        return other_files(path)
    except InputError:
        return []


STEP = Step(
    name="fetch-image",
    version="1",
    summary=SUMMARIES["fetch-image"],
    params=FetchImageParams,
    inputs=(),
    outputs=(
        Port(
            "original",
            "folder",
            "originals/{source_key}",
            "Folder of the originals with their manifest.",
        ),
    ),
    run=run,
    state=_state,
)
