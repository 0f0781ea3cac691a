"""The test server opens, shares, expires and ends sessions as OMERO does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import Glacier2
import Ice
import omero
import omero.clients
import omero.model
import omero.sys
import pytest
from omero.rtypes import rstring

from omero_objects import dataset, projection
from omero_process import RealServer

WAIT_S = 30
GONE = (
    Ice.ObjectNotExistException,
    Ice.ConnectionLostException,
    omero.RemovedSessionException,
    omero.SessionTimeoutException,
)


@pytest.fixture
def client(server: RealServer) -> Iterator[Callable[..., Any]]:
    """Log in by name and password, or join by a key: ``client(key)``."""
    opened: list[Any] = []

    def log_in(key: str | None = None, user: str = "alice") -> Any:
        made = omero.client(server.host, server.ssl)
        opened.append(made)
        if key is None:
            made.createSession(user, server.password(user))
        else:
            made.joinSession(key)
        return made

    yield log_in
    for each in opened:
        each.__del__()


def user_name(client: Any) -> str:
    return str(client.sf.getAdminService().getEventContext().userName)


def is_refused(client: Callable[..., Any], key: str) -> bool:
    """Whether a session cannot be joined any more."""
    try:
        client(key).closeSession()
    except Glacier2.PermissionDeniedException:
        return True
    return False


def wait_until(happens: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("user", "password"), [("alice", "wrong"), ("nobody", "alice"), ("alice", "bob")]
)
def test_a_wrong_name_or_password_is_refused(server: RealServer, user: str, password: str) -> None:
    made = omero.client(server.host, server.ssl)
    with pytest.raises(Glacier2.PermissionDeniedException):
        made.createSession(user, password)
    made.__del__()


def test_a_session_that_is_joined_survives_one_of_its_clients(client: Callable[..., Any]) -> None:
    first = client()
    key = first.getSessionId()
    second = client(key)
    assert second.getSessionId() == key
    assert first.sf.getSessionService().getReferenceCount(key) == 2

    first.closeSession()
    assert user_name(second) == "alice"
    assert second.sf.getSessionService().getReferenceCount(key) == 1
    second.closeSession()
    assert is_refused(client, key)


def test_a_session_that_is_killed_ends_for_everyone(client: Callable[..., Any]) -> None:
    first = client()
    key = first.getSessionId()
    second = client(key)
    assert second.killSession() >= 1
    with pytest.raises(GONE):
        user_name(first)
    assert is_refused(client, key)


def test_a_session_is_kept_by_whom_detaches(client: Callable[..., Any]) -> None:
    first = client()
    key = first.getSessionId()
    first.sf.detachOnDestroy()
    first.closeSession()
    again = client(key)
    assert user_name(again) == "alice"
    again.closeSession()
    assert is_refused(client, key)


def test_who_loses_the_connection_has_left(client: Callable[..., Any]) -> None:
    first = client()
    key = first.getSessionId()
    second = client(key)
    first.sf.ice_getConnection().close(True)
    # Ice connects again by itself, and then nobody is logged in.
    with pytest.raises(GONE):
        user_name(first)
    wait_until(lambda: second.sf.getSessionService().getReferenceCount(key) == 1)
    assert user_name(second) == "alice"
    second.sf.ice_getConnection().close(True)
    wait_until(lambda: is_refused(client, key))


def timed(client: Any, idle_ms: int, live_ms: int = 0) -> str:
    """Return the key of a session that ends soon."""
    principal = omero.sys.Principal("alice", "annotate", "User", None)
    session = client.sf.getSessionService().createSessionWithTimeouts(principal, live_ms, idle_ms)
    return str(session.uuid.val)


def test_an_idle_session_expires(client: Callable[..., Any]) -> None:
    joined = client(timed(client(), idle_ms=300))
    time.sleep(0.6)
    with pytest.raises(omero.SessionTimeoutException):
        user_name(joined)
    with pytest.raises(GONE):
        user_name(joined)


def test_a_session_that_is_kept_alive_does_not_idle_out(client: Callable[..., Any]) -> None:
    joined = client(timed(client(), idle_ms=2000))
    end = time.monotonic() + 3
    while time.monotonic() < end:
        joined.sf.keepAlive(None)
        time.sleep(0.1)
    assert user_name(joined) == "alice"


def test_a_session_ends_at_its_time_however_much_it_is_used(client: Callable[..., Any]) -> None:
    joined = client(timed(client(), idle_ms=60_000, live_ms=400))
    ended = []

    def has_ended() -> bool:
        try:
            user_name(joined)
        except omero.SessionTimeoutException as error:
            ended.append(error)
        return bool(ended)

    wait_until(has_ended)


def test_idle_time_cannot_be_switched_off(client: Callable[..., Any]) -> None:
    with pytest.raises(omero.SecurityViolation):
        timed(client(), idle_ms=0)


def test_sessions_of_others_are_not_opened_or_seen(client: Callable[..., Any]) -> None:
    alice, bob = client(), client(user="bob")
    principal = omero.sys.Principal("bob", "annotate", "User", None)
    with pytest.raises(omero.SecurityViolation):
        alice.sf.getSessionService().createSessionWithTimeouts(principal, 0, 60_000)
    with pytest.raises(omero.SecurityViolation):
        alice.sf.getSessionService().getSession(bob.getSessionId())


def test_administrators_open_sessions_of_others(client: Callable[..., Any]) -> None:
    principal = omero.sys.Principal("bob", "write", "User", None)
    service = client(user="root").sf.getSessionService()
    joined = client(service.createSessionWithTimeouts(principal, 0, 60_000).uuid.val)
    seen = joined.sf.getAdminService().getEventContext()
    assert (seen.userName, seen.groupName) == ("bob", "write")


def test_sessions_that_were_opened_for_others_open_none(client: Callable[..., Any]) -> None:
    principal = omero.sys.Principal("bob", "write", "User", None)
    service = client(user="root").sf.getSessionService()
    joined = client(service.createSessionWithTimeouts(principal, 0, 60_000).uuid.val)
    with pytest.raises(omero.SecurityViolation):
        joined.sf.getSessionService().createUserSession(0, 60_000, "write")
    own = client().sf.getSessionService().createUserSession(0, 60_000, "write")
    assert client(own.uuid.val).sf.getAdminService().getEventContext().groupName == "write"


def test_the_group_of_a_session_can_be_changed(client: Callable[..., Any]) -> None:
    joined = client()
    admin = joined.sf.getAdminService()
    former, other = admin.lookupGroup("annotate"), admin.lookupGroup("write")
    file = joined.sf.createRawFileStore()
    with pytest.raises(omero.SecurityViolation, match="stateful"):
        joined.sf.setSecurityContext(other)
    file.close()
    assert joined.sf.setSecurityContext(other).id == former.id
    assert admin.getEventContext().groupName == "write"
    with pytest.raises(omero.SecurityViolation):
        joined.sf.setSecurityContext(admin.lookupGroup("system"))


def test_who_logged_in_from_where_is_told(client: Callable[..., Any]) -> None:
    joined = client()
    service = joined.sf.getSessionService()
    session = service.getSession(joined.getSessionId())
    assert session.owner.omeName.val == "alice"
    assert session.userAgent.val.startswith("OMERO.py")
    assert joined.getSessionId() in [each.uuid.val for each in service.getMyOpenSessions()]


def test_values_are_passed_on_within_a_session(client: Callable[..., Any]) -> None:
    first = client()
    second = client(first.getSessionId())
    first.setInput("a", rstring("b"))
    assert first.getInput("a", True) == "b"
    assert list(second.getInputKeys()) == ["a"]


def test_many_clients_work_at_once(gateway: Callable[..., Any]) -> None:
    connections = [gateway(user) for user in ("alice", "bob") for _ in range(3)]
    failed: list[BaseException] = []

    def work(connection: Any, number: int) -> None:
        try:
            for turn in range(10):
                name = f"at once {number} {turn}"
                connection.c.sf.getUpdateService().saveObject(dataset(name))
                found = projection(
                    connection, "select d.id from Dataset d where d.name = :n", n=name
                )
                assert len(found) == 1
        except BaseException as error:  # noqa: BLE001  reported below
            failed.append(error)

    threads = [
        threading.Thread(target=work, args=(connection, number))
        for number, connection in enumerate(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S * 4)
    assert not failed
    query = "select count(d) from Dataset d where d.name like 'at once %'"
    assert projection(connections[0], query) == [60]
