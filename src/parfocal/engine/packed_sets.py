"""Inputs that are a zip file of an image and the files that belong to it."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

from parfocal.core.zipped_zarr import is_zip, zipped_files
from parfocal.engine.job import Job
from parfocal.errors import InputError

__all__ = ["unpack_sets"]

logger = logging.getLogger(__name__)

_TOLD = 5
_REMEDY = "Pack one image with all files that belong to it, and convert others by themselves."


def unpack_sets(job: Job, others: Collection[str], scratch: Path) -> dict[str, Path]:
    """Unpack zip files that are given where any image may be, and return which file to open.

    Parameters
    ----------
    job : Job
        What is attempted.
    others : collection of str
        The inputs that are packed in another way.
    scratch : Path
        Where to make a folder for each.

    Raises
    ------
    InputError
        If a zip file is damaged or unsafe, or does not hold one image.
    StorageError
        If there is no room for it.
    """
    unpacked = {}
    for port in job.step.inputs:
        path = job.inputs.get(port.name)
        if path is None or port.kind != "file" or port.name in others or not is_zip(path):
            continue
        folder = scratch / f"set-{port.name}"
        folder.mkdir()
        unpacked[port.name] = _image_in(zipped_files(path).unpack(folder), path)
        logger.info("Took %s in the zip file for the input %s", unpacked[port.name].name, port.name)
    return unpacked


def _image_in(folder: Path, path: Path) -> Path:
    """Return the one image in the folder that a zip file was unpacked to."""
    from parfocal.images import other_files
    from parfocal.images.candidates import is_image, leads

    folder = folder.absolute()  # as the paths of belonging files are
    files = sorted(file for file in folder.rglob("*") if file.is_file() and _counts(file, folder))
    waiting = [file for file in files if leads(file)] or [file for file in files if is_image(file)]
    found: list[Path] = []
    while waiting:
        first = waiting.pop(0)
        belonging = set(other_files(first))
        waiting = [file for file in waiting if file not in belonging]
        found = [*(file for file in found if file not in belonging), first]
    if len(found) == 1:
        return found[0]
    what = "The zip file does not hold one image"
    names = [file.relative_to(folder).as_posix() for file in found or files]
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    told = f"{len(found) or 'none'}: {', '.join(names[:_TOLD])}{more}"
    expected = "an OME-Zarr, or an image and the files that belong to it"
    raise InputError(what, where=path, expected=expected, found=told, remedy=_REMEDY)


def _counts(file: Path, folder: Path) -> bool:
    """Tell whether a file is more than what systems leave in folders."""
    parts = file.relative_to(folder).parts
    return not any(part.startswith(".") or part == "__MACOSX" for part in parts)
