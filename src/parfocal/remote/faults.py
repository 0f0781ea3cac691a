"""What can go wrong with a request, and whether trying it again may help."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from obstore import exceptions as errors

from parfocal.errors import RemoteError

__all__ = [
    "RETRIED",
    "Fault",
    "RefusedError",
    "WholeOnlyError",
    "WrongSizeError",
    "fault_of",
    "remedy_of",
]

RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which a server is asked again."""

_SIGNED = (errors.PermissionDeniedError, errors.UnauthenticatedError)


class RefusedError(RemoteError):
    """A server refused a request, and will again."""

    def __init__(self, what: str, status: int, **details: Any) -> None:
        super().__init__(what, **details)
        self.status = status


class WholeOnlyError(RemoteError):
    """The server sends files as wholes, and no part of one."""

    def __init__(self, where: str) -> None:
        super().__init__("The server sends no part of a file", where=where)


class WrongSizeError(errors.BaseError):
    """The server sent more or less than it had announced."""


@dataclass(frozen=True)
class Fault:
    """Why a request failed.

    Attributes
    ----------
    reason : str
        For messages; nothing that the server sent is in it but its status.
    status : int, optional
        Of the answer, if there was one.
    retried : bool
        Whether trying again may help.
    restart : bool
        Whether what has come so far cannot be used.
    away : bool
        Whether the server may be away for a while, as when it is started again.
    """

    reason: str
    status: int | None = None
    retried: bool = True
    restart: bool = False
    away: bool = False


def fault_of(error: errors.BaseError) -> Fault:
    """Say what an error of obstore stands for."""
    text = str(error)
    match = re.search(r"non-2xx status code: (\d{3})", text)
    if isinstance(error, errors.PreconditionError):
        return Fault("the file changed meanwhile", restart=True)
    if isinstance(error, errors.NotSupportedError) or "Range request not supported" in text:
        return Fault("the server sends no part of a file", restart=True)
    if match:
        return _fault_of_status(int(match[1]))
    if isinstance(error, _SIGNED):
        return _fault_of_status(HTTPStatus.FORBIDDEN)
    if "Content-Length" in text:
        return Fault("the server does not say the size of the file", retried=False)
    if "TimedOut" in text or "timed out" in text:
        return Fault("no answer in time", away=True)
    if isinstance(error, WrongSizeError):
        return Fault(text, restart=True)
    return Fault("the connection failed or broke off", away=True)


def _fault_of_status(status: int) -> Fault:
    known = status in {entry.value for entry in HTTPStatus}
    phrase = f" {HTTPStatus(status).phrase}" if known else ""
    again = status in RETRIED
    return Fault(f"status {status}{phrase}", status, retried=again, away=again)


def remedy_of(status: int | None) -> str:
    """Say what the user can do about a status, or about no answer."""
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return "The file is not public: download it yourself and name its path."
    if status is not None and status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return "Check the URL."
    return "Check the URL and the network, then run again."
