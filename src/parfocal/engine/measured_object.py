"""Objects in the tables of measure-objects: read by the number of their row, or looked for."""

from __future__ import annotations

import csv
import itertools
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from parfocal.engine.changed_zarr import DAMAGE
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.base import Model, explain_validation
from parfocal.models.label_name import LabelName
from parfocal.models.naming import IMAGE_ID, is_image_id

__all__ = ["MeasuredObject", "find_row", "object_of", "read_row"]

_EXPECTED = "a Parquet or TSV file of measure-objects"
_PARQUET = b"PAR1"
_NUMBER = re.compile(r"-?[0-9]{1,19}")


def _image_id(text: str) -> str:
    if not is_image_id(text):
        msg = f"is not of the form {IMAGE_ID}, or too long"
        raise ValueError(msg)
    return text


ImageId = Annotated[str, AfterValidator(_image_id)]
Index = Annotated[int, Field(strict=True, ge=0, lt=1 << 63)]


class MeasuredObject(Model):
    """One object at one time point, and where in its label image it lies."""

    image_id: ImageId = Field(description="The row of the sample sheet.")
    label_name: LabelName
    label: Index = Field(description="Value of its pixels.")
    t: Index = Field(description="Time point.")
    bbox_z0: Index | None = Field(default=None, description="First plane.")
    bbox_z1: Index | None = Field(default=None, description="One past the last.")
    bbox_y0: Index | None = Field(default=None, description="First row.")
    bbox_y1: Index | None = Field(default=None, description="One past the last.")
    bbox_x0: Index | None = Field(default=None, description="First column.")
    bbox_x1: Index | None = Field(default=None, description="One past the last.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.label == 0:
            msg = "the label 0 is the background, and no object"
            raise ValueError(msg)
        for axis in "zyx":
            first, end = self.bounds(axis) or (0, 1)
            if end <= first:
                msg = f"the bounding box ends at {axis} {end}, before it begins at {first}"
                raise ValueError(msg)
        return self

    def bounds(self, axis: str) -> tuple[int, int] | None:
        """Return the first index along an axis, and one past the last; None where not known."""
        if axis == "t":
            return self.t, self.t + 1
        first, end = (getattr(self, f"bbox_{axis}{which}", None) for which in "01")
        return None if first is None or end is None else (first, end)

    @property
    def known_as(self) -> dict[str, Any]:
        """What tells it from all other objects."""
        return self.model_dump(include={"image_id", "label_name", "label", "t"})


_COLUMNS = tuple(MeasuredObject.model_fields)
_REQUIRED = tuple(n for n, field in MeasuredObject.model_fields.items() if field.is_required())


def read_row(table: Path, row: int) -> MeasuredObject:
    """Read a row of a table of objects.

    Parameters
    ----------
    table : Path
        A Parquet or TSV file; its content tells which.
    row : int
        Number of the row, from 0.

    Raises
    ------
    ConfigurationError
        If there is no such row.
    InputError
        If the table cannot be read, or is none of measure-objects.
    """
    try:
        if table.exists() and not table.is_file():
            what = "The table is no file"
            raise InputError(what, where=table, expected=_EXPECTED)
        with table.open("rb") as stream:
            is_parquet = stream.read(len(_PARQUET)) == _PARQUET
        found, total = (_of_parquet if is_parquet else _of_text)(table, row)
    except (*DAMAGE, csv.Error) as error:
        what = "The table cannot be read"
        raise InputError(what, where=table, expected=_EXPECTED, found=error) from error
    if found is None:
        what = "The table has no such row"
        expected = f"0 to {total - 1}" if total else "no row: there is no object"
        raise ConfigurationError(what, where=table, expected=expected, found=row)
    return object_of(found, f"{table}, row {row}")


def object_of(values: Mapping[str, Any], where: str) -> MeasuredObject:
    """Return the object that some values tell of.

    Raises
    ------
    InputError
        If there can be no such object.
    """
    try:
        return MeasuredObject.model_validate(values)
    except ValidationError as error:
        what = "There can be no such object"
        remedy = "Name the table, or the results folder, as the steps wrote it."
        told = explain_validation(error)
        raise InputError(what, where=where, found=told, remedy=remedy) from error


def find_row(table: Path, t: int, label: int) -> int | None:
    """Return the number of the row of an object in a Parquet file; None where it has none.

    Raises
    ------
    InputError
        If the table cannot be read.
    """
    import numpy as np
    import pyarrow.parquet as pq

    start = 0
    try:
        with pq.ParquetFile(table) as file:
            for group in range(file.metadata.num_row_groups):
                part = file.read_row_group(group, columns=["t", "label"])
                here = (part["t"].to_numpy() == t) & (part["label"].to_numpy() == label)
                if here.any():
                    return start + int(np.argmax(here))
                start += part.num_rows
    except DAMAGE as error:
        what = "The table cannot be read"
        raise InputError(what, where=table, expected=_EXPECTED, found=error) from error
    return None


def _check_columns(names: list[str], table: Path) -> None:
    if missing := [name for name in _REQUIRED if name not in names]:
        what = "The table is none of measure-objects: columns are missing"
        raise InputError(
            what, where=table, expected=", ".join(_REQUIRED), found=f"no {', '.join(missing)}"
        )
    if len(set(names)) < len(names):
        what = "The table is none of measure-objects: two columns have one name"
        raise InputError(what, where=table)


def _of_parquet(table: Path, row: int) -> tuple[Mapping[str, Any] | None, int]:
    """Return a row, or None where there is none; and how many there are."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(table) as file:
        names = list(file.schema_arrow.names)
        _check_columns(names, table)
        wanted = [name for name in _COLUMNS if name in names]
        start = 0
        for group in range(file.metadata.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            if start <= row < start + size:
                part = file.read_row_group(group, columns=wanted)
                return part.slice(row - start, 1).to_pylist()[0], file.metadata.num_rows
            start += size
        return None, start


def _of_text(table: Path, row: int) -> tuple[Mapping[str, Any] | None, int]:
    """Return a row, or None where there is none; and how many there are."""
    with table.open(encoding="utf-8", newline="") as stream:
        lines = csv.reader(stream, delimiter="\t", strict=True)
        names = next(lines, [])
        _check_columns(names, table)
        if row >= 0:
            skipped = sum(1 for _ in itertools.islice(lines, min(row, sys.maxsize)))
            cells = next(lines, None)
        else:
            skipped, cells = sum(1 for _ in lines), None
    if cells is None:
        return None, skipped
    if len(cells) != len(names):
        what = "A row of the table has not as many cells as there are columns"
        where = f"{table}, row {row}"
        raise InputError(what, where=where, expected=len(names), found=len(cells))
    values = {name: text for name, text in zip(names, cells, strict=True) if name in _COLUMNS}
    return {name: _value(name, text) for name, text in values.items()}, row + 1


def _value(name: str, text: str) -> str | int | None:
    """Return what a cell says, as the Parquet file would have it."""
    is_text = name in ("image_id", "label_name")
    return int(text) if not is_text and _NUMBER.fullmatch(text) else (text or None)
