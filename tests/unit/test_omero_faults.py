"""What the exceptions of Ice and OMERO mean; their classes are stood in for by name."""

from __future__ import annotations

import errno
import logging
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from parfocal.errors import (
    AccessError,
    ConfigurationError,
    InputError,
    ParfocalError,
    RemoteError,
)
from parfocal.omero.faults import fault_of, translate
from parfocal.omero.loading import _quieten, without_keys

KEY = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"


def make(*names: str, **fields: Any) -> Exception:
    """Return an exception of the first class, which is derived from the others."""
    made: type = Exception
    for name in reversed(names):
        module, _, short = name.rpartition(".")
        made = type(short, (made,), {"__module__": module})
    error = made()
    for field, value in fields.items():
        setattr(error, field, value)
    return error


ICE = ("Ice.LocalException", "Ice.Exception")
SERVER = ("omero.ServerError", "Ice.UserException", "Ice.Exception")
USAGE = ("omero.ApiUsageException", *SERVER)
BUSY = ("omero.ConcurrencyException", *SERVER)

NEVER, AGAIN, ANEW = (False, False), (True, False), (True, True)
"""Whether the same helps again, and whether another connection must be opened for it."""

LOCAL = {
    "unknown name": (
        make("Ice.DNSException", *ICE, error=socket.EAI_NONAME),
        RemoteError,
        NEVER,
        "unknown",
    ),
    "no name server": (
        make("Ice.DNSException", *ICE, error=socket.EAI_AGAIN),
        RemoteError,
        AGAIN,
        "name server",
    ),
    "unknown name of the probe": (
        socket.gaierror(socket.EAI_NONAME, "who?"),
        RemoteError,
        NEVER,
        "who?",
    ),
    "refused": (
        ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
        RemoteError,
        ANEW,
        "not answer",
    ),
    "reset": (ConnectionResetError(errno.ECONNRESET, "reset"), RemoteError, ANEW, "broke off"),
    "timeout": (TimeoutError("timed out"), RemoteError, ANEW, "not answer"),
    "timeout of Ice": (
        make("Ice.ConnectTimeoutException", "Ice.TimeoutException", *ICE),
        RemoteError,
        ANEW,
        "not answer",
    ),
    "lost": (
        make("Ice.ConnectionLostException", "Ice.SocketException", "Ice.SyscallException", *ICE),
        RemoteError,
        ANEW,
        "broke off",
    ),
    "certificate": (
        make("Ice.SecurityException", *ICE, reason="name"),
        RemoteError,
        NEVER,
        "certificate",
    ),
    "gone object": (
        make("Ice.ObjectNotExistException", *ICE),
        RemoteError,
        ANEW,
        "session has ended",
    ),
    "gone session, wrapped": (
        make("Ice.UnknownException", *ICE, unknown="RemovedSessionException"),
        RemoteError,
        ANEW,
        "session has ended",
    ),
    "anything wrapped": (
        make("Ice.UnknownException", *ICE, unknown="java.lang.Oops"),
        RemoteError,
        NEVER,
        "java.lang.Oops",
    ),
    "no Ice": (
        make("Ice.BadMagicException", "Ice.ProtocolException", *ICE),
        RemoteError,
        NEVER,
        "does not speak",
    ),
    "client": (make("omero.ClientError"), RemoteError, ANEW, "broke off"),
    "bug": (make("omero.UnloadedEntityException", "omero.ClientError"), RemoteError, NEVER, ""),
}

REMOTE = {
    "password": (
        make("Glacier2.PermissionDeniedException", reason="no"),
        ConfigurationError,
        NEVER,
        "refused the login",
    ),
    "no session": (
        make("Glacier2.SessionNotExistException"),
        RemoteError,
        ANEW,
        "session has ended",
    ),
    "removed session": (
        make("omero.RemovedSessionException", "omero.SessionException", *SERVER),
        RemoteError,
        ANEW,
        "session has ended",
    ),
    "permission": (
        make("omero.ReadOnlyGroupSecurityViolation", "omero.SecurityViolation", *SERVER),
        AccessError,
        NEVER,
        "does not allow",
    ),
    "no such id": (
        make("omero.ValidationException", *USAGE, message="No row with the given identifier: 1"),
        InputError,
        NEVER,
        "no such object",
    ),
    "invalid": (
        make("omero.ValidationException", *USAGE, message="null"),
        InputError,
        NEVER,
        "invalid",
    ),
    "version conflict": (
        make("omero.OptimisticLockException", *BUSY),
        RemoteError,
        NEVER,
        "same time",
    ),
    "busy": (make("omero.TryAgain", *BUSY), RemoteError, AGAIN, "busy"),
    "full": (make("omero.ResourceError", *SERVER, message="disk"), RemoteError, NEVER, "disk"),
    "full within": (
        make("omero.InternalException", *SERVER, message="No space left on device"),
        RemoteError,
        NEVER,
        "has not the means",
    ),
    "usage": (make(*USAGE), RemoteError, NEVER, "does not understand"),
}


@pytest.mark.parametrize(
    ("error", "kind", "helps", "says"), (LOCAL | REMOTE).values(), ids=(LOCAL | REMOTE).keys()
)
def test_each_exception_has_its_meaning(
    error: Exception, kind: type[ParfocalError], helps: tuple[bool, bool], says: str
) -> None:
    fault = fault_of(error, "omero://a.org")
    assert type(fault.error) is kind
    assert (fault.again, fault.lost) == helps
    assert says in str(fault.error)
    assert "omero://a.org" in str(fault.error)
    assert str(translate(error, "omero://a.org")) == str(fault.error)


def test_an_error_of_ours_stays_as_it_is() -> None:
    ours = InputError("x")
    assert translate(ours, "somewhere") is ours


def test_the_server_says_how_long_it_wants_to_be_left_alone() -> None:
    busy = make("omero.TryAgain", *BUSY, backOff=2500)
    assert fault_of(busy, "").wait_s == 2.5
    changed = make("omero.OptimisticLockException", *BUSY, backOff=2500)
    assert fault_of(changed, "").wait_s == 0


def test_a_login_is_tried_again_where_others_log_in_at_the_same_moment() -> None:
    names = ("omero.WrappedCreateSessionException", "Glacier2.CannotCreateSessionException")
    for concurrency in (True, False):
        error = make(*names, concurrency=concurrency, reason="r")
        assert fault_of(error, "").again is concurrency


def test_a_failed_command_tells_what_it_was() -> None:
    told = SimpleNamespace(category="c", name="n", parameters={"message": "SecurityViolation: no"})
    error = translate(make("omero.CmdError", "omero.ClientError", err=told), "x")
    assert isinstance(error, InputError)
    text = "not permitted to delete Image[7]"
    told = {"message": text, "stacktrace": "ome.GraphException: no\n\tat ome.Secret.method"}
    refused = SimpleNamespace(category="c", name="graph-fail", parameters=told)
    error = translate(make("omero.CmdError", "omero.ClientError", err=refused), "x")
    assert isinstance(error, AccessError)
    assert error.remedy
    assert str(error.found) == f"CmdError: c graph-fail message: {text}"
    other = SimpleNamespace(category="c", name="graph-fail", parameters=None)
    error = translate(make("omero.CmdError", "omero.ClientError", err=other), "x")
    assert isinstance(error, RemoteError)
    assert "graph-fail" in str(error)


def test_neither_keys_nor_stack_traces_nor_long_texts_are_told() -> None:
    message = f"No session with uuid:{KEY.upper()}\n\tat ome.Secret.method"
    error = make("omero.RemovedSessionException", *SERVER, message=message, serverStackTrace="at x")
    told = str(translate(error, "x"))
    assert KEY not in told.lower()
    assert "No session with uuid:(removed)" in told
    assert "ome.Secret" not in told
    assert "at x" not in told
    long = str(translate(make("omero.ResourceError", *SERVER, message="y" * 9000), "x"))
    assert len(long) < 600


def test_secrets_are_taken_out_of_texts() -> None:
    assert without_keys("a hunter2 b", "hunter2", "") == "a (removed) b"
    assert without_keys(f"({KEY})") == "((removed))"
    assert without_keys("sha256:3f2504e0") == "sha256:3f2504e0"


def test_what_omero_py_logs_has_no_keys(caplog: pytest.LogCaptureFixture) -> None:
    top, below = logging.getLogger("test-of-omero"), logging.getLogger("test-of-omero.gateway")
    for _ in range(2):
        _quieten("test-of-omero")
    assert len(top.filters) == len(below.filters) == 1
    below.error("closed connection (uuid=%s)", KEY)
    assert not caplog.records
    top.setLevel(logging.DEBUG)  # by who wants to see it
    for logger in (top, below):
        logger.debug("closed connection (uuid=%s)", KEY)
    assert caplog.messages == ["closed connection (uuid=(removed))"] * 2
