"""Files and tables that are attached to an image of an OMERO server, as files here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parfocal.core.publish import remove_tree
from parfocal.errors import InputError
from parfocal.omero.annotate.tables import open_table
from parfocal.omero.connection import Connection
from parfocal.omero.files import download_file
from parfocal.omero.queries import project

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

__all__ = ["download_attached"]

_FILES = (
    "select f.size, f.hash, h.value from OriginalFile f left outer join f.hasher h "
    "where f.id in (:ids)"
)
_SHA1 = "SHA1-160"
_ROWS_AT_ONCE = 50_000
_LONGEST_NAME = 200
_TYPES = {
    "Bool": "bool_",
    "Double": "float64",
    "String": "string",
    **dict.fromkeys(("Long", "Image", "Roi", "Well", "Plate", "Dataset", "File"), "int64"),
}
_LISTS = {"FloatArray": "float32", "DoubleArray": "float64", "LongArray": "int64"}


def download_attached(
    connection: Connection, annotations: Sequence[Mapping[str, Any]], folder: Path
) -> dict[int, str]:
    """Download what is attached to an image: files as they are, tables as Parquet.

    Parameters
    ----------
    connection : Connection
        To the server.
    annotations : sequence of mapping
        As `describe` tells them; those without a file are passed over.
    folder : Path
        Where they go; what an interrupted call left there is removed.

    Returns
    -------
    dict of int to str
        By the id of the annotation, the name in `folder`: the id, a hyphen, and the name of the
        file as far as it can be one here.

    Raises
    ------
    RemoteError
        If the server fails, or a file is not of the size or checksum that it says.
    InputError
        If one is gone since then, the user may not read it, or a table has a column of masks.
    """
    attached = [each for each in annotations if "file" in each]
    remove_tree(folder)
    if not attached:
        return {}
    folder.mkdir()
    names: dict[int, str] = {}
    for each in attached:
        name = names[each["id"]] = _file_name(each)
        _download(connection, each, folder / name)
    return names


def _download(connection: Connection, annotation: Mapping[str, Any], path: Path) -> None:
    number = annotation["file"]["id"]
    size, digest, hasher = _facts(connection, number)
    if annotation["kind"] == "table":
        connection.call(partial(_write_parquet, number=number, path=path))
    else:
        sha1 = digest if hasher == _SHA1 else None
        download_file(connection, number, path, size_bytes=size or 0, sha1=sha1)


def _facts(connection: Connection, number: int) -> tuple[Any, ...]:
    """Return size and checksum of a file, and what kind of checksum it is.

    Raises
    ------
    InputError
        If there is none.
    RemoteError
        If the server fails.
    """
    rows = connection.call(partial(project, query=_FILES, ids=[number]))
    if not rows:
        what = "An attached file is gone from the OMERO server since its image was described"
        where = f"{connection.server.uri}, OriginalFile {number}"
        found = "none of this id that this user may see"
        remedy = "Run again, which asks anew what is attached."
        raise InputError(what, where=where, found=found, remedy=remedy)
    return rows[0]


def _file_name(annotation: Mapping[str, Any]) -> str:
    # A name on the server must lead nowhere else on this machine.
    name = str(annotation["file"].get("name") or "file").rpartition("/")[2].replace("\0", "")
    suffix = ".parquet" if annotation["kind"] == "table" else ""
    stem, dot, end = name.removesuffix(suffix).rpartition(".")
    stem, end = (stem, f".{end}") if dot and len(end) < 16 else (name.removesuffix(suffix), "")
    while len((stem + end + suffix).encode()) > _LONGEST_NAME:
        stem = stem[:-1]
    return f"{annotation['id']}-{stem}{end}{suffix}"


def _write_parquet(gateway: BlitzGateway, number: int, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_table(gateway, number) as table:
        headers = table.getHeaders()
        schema = pa.schema([_field(header, number) for header in headers])
        rows, columns = table.getNumberOfRows(), list(range(len(headers)))
        with pq.ParquetWriter(path, schema) as writer:
            for start in range(0, rows, _ROWS_AT_ONCE):
                part = table.read(columns, start, min(rows, start + _ROWS_AT_ONCE)).columns
                arrays = [
                    pa.array(list(column.values), field.type)
                    for column, field in zip(part, schema, strict=True)
                ]
                writer.write_batch(pa.record_batch(arrays, schema))


def _field(header: Any, number: int) -> Any:
    """Return the Arrow field of a column; what its description says is kept beside it."""
    import pyarrow as pa

    kind = type(header).__name__.removesuffix("I").removesuffix("Column")
    if kind in _LISTS:
        found = pa.list_(getattr(pa, _LISTS[kind])())
    elif kind in _TYPES:
        found = getattr(pa, _TYPES[kind])()
    else:
        what = "A table on the OMERO server has a column that has no place in Parquet"
        where = f"OriginalFile {number}, column {header.name}"
        remedy = "Set attachments of fetch-image to false."
        raise InputError(what, where=where, found=f"{kind}Column", remedy=remedy)
    told = {"description": header.description} if header.description else None
    return pa.field(header.name, found, metadata=told)
