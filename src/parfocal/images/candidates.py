"""Tell whether a file should hold an image, and whether others belong to it."""

from __future__ import annotations

from pathlib import Path

from parfocal.core.zipped_zarr import find_zipped_zarr, is_zip
from parfocal.errors import InputError
from parfocal.images.readers.registry import FORMATS, HEAD_BYTES, find_format

__all__ = ["is_image", "is_image_name", "leads"]

# Formats that only Bio-Formats reads; it reads more, whose names say less.
_OTHERS = (
    *(".jp2", ".bmp", ".gif", ".zvi", ".vsi", ".sld", ".flex", ".mvd2", ".mrc", ".1sc", ".ids"),
    *(".ics", ".lei", ".obf", ".msr", ".oir", ".pic", ".sif", ".spe", ".ipl", ".ipw", ".xdce"),
    *(".nrrd", ".fits", ".dm3", ".dm4", ".cxd", ".lms", ".al3d", ".am", ".mnc"),
)
_DICOM_FOLDER = b"1.2.840.10008.1.3.10"  # a DICOMDIR: the list of files on a medium
_SETS = ("imagexpress", "operetta", "cellvoyager", "fileset")
_LEADERS = (
    *(end for format_ in FORMATS if format_.module in _SETS for end in format_.suffixes),
    *(".companion.ome", ".dcm", ".oif", ".vsi", ".mrxs", ".vms", ".vmu", ".xlef", ".mvd2"),
    *(".lei", ".xdce"),
)
_ZIPPED = (".zarr.zip", ".ozx")
_SUFFIXES = (*(end for format_ in FORMATS for end in format_.suffixes), *_OTHERS)


def is_image_name(name: str) -> bool:
    """Tell whether a file of this name should hold an image, or be the index of a set."""
    return _has(name, _SUFFIXES)


def is_image(path: Path) -> bool:
    """Tell by its name, or else by its first bytes, whether a file should hold an image.

    Raises
    ------
    OSError
        If it may not be read.
    """
    if is_image_name(path.name):
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if is_zip(path):
        return _holds_zarr(path)
    return find_format(path, head) is not None and _DICOM_FOLDER not in head


def _holds_zarr(path: Path) -> bool:
    """Tell whether a zip file holds an OME-Zarr, or one that will be refused when it is read."""
    try:
        return find_zipped_zarr(path) is not None
    except InputError:
        return _has(path.name, _ZIPPED)


def leads(path: Path) -> bool:
    """Tell whether a file stands for others, which are no images of their own."""
    return _has(path.name, _LEADERS)


def _has(name: str, endings: tuple[str, ...]) -> bool:
    """Tell whether a name has one of the endings; those without a dot are whole names."""
    low = name.lower()
    return any(low.endswith(end) if end.startswith(".") else low == end for end in endings)
