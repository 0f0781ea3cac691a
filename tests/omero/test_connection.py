"""Connections outlive losses, and keep to what they may do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from tests.omero.server.control import Control

from omero_process import OwnServer, RealServer
from parfocal.errors import ConfigurationError, InputError, RemoteError
from parfocal.models.omero_server import OmeroServer, parse_omero_server
from parfocal.omero import connection as connection_module
from parfocal.omero import session as session_module
from parfocal.omero.connection import Connection
from parfocal.omero.credentials import Credentials

PATIENCE_S = 30.0

Connect = Callable[..., Connection]


@pytest.fixture
def address(logged_in: str) -> OmeroServer:
    """The server, whose certificate is pinned."""
    return parse_omero_server(logged_in)


@pytest.fixture
def open_connection(server: RealServer, address: OmeroServer) -> Iterator[Connect]:
    """Connect as a user, by name and password."""
    opened: list[Connection] = []

    def start(user: str = "alice", patience_s: float = PATIENCE_S) -> Connection:
        login = Credentials(user, server.password(user), "the test")
        opened.append(Connection(address, login, patience_s=patience_s))
        return opened[-1]

    yield start
    for connection in opened:
        connection.close()


def who(gateway: Any) -> str:
    """Return who the server takes the user for: a call that goes to it."""
    return str(gateway.c.sf.getAdminService().getEventContext().userName)


def keys(faults: Control) -> set[str]:
    return {each["session"] for each in faults.sessions()}


def test_a_connection_knows_who_and_where_it_is(open_connection: Connect) -> None:
    connection = open_connection()
    assert connection.user_name == "alice"
    context = connection.gateway.c.sf.getAdminService().getEventContext()
    assert (connection.user_id, connection.group_id) == (context.userId, context.groupId)
    assert connection.session.group_name == "annotate"
    assert connection.session.trust.how == "pin"


def test_one_that_a_password_opened_is_ended_when_closed(
    open_connection: Connect, faults: Control
) -> None:
    connection = open_connection()
    key = connection.session.key
    assert key in keys(faults)
    connection.close()
    assert key not in keys(faults)
    connection.close()
    assert connection.user_name == "alice"  # it is opened again when it is used again


def test_one_that_was_joined_goes_on_when_closed(
    open_connection: Connect, address: OmeroServer, faults: Control
) -> None:
    owner = open_connection()
    for _ in range(2):
        with Connection(address, Credentials(None, owner.session.key, "the test")) as joined:
            assert joined.user_name == "alice"
            assert joined.session.key == owner.session.key
        assert owner.session.key in keys(faults)
    assert owner.call(who) == "alice"


@pytest.mark.parametrize(
    "broken", ["session", "connection", "restart", "away"], ids=lambda name: name
)
def test_a_loss_is_outlived(
    broken: str, open_connection: Connect, own_server: OwnServer, faults: Control
) -> None:
    connection = open_connection()
    before = connection.session.key
    calls: list[int] = []

    def work(gateway: Any) -> str:
        calls.append(1)
        if len(calls) == 1:
            if broken == "session":
                faults.kill(session=before)
            elif broken == "connection":
                faults.drop("IAdmin", "getEventContext")
            elif broken == "restart":
                own_server.restart()
            else:
                faults.be_away(3)
        return who(gateway)

    assert connection.call(work) == "alice"
    assert len(calls) == 2
    assert connection.session.key != before


def test_a_server_that_is_busy_is_asked_again(open_connection: Connect, faults: Control) -> None:
    connection = open_connection()
    key = connection.session.key
    rule = faults.refuse("IAdmin", "getEventContext", "TryAgain", times=2)
    assert connection.call(who) == "alice"
    assert faults.seen(rule) == 3
    assert connection.session.key == key


def test_patience_ends(own_server: OwnServer, open_connection: Connect) -> None:
    connection = open_connection(patience_s=2)
    assert connection.call(who) == "alice"
    own_server.stop()
    try:
        start = time.monotonic()
        with pytest.raises(RemoteError, match="does not answer") as caught:
            connection.call(who)
        assert time.monotonic() - start >= 2
        assert own_server.uri in str(caught.value)
        assert caught.value.__cause__ is None
    finally:
        own_server.start()
    assert connection.call(who) == "alice"


def test_a_server_that_was_given_up_is_not_waited_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    clock = SimpleNamespace(sleep=slept.append, monotonic=lambda: 1000 + sum(slept))
    monkeypatch.setattr(connection_module, "time", clock)
    login = Credentials("alice", "x", "the test")
    waited = []
    for _ in range(2):  # two images of a batch
        with (
            Connection(OmeroServer("127.0.0.1", 1), login, patience_s=100) as connection,
            pytest.raises(RemoteError, match="does not answer"),
        ):
            connection.call(who)
        waited.append(sum(slept) - sum(waited))
    assert waited == [pytest.approx(100), pytest.approx(15)]


def test_one_that_answers_is_waited_for_again(
    open_connection: Connect, address: OmeroServer
) -> None:
    connection_module._GIVEN_UP.add(address)
    open_connection().call(who)
    assert address not in connection_module._GIVEN_UP


def test_a_server_that_hangs_is_given_up(
    open_connection: Connect, faults: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "CALL_TIMEOUT_S", 2)
    connection = open_connection(patience_s=20)
    connection.call(who)
    rule = faults.delay("IAdmin", "getEventContext", 6)
    assert connection.call(who) == "alice"
    assert faults.seen(rule) > 1


def test_a_server_that_is_gone_without_a_word_is_found_out(
    open_connection: Connect, own_server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "KEEP_ALIVE_S", 0.3)
    connection = open_connection(patience_s=60)
    key = connection.session.key
    calls: list[int] = []

    def work(gateway: Any) -> str:
        calls.append(1)
        if len(calls) == 1:
            own_server.freeze(8)
        return who(gateway)

    assert connection.call(work) == "alice"
    assert len(calls) == 2
    assert connection.session.key != key


def test_a_write_is_not_repeated(open_connection: Connect, faults: Control) -> None:
    connection = open_connection()
    connection.call(who)
    calls: list[int] = []

    def work(gateway: Any) -> str:
        calls.append(1)
        return who(gateway)

    faults.drop("IAdmin", "getEventContext", when="after")
    with pytest.raises(RemoteError, match="broke off"):
        connection.once(work)
    assert len(calls) == 1
    assert connection.once(work) == "alice"  # over another connection


def test_before_a_write_a_lost_session_is_found_out(
    open_connection: Connect, faults: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parfocal.omero.connection._STALE_S", 0.0)
    connection = open_connection()
    faults.kill(session=connection.session.key)
    assert connection.once(who) == "alice"


def test_an_error_of_the_work_is_not_repeated(open_connection: Connect, faults: Control) -> None:
    connection = open_connection()
    calls: list[int] = []

    def work(gateway: Any) -> None:
        calls.append(1)
        gateway.getQueryService().get("Image", 99_999_999, gateway.SERVICE_OPTS)

    with pytest.raises(InputError, match="no such object"):
        connection.call(work)
    assert len(calls) == 1

    def own(gateway: Any) -> None:
        calls.append(2)
        raise FileNotFoundError("of the disk")

    with pytest.raises(FileNotFoundError):
        connection.call(own)
    assert calls == [1, 2]


def test_a_wrong_password_is_told_at_once_and_not_repeated(
    address: OmeroServer, caplog: pytest.LogCaptureFixture
) -> None:
    connection = Connection(address, Credentials("alice", "hunter2", "the test"))
    with connection, pytest.raises(ConfigurationError, match="user and password") as caught:
        connection.call(who)
    assert caught.value.exit_code == 2
    assert "hunter2" not in str(caught.value) + caplog.text


def test_an_expired_session_is_told_without_its_key(
    open_connection: Connect, address: OmeroServer, faults: Control
) -> None:
    key = open_connection().session.key
    faults.kill(session=key)
    connection = Connection(address, Credentials(None, key, "OMERO_SESSION"))
    with connection, pytest.raises(ConfigurationError, match="has expired") as caught:
        connection.call(who)
    assert key not in str(caught.value)
    assert "OMERO_SESSION" in str(caught.value)


def test_a_session_that_ends_in_mid_work_is_told_where_nobody_can_log_in_again(
    open_connection: Connect, address: OmeroServer, faults: Control
) -> None:
    key = open_connection().session.key
    with Connection(address, Credentials(None, key, "OMERO_SESSION")) as connection:
        assert connection.call(who) == "alice"
        faults.kill(session=key)
        with pytest.raises(ConfigurationError, match="has expired"):
            connection.call(who)


def test_idle_sessions_are_kept_alive(
    open_connection: Connect, faults: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "KEEP_ALIVE_S", 0.2)
    open_connection().call(who)
    since = faults.last()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if len(faults.journal(method="keepAlive", since=since)) >= 3:
            return
        time.sleep(0.1)
    pytest.fail("nothing kept the session alive")


def test_an_unknown_host_is_told_at_once() -> None:
    login = Credentials("alice", "x", "the test")
    connection = Connection(OmeroServer("no-such-host.invalid"), login)
    with connection, pytest.raises(RemoteError) as caught:
        connection.call(who)
    assert caught.value.exit_code == 3
    assert "no-such-host.invalid" in str(caught.value)


@pytest.mark.parametrize("text", ["long", "nan", "-1", "inf"])
def test_patience_is_a_number(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARFOCAL_OMERO_PATIENCE_S", text)
    with pytest.raises(ConfigurationError, match="not a number"):
        Connection(OmeroServer("a.org"))
