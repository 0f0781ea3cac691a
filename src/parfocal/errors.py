"""The exceptions of Parfocal, and the exit code that each stands for.

An error says what is wrong, where, what was expected and what was found, and
how to mend it. The classes carry these as data; the command line prints them.
"""

from __future__ import annotations

__all__ = [
    "AccessError",
    "ConfigurationError",
    "InputError",
    "LeaseLostError",
    "OutOfMemoryError",
    "OutputExistsError",
    "ParfocalError",
    "RemoteError",
    "RepeatedFailureError",
    "StorageError",
    "VerificationError",
    "WorkerDiedError",
]


class ParfocalError(Exception):
    """The root of all errors that Parfocal raises on purpose.

    Parameters
    ----------
    what : str
        What is wrong, in one clause without a full stop.
    where : object, optional
        The file, URI, sheet row or parameter that it is about.
    expected, found : object, optional
        What should have been there, and what was.
    remedy : str, optional
        What the user can do about it.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        expected: object = None,
        found: object = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.expected = expected
        self.found = found
        self.remedy = remedy

    def __str__(self) -> str:
        """Return the error as one line: what, where, expected, found, remedy."""
        text = self.what
        if self.where is not None:
            text += f": {self.where}"
        if self.expected is not None:
            text += f"; expected {self.expected}"
        if self.found is not None:
            text += f"; found {self.found}"
        if self.remedy:
            text += f". {self.remedy}"
        return text


class InputError(ParfocalError):
    """The user's input cannot be used: missing, damaged or not supported."""

    exit_code = 2


class ConfigurationError(InputError):
    """A parameter, a configuration file or a sample sheet is not valid."""


class AccessError(InputError):
    """A remote system knows the user, and does not let them do what was asked."""


class OutputExistsError(InputError):
    """Something already lies where a result should be published."""


class StorageError(InputError):
    """The disk is full, read-only, or otherwise does not take the result."""


class OutOfMemoryError(StorageError):
    """The memory does not suffice for the work."""


class RemoteError(ParfocalError):
    """A remote system did not answer, refused, or broke off."""

    exit_code = 3


class VerificationError(ParfocalError):
    """A verification ran to its end and found a difference or a failure."""

    exit_code = 4


class LeaseLostError(ParfocalError):
    """Another writer took over the output while this one was thought dead, or removed its lease."""


class RepeatedFailureError(ParfocalError):
    """An earlier attempt at a job failed for a reason that another attempt would not change.

    Parameters
    ----------
    exit_code : int
        That of the earlier attempt.
    """

    def __init__(self, what: str, *, exit_code: int, where: object, found: object) -> None:
        super().__init__(what, where=where, found=found)
        self.exit_code = exit_code


class WorkerDiedError(ParfocalError):
    """The process that worked on an image was killed."""
