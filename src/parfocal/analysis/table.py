"""Write tables of objects as Parquet and as TSV, with the same rows and the same bytes always."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from parfocal.analysis.columns import Column

__all__ = ["TableWriter", "table_schema"]

_TYPES = {
    "text": pa.string(),
    "integer": pa.int64(),
    "unsigned": pa.uint64(),
    "real": pa.float64(),
    "boolean": pa.bool_(),
}
_GROUP_ROWS = 1 << 16


def table_schema(columns: Sequence[Column]) -> pa.Schema:
    """Return the Arrow schema of `columns`: each field's metadata tells its unit and meaning."""
    fields = [
        pa.field(
            column.name,
            _TYPES[column.type],
            nullable=column.type == "real",
            metadata={"unit": column.unit, "description": column.meaning},
        )
        for column in columns
    ]
    units = {column.name: column.unit for column in columns if column.unit}
    return pa.schema(fields, metadata={"parfocal.units": json.dumps(units)})


class TableWriter:
    """Writes rows to a Parquet file and a TSV file; a context manager.

    Parameters
    ----------
    parquet, tsv : Path
        The files, which are created with all columns even if no row comes.
    columns : sequence of Column
        In the order of the table.

    Notes
    -----
    In the TSV, a null is an empty cell, a real number the shortest text that reads back as
    the same number, and a boolean ``true`` or ``false``.
    """

    def __init__(self, parquet: Path, tsv: Path, columns: Sequence[Column]) -> None:
        self._columns = tuple(columns)
        self._schema = table_schema(columns)
        self._waiting: list[pa.Table] = []
        self._rows = 0
        with ExitStack() as undo:
            self._text = undo.enter_context(tsv.open("w", encoding="utf-8", newline=""))
            self._lines = csv.writer(self._text, delimiter="\t", lineterminator="\n")
            self._lines.writerow([column.name for column in columns])
            self._parquet = pq.ParquetWriter(parquet, self._schema, compression="zstd")
            undo.pop_all()

    def write(self, rows: Mapping[str, NDArray[Any]], **constants: str | int) -> None:
        """Append rows.

        Parameters
        ----------
        rows : mapping of str to (N,) array
            A column each; NaN is null.
        **constants : str or int
            Columns with the same value in each row.
        """
        count = len(next(iter(rows.values())))
        arrays = [
            pa.array([constants[column.name]] * count, _TYPES[column.type])
            if column.name in constants
            else pa.array(rows[column.name], _TYPES[column.type], from_pandas=True)
            for column in self._columns
        ]
        table = pa.Table.from_arrays(arrays, schema=self._schema)
        self._lines.writerows(zip(*(_cells(array) for array in arrays), strict=True))
        self._waiting.append(table)
        self._rows += count
        if self._rows >= _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            table = pa.concat_tables(self._waiting).combine_chunks()
            self._parquet.write_table(table, row_group_size=_GROUP_ROWS)
        self._waiting, self._rows = [], 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            self._parquet.close()
            self._text.close()


def _cells(array: pa.Array) -> list[str]:
    if pa.types.is_boolean(array.type):
        return ["true" if value else "false" for value in array.to_pylist()]
    return ["" if value is None else str(value) for value in array.to_pylist()]
