"""Parquet tables that are kept as OMERO.tables on objects of a server, and read back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from parfocal.errors import InputError, StorageError
from parfocal.models.annotation_entries import ResultFile, Table
from parfocal.models.base import explain_validation
from parfocal.models.source import OmeroSource
from parfocal.omero.annotate.tables import open_table, write_table
from parfocal.omero.annotate.targets import Place
from parfocal.omero.attachments import Attachment, replace
from parfocal.omero.connection import Connection
from parfocal.omero.table_columns import read_table_facts

if TYPE_CHECKING:
    import pyarrow as pa
    from omero.gateway import BlitzGateway

__all__ = ["fetch_table", "store_table"]

_ROWS_AT_ONCE = 50_000


def store_table(
    connection: Connection,
    target: OmeroSource,
    path: Path,
    name: str,
    namespace: str,
    warn: Callable[[str], None],
) -> Attachment:
    """Write a Parquet file as an OMERO.table on an object, in place of one of that name.

    Parameters
    ----------
    connection : Connection
        To the server of `target`.
    target : OmeroSource
        The object.
    path : Path
        The Parquet file.
    name, namespace : str
        Of the table on the server; a table of that name in another namespace is left alone.
    warn : callable
        Told of columns that lose precision.

    Raises
    ------
    InputError
        If there is no such object, the user may not annotate it, it is no Parquet file, or it
        has columns that OMERO.tables do not know.
    RemoteError
        If the server fails, or has no tables.
    """
    facts = read_table_facts(path, warn)
    try:
        entry = Table.planned(
            target.uri,
            namespace=namespace,
            name=name,
            file=ResultFile(path=path.name),
            rows=facts.rows,
            columns=facts.columns,
        )
    except ValidationError as error:
        what = f"OMERO cannot hold this table: {explain_validation(error)}"
        raise InputError(what, where=path) from error

    def upload(place: Place, token: str) -> int:
        return write_table(connection, entry, path, place, {}, token)

    return replace(connection, target, name, namespace, upload)


def fetch_table(connection: Connection, attachment: Attachment, path: Path) -> None:
    """Write an OMERO.table to a Parquet file.

    Columns of numbers become int64 or float64, references int64; an array column becomes lists.

    Parameters
    ----------
    connection : Connection
        To the server.
    attachment : Attachment
        The table.
    path : Path
        Where to write it.

    Raises
    ------
    RemoteError
        If the server fails, or has no tables.
    StorageError
        If `path` cannot be written.
    """
    try:
        connection.call(lambda gateway: _fetch(gateway, attachment.file_id, path))
    except OSError as error:
        what = "The table from the OMERO server cannot be written"
        raise StorageError(what, where=path, found=error.strerror) from error


def _fetch(gateway: BlitzGateway, file_id: int, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_table(gateway, file_id) as table:
        headers = table.getHeaders()
        schema = pa.schema([_field(header) for header in headers])
        with pq.ParquetWriter(path, schema) as writer:
            for columns in _parts(table, len(headers)):
                values = [column.values for column in columns]
                writer.write_table(pa.table(values, schema=schema))


def _parts(table: Any, width: int) -> Iterator[list[Any]]:
    rows = int(table.getNumberOfRows())
    for start in range(0, rows, _ROWS_AT_ONCE):
        yield table.read(list(range(width)), start, min(start + _ROWS_AT_ONCE, rows)).columns


def _field(header: Any) -> pa.Field:
    import pyarrow as pa

    simple = {
        "BoolColumn": pa.bool_(),
        "DoubleColumn": pa.float64(),
        "StringColumn": pa.string(),
        "FloatArrayColumn": pa.list_(pa.float32()),
        "DoubleArrayColumn": pa.list_(pa.float64()),
        "LongArrayColumn": pa.list_(pa.int64()),
    }
    # All others, of ids of images, wells, ROIs and the like, hold whole numbers.
    kind = simple.get(type(header).__name__.removesuffix("I"), pa.int64())
    return pa.field(header.name, kind, metadata=_metadata(header.description or ""))


def _metadata(description: str) -> dict[str, str]:
    """Return what the description of a column says: its unit, where Parfocal wrote it."""
    try:
        told = json.loads(description)
    except ValueError:
        return {"description": description} if description else {}
    if isinstance(told, dict) and isinstance(told.get("unit"), str):
        return {"unit": told["unit"]}
    return {"description": description}
