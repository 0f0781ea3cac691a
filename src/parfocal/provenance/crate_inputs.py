"""Copies of a run's inputs in its crate, so that it can be repeated where there is nothing else.

Also the lists of the digests of files of OME-Zarrs, by which a changed file is named later.

A file is copied as it is, an OME-Zarr as one zip file. What the crate says of the input itself
stays as it is; the copy is an entity of its own, the same as (``sameAs``) the input.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from parfocal.core.digest import digest_path, is_zarr, zarr_keys
from parfocal.core.zipped_zarr import find_zipped_zarr
from parfocal.models.record import Artifact
from parfocal.models.source import is_uri
from parfocal.provenance.crate_graph import Reference
from parfocal.provenance.crate_terms import media_type, short_digest
from parfocal.provenance.crate_zip import INPUTS, pack_files
from parfocal.provenance.verify_lists import LISTS, list_name

__all__ = ["InputCopy", "copy_inputs", "copy_lists"]

_CHUNK = 1 << 20
_KINDS = ("sha256", "zarr-merkle-sha256")


@dataclass(frozen=True)
class InputCopy:
    """A copy of an input, or of a list, in a crate.

    Attributes
    ----------
    path : str
        Its path in the crate.
    properties : dict
        What the crate says of it.
    """

    path: str
    properties: dict[str, Any]


def copy_inputs(
    folder: Path,
    inputs: Iterable[tuple[Reference, Artifact]],
    results: Path,
    warn: Callable[[str], None],
) -> list[InputCopy]:
    """Copy what a run took from this machine into the folder of its crate.

    What is not what it was then is not copied, and told; so is a folder that is no OME-Zarr.

    Parameters
    ----------
    folder : Path
        Of the crate; it exists.
    inputs : iterable of (Reference, Artifact)
        The entities of inputs, and what they are of. Those at URIs stay where they are.
    results : Path
        The results folder, which relative paths are relative to.
    """
    copies: dict[str, InputCopy] = {}
    for reference, artifact in inputs:
        place = f"{INPUTS}{short_digest(artifact.uri + artifact.digest)}"
        name = PurePosixPath(artifact.uri).name
        if is_uri(artifact.uri) or place in copies:
            continue
        source = results / artifact.uri
        path = f"{place}/{name}.zip" if is_zarr(source) else f"{place}/{name}"
        if fault := _copy(source, folder / path, artifact.digest):
            warn(f"{artifact.uri} is not copied into the crate: {fault}")
            continue
        copies[place] = InputCopy(path, _described(folder / path, reference))
    return list(copies.values())


def copy_lists(folder: Path, digests: Iterable[str], lists: Path) -> list[InputCopy]:
    """Copy the lists of OME-Zarrs, as far as there are any that are whole, into a crate.

    Parameters
    ----------
    digests : iterable of str
        Of the OME-Zarrs.
    lists : Path
        The folder of the lists.
    """
    copies = []
    for digest in digests:
        name, whole = list_name(digest), f"sha256:{digest.partition(':')[2]}"
        source, path = lists / name, LISTS + name
        if not source.is_file() or digest_path(source) != whole:
            continue
        (folder / LISTS).mkdir(exist_ok=True)
        _copy_file(source, folder / path)
        copies.append(InputCopy(path, _described(folder / path)))
    return copies


def _copy(source: Path, target: Path, expected: str) -> str | None:
    """Copy an input, unless it is not what it was; return what is wrong."""
    if not source.exists():
        return "nothing lies there any more"
    if expected.partition(":")[0] not in _KINDS or (source.is_dir() and not is_zarr(source)):
        return "it is a folder, and no OME-Zarr"
    target.parent.mkdir(parents=True)
    if source.is_dir():
        pack_files(((key, source / key) for key in zarr_keys(source)), target)
        packed = find_zipped_zarr(target)
        found = packed.digest() if packed else None
    else:
        found = _copy_file(source, target)
    if found == expected:
        return None
    target.unlink()
    target.parent.rmdir()
    return "it was changed since"


def _copy_file(source: Path, target: Path) -> str:
    digest = hashlib.sha256()
    with source.open("rb") as stream, target.open("xb") as sink:
        while block := stream.read(_CHUNK):
            digest.update(block)
            sink.write(block)
    return f"sha256:{digest.hexdigest()}"


def _described(copy: Path, same: Reference | None = None) -> dict[str, Any]:
    with copy.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    described = {
        "name": copy.name,
        "encodingFormat": "application/zip" if copy.suffix == ".zip" else media_type(copy.name),
        "contentSize": str(copy.stat().st_size),
        "sha256": digest,
    }
    return described | ({"sameAs": same} if same else {})
