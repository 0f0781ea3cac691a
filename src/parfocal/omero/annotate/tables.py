"""Tables of the results as OMERO.tables, written and read a part after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parfocal.errors import InputError, RemoteError
from parfocal.models.annotation_entries import Column, Table
from parfocal.omero.annotate.attached import folder_of
from parfocal.omero.annotate.targets import Place
from parfocal.omero.connection import Connection

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway
    from pyarrow import RecordBatch

__all__ = ["columns_at", "open_table", "table_parts", "write_table"]

_ROWS_AT_ONCE = 50_000
_BYTES_AT_ONCE = 32 << 20
_BUFFER_BYTES = 64 << 10
_REFERENCES = ("Image", "Roi", "Well")

RoiOf = Mapping[tuple[int, int], int]
"""The ROI of an object, by time point and label."""


def write_table(
    connection: Connection, entry: Table, path: Path, place: Place, rois: RoiOf, token: str
) -> int:
    """Write a Parquet file as an OMERO.table, and return the id of its original file.

    What was written when an error comes is found by its `token`.

    Parameters
    ----------
    connection : Connection
        In the group of the target.
    entry : Table
        Which columns.
    path : Path
        The Parquet file.
    place : Place
        The target.
    rois : mapping
        The ROI of each row's object; empty where no column refers to ROIs.
    token : str
        By which it can be found.

    Raises
    ------
    InputError
        If a row's object has no ROI.
    RemoteError
        If the server fails or has no tables.
    """
    return connection.once(
        partial(_write, entry=entry, path=path, place=place, rois=rois, token=token)
    )


def columns_at(entry: Table, place: Place) -> list[Column]:
    """Return the columns of a table on its target: without Well where it lies in none."""
    return [
        column for column in entry.columns if column.type != "Well" or place.well_id is not None
    ]


def _write(
    gateway: BlitzGateway, entry: Table, path: Path, place: Place, rois: RoiOf, token: str
) -> int:
    with open_table(gateway, None, f"{folder_of(token)}{entry.name}") as table:
        table.initialize([_new_column(column) for column in columns_at(entry, place)])
        for part in table_parts(entry, path, place, rois):
            table.addData(part)
        number = int(table.getOriginalFile().id.val)
    _name(gateway, number, entry.name, folder_of(token))
    return number


@contextmanager
def open_table(gateway: BlitzGateway, file_id: int | None, path: str = "") -> Iterator[Any]:
    """Open the table of an original file, or a new one.

    Raises
    ------
    RemoteError
        If the server has no tables, or not this one.
    """
    import omero

    resources = gateway.c.sf.sharedResources()
    if file_id is None:
        repository = resources.repositories().descriptions[0].id.val
        table = resources.newTable(repository, path, gateway.SERVICE_OPTS)
    else:
        table = resources.openTable(omero.model.OriginalFileI(file_id, False), gateway.SERVICE_OPTS)
    if table is None:
        what = "The OMERO server does not open a table"
        remedy = "Ask whoever runs the server whether its service for tables runs."
        raise RemoteError(what, where=path or f"OriginalFile {file_id}", remedy=remedy)
    try:
        yield table
    finally:
        table.close()


def _name(gateway: BlitzGateway, number: int, name: str, folder: str) -> None:
    """Give a new table its name; servers take the path of a new table for its name, too."""
    from omero.rtypes import rstring

    file = gateway.getQueryService().get("OriginalFile", number, gateway.SERVICE_OPTS)
    if (file.name.val, file.path.val) != (name, folder):
        file.name, file.path = rstring(name), rstring(folder)
        gateway.getUpdateService().saveObject(file, gateway.SERVICE_OPTS)


def _new_column(column: Column, values: list[Any] | None = None) -> Any:
    from omero import grid

    told = f'{{"unit": "{column.unit}"}}' if column.unit else ""
    kind = getattr(grid, f"{column.type.capitalize()}Column")
    if column.type == "string":
        return kind(column.name, told, column.size_bytes or 1, values or [])
    return kind(column.name, told, values or [])


def table_parts(entry: Table, path: Path, place: Place, rois: RoiOf) -> Iterator[list[Any]]:
    """Yield the columns of a table with their values, some rows after the other.

    Raises
    ------
    InputError
        As `write_table` does.
    """
    import pyarrow.parquet as pq

    wanted = {column.source for column in entry.columns if column.source is not None}
    if entry.rois is not None:
        wanted |= {"label", "t"}
    # Otherwise whole columns of a row group are held, which may be all rows.
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES) as file:
        present = [name for name in file.schema_arrow.names if name in wanted]
        for batch in file.iter_batches(_rows_at_once(entry), columns=present):
            yield [
                _new_column(column, _values(column, batch, entry, place, rois))
                for column in columns_at(entry, place)
            ]


def _rows_at_once(entry: Table) -> int:
    row_bytes = sum(column.size_bytes or 8 for column in entry.columns)
    return max(1, min(_ROWS_AT_ONCE, _BYTES_AT_ONCE // row_bytes))


def _values(
    column: Column, batch: RecordBatch, entry: Table, place: Place, rois: RoiOf
) -> list[Any]:
    if column.source is None:
        return _references(column, batch, entry, place, rois)
    values = batch.column(column.source).to_pylist()
    if column.type == "double":
        return [float("nan") if value is None else float(value) for value in values]
    if column.type == "string":
        return ["" if value is None else str(value) for value in values]
    if None in values:
        what = "A value is missing in a column that OMERO keeps as whole numbers"
        raise InputError(what, where=f"table {entry.name}, column {column.name}")
    return [bool(value) if column.type == "bool" else int(value) for value in values]


def _references(
    column: Column, batch: RecordBatch, entry: Table, place: Place, rois: RoiOf
) -> list[int]:
    where = f"table {entry.name} of {place.source.uri}"
    if column.type == "Image":
        return [place.source.id] * batch.num_rows
    if column.type == "Well" and place.well_id is not None:  # others have no such column
        return [place.well_id] * batch.num_rows
    labels = batch.column("label").to_pylist()
    times = batch.column("t").to_pylist() if "t" in batch.schema.names else [0] * len(labels)
    missing = [key for key in zip(times, labels, strict=True) if key not in rois]
    if missing:
        what = "A table has a row for an object that the label image does not have"
        remedy = "Plan the annotations again, from a table of this label image."
        found = f"t {missing[0][0]}, label {missing[0][1]}, and {len(missing) - 1} more"
        raise InputError(what, where=where, found=found, remedy=remedy)
    return [rois[key] for key in zip(times, labels, strict=True)]
