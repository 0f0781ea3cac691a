"""Rows of numbers in scratch files, so that what is known of each object takes no memory."""

from __future__ import annotations

import contextlib
import errno
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


_NEAR_BYTES = 1 << 15
"""Rows that lie so near to each other are read together, with those between them."""


def parts(count: int) -> Iterator[slice]:
    """Yield slices of so many rows, each short enough for memory."""
    for start in range(0, count, AT_ONCE):
        yield slice(start, min(start + AT_ONCE, count))


class Rows:
    """A table in a file, which grows at its end, and any rows of which are read and overwritten.

    The file is opened anew whenever it is read or written, by several threads at once, too, so that
    it may lie on a network, and whatever goes wrong is told. It is removed with the table. A copy
    that was pickled for another process, or for another machine that sees the folder, reads the
    same file and never removes it.

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
        If the file cannot be made. All methods raise it where the file cannot be read or written.
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
        with self._opened(os.O_RDONLY) as descriptor:
            os.fsync(descriptor)
        return self.__dict__

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._count

    @property
    def _row_bytes(self) -> int:
        return self.columns * int(self.dtype.itemsize)

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows (N, columns), or (N,) numbers to a single column."""
        self._count += len(rows)
        self._waiting += np.ascontiguousarray(rows, self.dtype).tobytes()
        if len(self._waiting) >= AT_ONCE * self._row_bytes:
            self.flush()

    def flush(self) -> None:
        """Write what waits for that; before threads read."""
        if self._waiting:
            with self._opened(os.O_WRONLY) as descriptor:
                place = self._count * self._row_bytes - len(self._waiting)
                _write(descriptor, self._waiting, place)
            self._waiting = bytearray()

    def read(self, part: slice) -> NDArray[Any]:
        """Return the rows (N, columns) from ``part.start`` to ``part.stop``."""
        self.flush()
        with self._opened(os.O_RDONLY) as descriptor:
            return self._read(descriptor, part)

    def take(self, places: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Return the rows (N, columns) at some places (N,), in any order."""
        self.flush()
        result = np.empty((len(places), self.columns), self.dtype)
        with self._opened(os.O_RDONLY) as descriptor:
            for part, some in self._together(places):
                result[some] = self._read(descriptor, part)[places[some] - part.start]
        return result

    def put(self, places: NDArray[np.integer[Any]], rows: NDArray[Any]) -> None:
        """Overwrite the rows at some places (N,), each named once, by others (N, columns)."""
        self.flush()
        rows = rows.reshape(-1, self.columns)
        with self._opened(os.O_RDWR) as descriptor:
            for part, some in self._together(places):
                present = self._read(descriptor, part)
                present[places[some] - part.start] = rows[some]
                _write(descriptor, present.tobytes(), part.start * self._row_bytes)

    def column(self, place: int | slice, part: slice = slice(None)) -> Column:
        """Return one column, or several, of the rows so far, or of a part of them."""
        self.flush()
        return Column(self, place, slice(*part.indices(self._count)))

    def _read(self, descriptor: int, part: slice) -> NDArray[Any]:
        rows = np.empty((max(0, part.stop - part.start), self.columns), self.dtype)
        view, place = rows.reshape(-1).view(np.uint8).data, part.start * self._row_bytes
        while view:
            count = os.preadv(descriptor, [view], place)
            if not count:
                raise OSError(errno.EIO, f"The file ends at byte {place}")
            view, place = view[count:], place + count
        return rows

    def _together(
        self, places: NDArray[np.integer[Any]]
    ) -> Iterator[tuple[slice, NDArray[np.intp]]]:
        """Yield parts of the table, none too long, and which of `places` lie in each."""
        order = np.argsort(places, kind="stable")
        ordered = places[order]
        apart = np.diff(ordered) > _NEAR_BYTES // self._row_bytes
        ends = [*(np.flatnonzero(apart) + 1).tolist(), len(order)] if len(order) else []
        start = 0
        for end in ends:
            while start < end:
                first = int(ordered[start])
                stop = int(np.searchsorted(ordered[start:end], first + AT_ONCE)) + start
                yield slice(first, int(ordered[stop - 1]) + 1), order[start:stop]
                start = stop

    @contextlib.contextmanager
    def _opened(self, flags: int) -> Iterator[int]:
        try:
            descriptor = os.open(self._path, flags | os.O_CLOEXEC)
            try:
                yield descriptor
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _storage_error(error, self._path) from error


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

    def tolist(self) -> list[Any]:
        """Return all as a list."""
        found: list[Any] = self[:].tolist()
        return found

    def __len__(self) -> int:
        return len(range(self.part.start, self.part.stop))

    def __getitem__(self, key: int | slice | NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Return the numbers (N,), or rows (N, columns), of a range or at some places."""
        if isinstance(key, slice):
            inside = range(self.part.start, self.part.stop)[key]
            return self.rows.read(slice(inside.start, inside.stop))[:, self.place]
        places = np.asarray(key)
        if places.size and not -len(self) <= places.min() <= places.max() < len(self):
            msg = f"There are {len(self)} rows"
            raise IndexError(msg)
        found = self.rows.take(places.ravel() % len(self) + self.part.start)[:, self.place]
        return found.reshape(places.shape + found.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)


def _write(descriptor: int, data: bytes | bytearray, place: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, place)
        view, place = view[count:], place + count


def _storage_error(error: OSError, where: Path | None) -> StorageError:
    what = "A scratch file cannot be read or written"
    remedy = "Free some space, or choose another folder by PARFOCAL_SCRATCH."
    return StorageError(what, where=where, found=error.strerror, remedy=remedy)
