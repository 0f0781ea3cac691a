"""The documents of Zarr groups, in either version of Zarr."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from parfocal.errors import InputError

__all__ = ["read_document", "write_document", "write_group"]


def write_group(path: Path, ngff: Mapping[str, Any], version: str) -> None:
    """Write the documents of a Zarr group.

    Parameters
    ----------
    path : Path
        The group, which is made if it is not there.
    ngff : mapping
        What OME-NGFF says of it; without ``version``, which is added where it belongs.
    version : {"0.5", "0.4"}
        Version of OME-NGFF.
    """
    if version == "0.4":
        write_document(path / ".zgroup", {"zarr_format": 2})
        write_document(path / ".zattrs", ngff)
        return
    attributes = {"ome": {"version": version, **ngff}}
    group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    write_document(path / "zarr.json", group)


def read_document(path: Path) -> dict[str, Any]:
    """Read the JSON of a group or array.

    Raises
    ------
    InputError
        If it is missing, or no JSON object.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        what = "The metadata of an OME-Zarr cannot be read"
        remedy = "Check that the path is that of an OME-Zarr."
        raise InputError(what, where=path, found=error, remedy=remedy) from error
    if not isinstance(document, dict):
        what = "The metadata of an OME-Zarr is not valid"
        found = type(document).__name__
        raise InputError(what, where=path, expected="a JSON object", found=found)
    return document


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Write the JSON of a group or array, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
