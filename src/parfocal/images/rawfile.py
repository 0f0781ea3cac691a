"""Reading and writing whole byte ranges of files, from several threads at once."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import InputError, StorageError

__all__ = ["RawFile", "storage_error"]

_FLAGS = {
    "read": os.O_RDONLY,
    "update": os.O_RDWR,
    "create": os.O_RDWR | os.O_CREAT | os.O_EXCL,
}
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


def storage_error(error: OSError, where: Path) -> StorageError:
    """Return the error to raise when `where` cannot be written."""
    what = "The result cannot be written"
    full = error.errno in _DISK_FULL
    remedy = "Free some space or choose another folder." if full else None
    return StorageError(what, where=where, found=error.strerror or error, remedy=remedy)


class RawFile:
    """A file that is read and written at offsets, without a position of its own.

    Parameters
    ----------
    path : Path
        The file.
    mode : {"read", "update", "create"}
        Whether to read it, to read and write it, or to create it first.

    Raises
    ------
    InputError, StorageError
        If it cannot be opened, or created.
    """

    def __init__(self, path: Path, mode: Literal["read", "update", "create"] = "read") -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, _FLAGS[mode] | os.O_CLOEXEC, 0o666)
        except OSError as error:
            if mode == "create":
                raise storage_error(error, path) from error
            what = "The file cannot be opened"
            raise InputError(what, where=path, found=error.strerror) from error

    def size(self) -> int:
        """Return the size of the file in bytes."""
        return os.fstat(self._descriptor).st_size

    def read_into(self, out: NDArray[Any], offset: int) -> None:
        """Fill the C-contiguous array `out` with the bytes from `offset` on.

        Raises
        ------
        InputError
            If the file ends before, or cannot be read.
        """
        view = memoryview(out.reshape(-1).view(np.uint8).data)
        done = 0
        while done < len(view):
            try:
                count = os.preadv(self._descriptor, [view[done:]], offset + done)
            except OSError as error:
                what = "The file cannot be read"
                raise InputError(what, where=self.path, found=error.strerror) from error
            if not count:
                what = "The file ends before its pixels do"
                found = f"{self.size()} bytes"
                expected = f"at least {offset + len(view)} bytes"
                remedy = "The file is truncated: copy or download it again."
                raise InputError(
                    what, where=self.path, expected=expected, found=found, remedy=remedy
                )
            done += count

    def read_bytes(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset` on; see `read_into`."""
        out = np.empty(count, np.uint8)
        self.read_into(out, offset)
        return out.tobytes()

    def write(self, data: NDArray[Any], offset: int) -> None:
        """Write the bytes of the C-contiguous array `data` at `offset`.

        Raises
        ------
        StorageError
            If the disk does not take them.
        """
        view = memoryview(data.reshape(-1).view(np.uint8).data)
        done = 0
        while done < len(view):
            try:
                done += os.pwritev(self._descriptor, [view[done:]], offset + done)
            except OSError as error:
                raise storage_error(error, self.path) from error

    def truncate(self, size: int) -> None:
        """Set the size of the file in bytes."""
        os.ftruncate(self._descriptor, size)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
