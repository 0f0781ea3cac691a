"""What an exception means to the user: whose fault it is, and which exit code it has."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from pathlib import Path

from parfocal.errors import InputError, OutOfMemoryError, ParfocalError, StorageError
from parfocal.models.record import Failure

__all__ = ["explain", "failure_of"]

_STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)
_REFUSED = (errno.EACCES, errno.EPERM)
_FULL = "No space left on device"


def explain(error: BaseException, where: Path) -> BaseException:
    """Return what the user or the machine is to blame for as an error that says so.

    Parameters
    ----------
    error : BaseException
        What a step raised.
    where : Path
        What it was writing, since a full disk does not tell its name.

    Returns
    -------
    BaseException
        A `ParfocalError`, or `error` itself where it is a bug or a request to stop.
    """
    if isinstance(error, ParfocalError) or not isinstance(error, Exception):
        return error
    for cause in _chain(error):
        code = cause.errno if isinstance(cause, OSError) else None
        if code in _STORAGE or _FULL in str(cause):
            what = "The disk does not take the result"
            remedy = "Free some space, or choose another results folder; then run again."
            return StorageError(what, where=where, found=cause, remedy=remedy)
        if code in _REFUSED:
            what = "A file or folder may not be read or written"
            remedy = "Change its permissions, or name another one."
            place = getattr(cause, "filename", None) or where
            return InputError(what, where=place, found=cause, remedy=remedy)
        if isinstance(cause, MemoryError):
            what = "The memory does not suffice"
            remedy = "Give the step more memory, or a smaller image."
            return OutOfMemoryError(what, where=where, remedy=remedy)
    return error


def failure_of(error: BaseException) -> Failure:
    """Return the record's entry for an error that went through `explain`."""
    name = type(error).__name__
    if isinstance(error, KeyboardInterrupt):
        error = SystemExit(128 + signal.SIGINT)
    if isinstance(error, SystemExit) and isinstance(error.code, int) and error.code > 128:
        by = signal.Signals(error.code - 128).name
        return Failure(type=name, message=f"The step was stopped by {by}", exit_code=error.code)
    code = error.exit_code if isinstance(error, ParfocalError) else 1
    return Failure(type=name, message=str(error) or name, exit_code=code)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__
