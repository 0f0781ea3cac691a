"""Inputs as a step wants them: unpacked where they are packed, and called what they are."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from parfocal.core.digest import is_zarr
from parfocal.core.step import Port
from parfocal.core.zipped_zarr import ZippedZarr, find_zipped_zarr, is_zip
from parfocal.engine.job import Job
from parfocal.errors import InputError
from parfocal.models.manifest import MANIFEST_NAME, read_manifest

__all__ = ["inner_zarr", "renamed_inputs", "unpack", "zipped_inputs"]

logger = logging.getLogger(__name__)

_IMAGES = ("ome-zarr", "image")
_KINDS = (*_IMAGES, "file")


def inner_zarr(port: Port, path: Path) -> Path:
    """Return the one OME-Zarr in a folder that is given as an image, or `path` as it is.

    Galaxy keeps an OME-Zarr in a folder around it.
    """
    if port.kind not in _KINDS or not path.is_dir() or is_zarr(path):
        return path
    inside = [entry for entry in sorted(path.iterdir()) if is_zarr(entry)]
    if len(inside) != 1 or (path / MANIFEST_NAME).exists():
        return path
    logger.info("Took %s for the input %s", inside[0], port.name)
    return inside[0]


def zipped_inputs(job: Job) -> dict[str, ZippedZarr]:
    """Return the inputs that are an OME-Zarr in a zip file, by the names of the ports.

    Raises
    ------
    InputError
        If a zip file is given as an image and holds none or several, or cannot be read safely.
    """
    found = {}
    for port in job.step.inputs:
        path = job.inputs.get(port.name)
        if path is None or port.kind not in _KINDS:
            continue
        path = _original(path)
        zipped = find_zipped_zarr(path, job.names.get(port.name))
        if zipped is not None:
            found[port.name] = zipped
        elif port.kind in _IMAGES and is_zip(path):
            what = f"The zip file given as '{port.name}' holds no OME-Zarr"
            expected = "a zarr.json or .zgroup at its root, or in a folder of it"
            remedy = "Pack the folder of the OME-Zarr itself."
            raise InputError(what, where=path, expected=expected, remedy=remedy)
    return found


def _original(path: Path) -> Path:
    """Return the only file of a fetched folder, or `path` itself."""
    if not (path / MANIFEST_NAME).is_file():
        return path
    manifest = read_manifest(path)
    alone = len(manifest.files) == 1 and not manifest.series
    return manifest.primary_path(path) if alone else path


def renamed_inputs(job: Job, scratch: Path) -> dict[str, Path]:
    """Link the input files that have other names than theirs, each into a folder of its own.

    Readers then see their true names, and nothing that lies beside them.
    """
    renamed = {}
    for name, called in job.names.items():
        path = job.inputs.get(name)
        if path is not None and path.is_file():
            folder = scratch / f"named-{name}"
            folder.mkdir()
            renamed[name] = folder / called
            renamed[name].symlink_to(path.resolve())
    return renamed


def unpack(zipped: Mapping[str, ZippedZarr], scratch: Path) -> dict[str, Path]:
    """Unpack inputs into folders of their own in `scratch`, and return where they lie.

    Raises
    ------
    InputError
        If a zip file is damaged.
    StorageError
        If there is no room for it.
    """
    unpacked = {}
    for name, one in zipped.items():
        folder = scratch / f"input-{name}"
        folder.mkdir()
        unpacked[name] = one.unpack(folder)
    return unpacked
