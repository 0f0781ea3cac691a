"""What the exceptions of Ice and OMERO mean: whose fault, and whether trying again helps.

They are told apart by their names, so that nothing of OMERO need be there to do so. What a server
says is told by its first line, without session keys and without its stack trace.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from parfocal.errors import (
    AccessError,
    ConfigurationError,
    InputError,
    ParfocalError,
    RemoteError,
)
from parfocal.omero.loading import without_keys

__all__ = ["Fault", "fault_of", "translate", "what_omero_raises"]

_LONGEST = 300


@dataclass(frozen=True)
class Fault:
    """What a failed call means.

    Attributes
    ----------
    error : ParfocalError
        What the user is told.
    again : bool
        Whether the same call may succeed after a while.
    lost : bool
        Whether the connection or the session is gone, so that another must be opened.
    wait_s : float
        How long the server asks to be left alone, 0 where it does not say.
    """

    error: ParfocalError
    again: bool = False
    lost: bool = False
    wait_s: float = 0.0


@dataclass(frozen=True)
class _Kind:
    what: str
    type: type[ParfocalError] = RemoteError
    again: bool = False
    lost: bool = False
    remedy: str | None = None


_NETWORK = "Check the address and the network; then run again."
_LATER = "Run again in a while."
_LOGIN = "Log in again, see docs/howto/omero-login.md."
_GONE = _Kind(
    "The connection to the OMERO server broke off", again=True, lost=True, remedy=_NETWORK
)
_NO_ANSWER = _Kind("The OMERO server does not answer", again=True, lost=True, remedy=_NETWORK)
_NO_NAME = _Kind("The name of the OMERO server is not known", remedy="Check it, and the network.")
_SESSION = _Kind("The OMERO session has ended", again=True, lost=True, remedy=_LOGIN)
_DENIED = _Kind(
    "The OMERO server does not allow this",
    AccessError,
    remedy="Ask the owner of the group for the permission, or log in as somebody who has it.",
)
_BUSY = _Kind("The OMERO server is busy", again=True, remedy=_LATER)
_LOGIN_REFUSED = _Kind("The OMERO server refused the login", ConfigurationError, remedy=_LOGIN)
_NO_ROOM = _Kind(
    "The OMERO server has not the means to do this",
    remedy="Its disk or memory may be full: tell whoever runs it.",
)
_INVALID = _Kind("The OMERO server takes this for invalid", InputError)
_ABSENT = _Kind(
    "There is no such object on the OMERO server, or this user may not see it",
    InputError,
    remedy="Check the id, and whether the user is in the object's group.",
)
_MISTAKEN = _Kind("The OMERO server does not understand the request")
_OTHER = _Kind("The OMERO server failed")

_KINDS: dict[str, _Kind] = {
    "builtins.ConnectionRefusedError": _NO_ANSWER,
    "builtins.TimeoutError": _NO_ANSWER,
    "builtins.OSError": _GONE,
    "socket.gaierror": _NO_NAME,
    "Ice.DNSException": _NO_NAME,
    "Ice.ConnectFailedException": _NO_ANSWER,
    "Ice.TimeoutException": _NO_ANSWER,
    "Ice.ConnectionTimeoutException": _GONE,
    "Ice.SyscallException": _GONE,
    "Ice.CloseConnectionException": _GONE,
    "Ice.ForcedCloseConnectionException": _GONE,
    "Ice.ConnectionNotValidatedException": _GONE,
    "Ice.CommunicatorDestroyedException": _GONE,
    "Ice.ObjectAdapterDeactivatedException": _GONE,
    "Ice.ProtocolException": _Kind(
        "What answers does not speak as an OMERO server does",
        remedy="Check the port, and whether it takes ssl, tcp or web sockets.",
    ),
    "Ice.MemoryLimitException": _Kind("A message is larger than OMERO allows"),
    "Ice.SecurityException": _Kind(
        "The certificate of the OMERO server could not be verified",
        remedy="'parfocal login' tells what is wrong with it.",
    ),
    "Ice.ObjectNotExistException": _SESSION,
    "Ice.RequestFailedException": _MISTAKEN,
    "Glacier2.PermissionDeniedException": _LOGIN_REFUSED,
    "Glacier2.CannotCreateSessionException": _Kind(
        "The OMERO server opened no session", again=True, remedy=_LATER
    ),
    "Glacier2.SessionNotExistException": _SESSION,
    "omero.AuthenticationException": _LOGIN_REFUSED,
    "omero.ExpiredCredentialException": _LOGIN_REFUSED,
    "omero.SessionException": _SESSION,
    "omero.ClientError": _GONE,
    "omero.CmdError": _OTHER,
    "omero.UnloadedEntityException": _MISTAKEN,
    "omero.UnloadedCollectionException": _MISTAKEN,
    "omero.SecurityViolation": _DENIED,
    "omero.OptimisticLockException": _Kind(
        "Somebody else changed the same object on the OMERO server at the same time",
        remedy="Run again, which reads it anew.",
    ),
    "omero.ConcurrencyException": _BUSY,
    "omero.ResourceError": _NO_ROOM,
    "omero.OmeroFSError": _NO_ROOM,
    "omero.ValidationException": _INVALID,
    "omero.ApiUsageException": _MISTAKEN,
}

# What a server says in the text of exceptions that mean anything, and what that stands for.
_SAYINGS: tuple[tuple[tuple[str, ...], str, _Kind], ...] = (
    (("omero.ServerError", "omero.CmdError"), "No row with the given identifier", _ABSENT),
    (("omero.ServerError", "omero.CmdError"), "No space left on device", _NO_ROOM),
    (("omero.CmdError",), "SecurityViolation", _DENIED),
    (("omero.CmdError",), "message: not permitted to ", _DENIED),
    (("Ice.UnknownException",), "SessionException", _SESSION),
    (("Ice.UnknownException",), "ObjectNotExist", _SESSION),
    (("Ice.UnknownException",), "Connect", _GONE),
)


def what_omero_raises() -> tuple[type[Exception], ...]:
    """Return the classes of exceptions of Ice and omero-py, which must be there."""
    import Ice
    import omero

    return (Ice.Exception, omero.ClientError)


def translate(error: Exception, where: object) -> ParfocalError:
    """Return what an exception of Ice or OMERO means to the user.

    Parameters
    ----------
    error : Exception
        One of `what_omero_raises`, or a ParfocalError, which is returned as it is.
    where : object
        The server, or the object on it.
    """
    return error if isinstance(error, ParfocalError) else fault_of(error, where).error


def fault_of(error: Exception, where: object) -> Fault:
    """Return what an exception of Ice or OMERO means, and what to do about it.

    Parameters
    ----------
    error : Exception
        One of `what_omero_raises`, or an OSError of a connection.
    where : object
        The server, or the object on it.
    """
    kind = _kind_of(error)
    names = list(_names(error))
    told = kind.type(kind.what, where=where, found=_said(error), remedy=kind.remedy)
    again = kind.again
    if kind is _NO_NAME:  # a name server that does not answer may do so later
        again = _code_of(error) == socket.EAI_AGAIN
    if "omero.WrappedCreateSessionException" in names:
        again = bool(error.concurrency)  # type: ignore[attr-defined]
    wait_s = getattr(error, "backOff", 0) / 1000 if again else 0.0
    return Fault(told, again, kind.lost, wait_s)


def _kind_of(error: Exception) -> _Kind:
    names = list(_names(error))
    text = _text_of(error)
    for classes, saying, kind in _SAYINGS:
        if saying in text and any(name in classes for name in names):
            return kind
    return next((_KINDS[name] for name in names if name in _KINDS), _OTHER)


def _names(error: Exception) -> Iterator[str]:
    """Yield the names of an exception's classes, its own first."""
    for one in type(error).__mro__:
        yield f"{one.__module__}.{one.__name__}"


def _text_of(error: Exception) -> str:
    """Return all that an exception says."""
    cmd = getattr(error, "err", None)  # of a command that ran on the server
    if cmd is not None:
        told = [f"{key}: {value}" for key, value in (cmd.parameters or {}).items()]
        return " ".join([cmd.category or "", cmd.name or "", *sorted(told)])
    for field in ("message", "reason", "unknown"):
        if text := getattr(error, field, None):
            return str(text)
    return "" if _is_of_ice(error) else str(error)


def _said(error: Exception) -> str:
    """Return an exception in one short line, without secrets."""
    name = type(error).__name__
    code = _code_of(error)
    text = _text_of(error).partition(" stacktrace: ")[0]  # of a command
    if code is not None and _is_of_ice(error):
        text = _resolver_text(code) if "DNS" in name else os.strerror(code) if code else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    line = " ".join(lines[: 2 if lines[0].endswith(":") else 1])  # of Ice, a heading and its text
    line = without_keys(line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ...")
    return f"{name}: {line}" if line else name


def _resolver_text(code: int) -> str:
    """Return what a code of the resolver of names means."""
    known = {socket.EAI_NONAME: "unknown name", socket.EAI_AGAIN: "the name server does not answer"}
    return known.get(code, f"code {code}")


def _code_of(error: Exception) -> int | None:
    code = getattr(error, "error", None) if _is_of_ice(error) else getattr(error, "errno", None)
    return code if isinstance(code, int) else None


def _is_of_ice(error: Exception) -> bool:
    return any(name.startswith("Ice.") for name in _names(error))
