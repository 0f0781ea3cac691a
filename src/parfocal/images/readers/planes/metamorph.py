"""The notes that MetaMorph and MetaXpress keep in each TIFF that they write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from parfocal.errors import InputError
from parfocal.images.readers.tiff.pixels import DAMAGE

__all__ = ["number", "pixel_size_um", "read_notes", "stage_um"]

_UM = {"um": 1.0, "µm": 1.0, "microns": 1.0, "micron": 1.0, "nm": 1e-3, "mm": 1e3}


def read_notes(path: Path) -> tuple[dict[str, str], bytes]:
    """Read the notes of the first plane of a TIFF.

    Returns
    -------
    dict of str to str
        Values by the ``id`` of each ``prop``; none where there are no such notes.
    bytes
        The notes as they are.

    Raises
    ------
    InputError
        If the TIFF is damaged.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            text = str(tiff.pages.first.description)
    except (tifffile.TiffFileError, OSError, *DAMAGE) as error:
        what = "The TIFF cannot be read"
        remedy = "The file is truncated or damaged: copy it again."
        raise InputError(what, where=path, found=error, remedy=remedy) from error
    try:
        root = ET.fromstring(text.strip().strip("\0"))  # noqa: S314 - expat limits entities
    except ET.ParseError:
        return {}, b""
    if root.tag != "MetaData":
        return {}, b""
    notes = {e.get("id", ""): e.get("value", "") for e in root.iter() if e.tag.endswith("prop")}
    return notes, text.encode()


def number(notes: Mapping[str, str], key: str) -> float | None:
    """Return a value as a number; None where it is not there or none."""
    try:
        value = float(notes[key])
    except (KeyError, ValueError):
        return None
    return value if abs(value) < float("inf") else None


def pixel_size_um(notes: Mapping[str, str]) -> dict[str, Any]:
    """Return ``y_um`` and ``x_um`` where the notes say them with a known unit."""
    unit = _UM.get(notes.get("spatial-calibration-units", "").strip().lower())
    if unit is None or notes.get("spatial-calibration-state", "on") != "on":
        return {}
    sizes = {axis: number(notes, f"spatial-calibration-{axis}") for axis in "yx"}
    return {f"{axis}_um": size * unit for axis, size in sizes.items() if size and size > 0}


def stage_um(notes: Mapping[str, str]) -> dict[str, Any]:
    """Return where the stage was, in micrometres, as far as the notes say."""
    keys = {"x": "stage-position-x", "y": "stage-position-y", "z": "z-position"}
    places = {f"stage_{axis}_um": number(notes, key) for axis, key in keys.items()}
    return {key: value for key, value in places.items() if value is not None}
