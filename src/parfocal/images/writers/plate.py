"""Join the fields of a plate in one OME-Zarr that shares their chunks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parfocal.core.digest import zarr_keys
from parfocal.errors import InputError
from parfocal.images.readers.ome_zarr import OmeZarrSource, read_attributes
from parfocal.images.readers.registry import ReadOptions
from parfocal.images.writers.groups import write_group
from parfocal.images.writers.sharing import share_all

__all__ = ["PlateField", "parse_well", "write_plate"]

_WELL = re.compile(r"([A-Za-z]{1,2})[ ./_-]?0*([1-9][0-9]{0,2})")


@dataclass(frozen=True)
class PlateField:
    """One field of a plate.

    Parameters
    ----------
    path : Path
        The OME-Zarr of its image.
    well : str
        Its well, such as ``B02``, ``B2`` or ``B/2``.
    field : str
        Its name within the well; may be empty where the well has no other.
    image_id : str
        For errors.
    """

    path: Path
    well: str
    field: str
    image_id: str


def parse_well(text: str) -> tuple[str, int]:
    """Return row and column of a well: ``("B", 2)`` of ``B02``, ``b2``, ``B/2`` or ``B - 2``.

    Raises
    ------
    InputError
        If it is not one or two letters and a number from 1 on.
    """
    found = _WELL.fullmatch(text.strip().replace(" ", ""))
    if found is None:
        what = "The name of a well is not one or two letters and a number"
        remedy = "Write wells as B02 in the sheet's column."
        raise InputError(what, where=f"well {text!r}", expected="such as B02", remedy=remedy)
    return found[1].upper(), int(found[2])


def write_plate(
    target: Path,
    name: str,
    fields: Sequence[PlateField],
    progress: Callable[[int, int], None],
) -> dict[str, int]:
    """Write an OME-NGFF plate of converted fields.

    Rows and columns go from A and 1 to the last that has an image, so that the place of a well
    shows. Files are hard links, or clones or copies where there can be none; the images' bytes
    and digests stay as they are.

    Parameters
    ----------
    target : Path
        Folder to be made.
    name : str
        Name of the plate.
    fields : sequence of PlateField
        Its fields in any order.
    progress : callable
        Called as ``progress(done, total)`` with numbers of files.

    Returns
    -------
    dict of str to int
        How many files were ``linked``, ``cloned`` and ``copied``, and the numbers of ``wells``
        and ``fields``.

    Raises
    ------
    InputError
        If a well has a field twice, or fields differ in version, axes, sizes, data type or
        channels.

    Source: OME-NGFF, ``plate`` and ``well`` metadata, https://ngff.openmicroscopy.org/0.5.
    """
    version = _check_alike(fields)
    wells = _wells(fields)
    placed = {
        Path(row, str(column), path): field.path
        for (row, column), inside in wells.items()
        for path, field in inside.items()
    }
    jobs = [
        (source / key, target / place / key)
        for place, source in placed.items()
        for key in zarr_keys(source)
    ]
    counts = share_all(jobs, progress)
    for (row, column), inside in wells.items():
        well = {"version": version, "images": [{"path": path} for path in inside]}
        write_group(target / row / str(column), {"well": well}, version)
        write_group(target / row, {}, version)
    plate = _plate(name, {well: len(inside) for well, inside in wells.items()})
    write_group(target, {"plate": {"version": version} | plate}, version)
    return counts | {"wells": len(wells), "fields": len(fields)}


def _wells(fields: Sequence[PlateField]) -> dict[tuple[str, int], dict[str, PlateField]]:
    """Return the fields of each well by their paths, all in the order of the plate."""
    wells: dict[tuple[str, int], list[PlateField]] = {}
    for field in fields:
        wells.setdefault(parse_well(field.well), []).append(field)
    order = sorted(wells, key=lambda well: (_row_index(well[0]), well[1]))
    return {well: _paths(sorted(wells[well], key=_natural)) for well in order}


def _natural(field: PlateField) -> tuple[int, str]:
    return (int(field.field), "") if field.field.isdecimal() else (1 << 31, field.field)


def _paths(fields: list[PlateField]) -> dict[str, PlateField]:
    """Name the fields of a well as the sheet does where NGFF allows that, else by number."""
    twice = [name for name, count in Counter(field.field for field in fields).items() if count > 1]
    if twice:
        same = [field.image_id for field in fields if field.field == twice[0]]
        what = "A well has a field twice"
        where = f"well {fields[0].well}, field {twice[0] or '(no name)'}"
        remedy = "Give each field of a well its own number in the sheet's column, or one row only."
        raise InputError(what, where=where, found=", ".join(same), remedy=remedy)
    plain = all(re.fullmatch("[A-Za-z0-9]+", field.field) for field in fields)
    return {field.field if plain else str(n): field for n, field in enumerate(fields)}


def _row_index(letters: str) -> int:
    """Return the place of a row: A is 0, Z is 25, AA is 26."""
    index = 0
    for letter in letters:
        index = index * 26 + ord(letter) - ord("A") + 1
    return index - 1


def _row_name(index: int) -> str:
    return (
        chr(ord("A") + index) if index < 26 else _row_name(index // 26 - 1) + _row_name(index % 26)
    )


def _plate(name: str, wells: dict[tuple[str, int], int]) -> dict[str, Any]:
    rows = range(max(_row_index(row) for row, _ in wells) + 1)
    columns = range(1, max(column for _, column in wells) + 1)
    return {
        "name": name,
        "rows": [{"name": _row_name(row)} for row in rows],
        "columns": [{"name": str(column)} for column in columns],
        "wells": [
            {"path": f"{row}/{column}", "rowIndex": _row_index(row), "columnIndex": column - 1}
            for row, column in wells
        ],
        "field_count": max(wells.values()),
    }


def _check_alike(fields: Sequence[PlateField]) -> str:
    """Refuse fields that are not alike; return their version of NGFF."""
    seen: dict[str, tuple[object, str]] = {}
    for field in fields:
        for what, found in _traits(field.path).items():
            expected, first = seen.setdefault(what, (found, field.image_id))
            if found != expected:
                message = f"The {what} of the fields of a plate differ"
                remedy = "Convert them alike, or take the one that differs out of the sheet."
                where = f"images {first} and {field.image_id}"
                raise InputError(
                    message, where=where, expected=expected, found=found, remedy=remedy
                )
    return str(seen["versions of NGFF"][0])


def _traits(path: Path) -> dict[str, object]:
    """Return in what all fields of a plate must be alike."""
    with OmeZarrSource(path, ReadOptions()) as source:
        metadata = source.image(source.choose("")).metadata
    ome = read_attributes(path)["ome"]
    version = ome.get("version") or ome["multiscales"][0].get("version")
    return {
        "versions of NGFF": str(version),
        "axes": metadata.axes,
        "sizes": metadata.shape,
        "data types": metadata.dtype,
        "channels": metadata.channel_names(),
    }
