"""Rows of numbers in scratch files, so that what is known of each object takes no memory."""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import StorageError

__all__ = ["Column", "Rows", "parts"]

AT_ONCE = 1 << 16
"""Rows that are in memory at once."""


def parts(count: int) -> Iterator[slice]:
    """Yield slices of so many rows, each short enough for memory."""
    for start in range(0, count, AT_ONCE):
        yield slice(start, min(start + AT_ONCE, count))


class Rows:
    """A table in a file, which grows at its end, and which is mapped where it is read.

    The file is removed with the table. A copy that was pickled for another process, or for another
    machine that sees the folder, maps the same file and never removes it.

    Parameters
    ----------
    columns : int
        Numbers in a row.
    folder : Path, optional
        An existing folder; by default that of the system for temporary files.
    dtype : dtype-like
        Data type.

    Raises
    ------
    StorageError
        If the file cannot be made.
    """

    def __init__(self, columns: int, folder: Path | None = None, dtype: Any = np.int64) -> None:
        self.dtype = np.dtype(dtype)
        self.columns, self._count = columns, 0
        self._waiting = bytearray()
        try:
            descriptor, name = tempfile.mkstemp(".rows", "scratch-", folder)
        except OSError as error:
            raise _storage_error(error, folder) from error
        os.close(descriptor)
        self._path = Path(name).absolute()
        weakref.finalize(self, self._path.unlink, missing_ok=True)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy needs, when all that was written can be seen elsewhere, too."""
        self.flush()
        with self._path.open("rb") as file:
            os.fsync(file.fileno())
        return self.__dict__

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._count

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows (N, columns), or (N,) numbers to a single column.

        Raises
        ------
        StorageError
            If the disk does not take them.
        """
        self._count += len(rows)
        self._waiting += np.ascontiguousarray(rows, self.dtype).tobytes()
        if len(self._waiting) >= AT_ONCE * self.columns * self.dtype.itemsize:
            self.flush()

    def flush(self) -> None:
        """Write what waits for that; before threads read.

        Raises
        ------
        StorageError
            If the disk does not take it.
        """
        if not self._waiting:
            return
        try:
            with self._path.open("ab") as file:
                file.write(self._waiting)
        except OSError as error:
            raise _storage_error(error, self._path) from error
        self._waiting = bytearray()

    def mapped(self) -> NDArray[Any]:
        """Return all rows (N, columns), in any order of which they are read and overwritten.

        Their pages count as memory of this process until the array is dropped, but the system may
        take them back before. They lie on disk already, so that overwriting needs no new space.
        """
        self.flush()
        numbers = self._count * self.columns
        if not numbers:
            return np.zeros((0, self.columns), self.dtype)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            pages = mmap.mmap(descriptor, numbers * self.dtype.itemsize)
        finally:
            os.close(descriptor)
        return np.frombuffer(pages, self.dtype).reshape(-1, self.columns)

    def column(self, place: int | slice, part: slice = slice(None)) -> Column:
        """Return one column, or several, of the rows so far, or of a part of them."""
        self.flush()
        return Column(self, place, slice(*part.indices(self._count)))


@dataclass(frozen=True)
class Column:
    """Columns of rows that are read whenever they are asked for, from several threads at once.

    Attributes
    ----------
    rows : Rows
        The table.
    place : int or slice
        Which columns.
    part : slice
        Which rows.
    """

    rows: Rows
    place: int | slice
    part: slice

    def mapped(self) -> NDArray[Any]:
        """Return the array (N,) or (N, columns) as `Rows.mapped` does."""
        return self.rows.mapped()[self.part, self.place]

    def tolist(self) -> list[Any]:
        """Return all as a list."""
        found: list[Any] = self[:].tolist()
        return found

    def __len__(self) -> int:
        return len(range(self.part.start, self.part.stop))

    def __getitem__(self, key: Any) -> NDArray[Any]:
        return np.array(self.mapped()[key])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)


def _storage_error(error: OSError, where: Path | None) -> StorageError:
    what = "A scratch file cannot be written"
    remedy = "Free some space or choose another folder."
    return StorageError(what, where=where, found=error.strerror, remedy=remedy)
