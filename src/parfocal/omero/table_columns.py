"""The columns of a Parquet table as columns of an OMERO.table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parfocal.errors import InputError
from parfocal.models.annotation_entries import Column

__all__ = ["TableFacts", "read_table_facts"]

_LARGEST = (1 << 63) - 1


@dataclass(frozen=True)
class TableFacts:
    """What a plan says of a table.

    Attributes
    ----------
    rows : int
        How many rows it has.
    columns : tuple of Column
        In the order of the file.
    """

    rows: int
    columns: tuple[Column, ...]


def read_table_facts(path: Path, warn: Callable[[str], None]) -> TableFacts:
    """Read how a Parquet table becomes an OMERO.table.

    Integers become ``long``, reals and missing reals ``double``, text ``string`` of the size of
    its longest value. Unsigned integers beyond 63 bits become ``double``, with a warning.

    Parameters
    ----------
    path : Path
        The table. Of its values, only text and unsigned integers are read.
    warn : callable
        Told of columns that lose precision.

    Raises
    ------
    InputError
        If it is no Parquet file, or has values that an OMERO.table has no place for.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            columns = tuple(_column(file, number, path, warn) for number in _numbers(file))
            return TableFacts(file.metadata.num_rows, columns)
    except (pa.ArrowInvalid, OSError) as error:
        what = "A table cannot be read"
        remedy = "Remove it, and run measure-objects again."
        raise InputError(what, where=path, found=error, remedy=remedy) from error


def _numbers(file: Any) -> range:
    return range(len(file.schema_arrow))


def _column(file: Any, number: int, path: Path, warn: Callable[[str], None]) -> Column:
    import pyarrow.types as kinds

    field = file.schema_arrow.field(number)
    kind, size = field.type, None
    if kinds.is_dictionary(kind):
        kind = kind.value_type
    if kinds.is_floating(kind):
        name = "double"
    elif kinds.is_boolean(kind):
        name = "bool"
    elif kinds.is_integer(kind):
        name = "long"
        if kinds.is_uint64(kind) and _largest(file, field.name) > _LARGEST:
            name = "double"
            warn(f"the column {field.name} has integers beyond 63 bits, which become reals")
    elif kinds.is_string(kind) or kinds.is_large_string(kind):
        name, size = "string", max(1, _longest(file, field.name))
    else:
        raise _unsuited(path, field.name, f"values of the type {kind}")
    if name != "double" and _missing(file, number):
        raise _unsuited(path, field.name, "missing values")
    unit = (field.metadata or {}).get(b"unit", b"").decode()
    return Column(
        name=field.name,
        type=name,
        source=field.name,
        unit=unit or None,
        size_bytes=size,
    )


def _unsuited(path: Path, column: str, found: str) -> InputError:
    what = "A column has no place in an OMERO.table"
    expected = "numbers, true or false, or text, of which only real numbers may be missing"
    return InputError(what, where=f"{path}, column {column}", expected=expected, found=found)


def _batches(file: Any, column: str) -> Any:
    return (batch.column(0) for batch in file.iter_batches(columns=[column]))


def _largest(file: Any, column: str) -> int:
    import pyarrow.compute as pc

    return max((pc.max(part).as_py() or 0 for part in _batches(file, column)), default=0)


def _longest(file: Any, column: str) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc

    sizes = (pc.binary_length(part.cast(pa.string())) for part in _batches(file, column))
    return max((pc.max(size).as_py() or 0 for size in sizes), default=0)


def _missing(file: Any, number: int) -> bool:
    if not file.schema_arrow.field(number).nullable:
        return False
    name = file.schema_arrow.field(number).name
    return any(part.null_count for part in _batches(file, name))
