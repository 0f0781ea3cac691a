"""Find the file to open in a folder of fetched originals."""

from __future__ import annotations

import json
from pathlib import Path

from parfocal.errors import InputError

__all__ = ["primary_path"]

_FORMAT = "parfocal-manifest-1"


def primary_path(source: Path) -> Path:
    """Return what to open: `source` itself, or what the manifest in it names as primary.

    Parameters
    ----------
    source : Path
        A file, an OME-Zarr, or a folder that holds ``manifest.json``.

    Returns
    -------
    Path
        Relative names in the manifest are relative to its folder.

    Raises
    ------
    InputError
        If the manifest is not valid.
    """
    manifest = source / "manifest.json"
    if not manifest.is_file():
        return source
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        found, primary = content["format"], content["primary"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = "The manifest of the fetched files cannot be read"
        remedy = "Fetch them again."
        raise InputError(what, where=manifest, found=repr(error), remedy=remedy) from error
    if found != _FORMAT or not isinstance(primary, str) or not primary:
        what = "The manifest of the fetched files is of another kind"
        expected = f"format {_FORMAT} with a primary path"
        raise InputError(what, where=manifest, expected=expected, found=found)
    return source / primary
