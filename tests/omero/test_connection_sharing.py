"""Connections that threads, processes and groups share, and what they keep to themselves."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.omero.server.control import Control

from omero_process import OwnServer, RealServer
from parfocal.core.process_end import end_process
from parfocal.errors import RemoteError
from parfocal.models.omero_server import OmeroServer, parse_omero_server
from parfocal.omero.connection import Connection, connect
from parfocal.omero.credentials import Credentials
from parfocal.omero.tls import fingerprint_of, trust_server


@pytest.fixture
def mine(logged_in: str) -> Iterator[Connection]:
    """A connection as alice that nobody else has."""
    with Connection(parse_omero_server(logged_in), patience_s=30) as connection:
        yield connection


def who(gateway: Any) -> str:
    """Return who the server takes the user for: a call that goes to it."""
    return str(gateway.c.sf.getAdminService().getEventContext().userName)


def keys(faults: Control) -> set[str]:
    return {each["session"] for each in faults.sessions()}


def test_calls_are_made_in_the_group_of_the_block(mine: Connection) -> None:
    groups = {g.getName(): g.getId() for g in mine.gateway.getGroupsMemberOf()}

    def group_of_new(gateway: Any) -> int:
        from omero.gateway import TagAnnotationWrapper

        tag = TagAnnotationWrapper(gateway)
        tag.setValue("of the test")
        tag.save()
        found = gateway.getObject("TagAnnotation", tag.getId()).getDetails().group.id.val
        gateway.deleteObjects("Annotation", [tag.getId()], wait=True)
        return int(found)

    seen: list[int] = []
    for name in ("private", "write"):
        with mine.in_group(groups[name]):
            seen.append(mine.once(group_of_new))
    assert seen == [groups["private"], groups["write"]]
    assert mine.gateway.SERVICE_OPTS.getOmeroGroup() == "-1"


def test_the_group_of_a_block_outlives_a_loss(mine: Connection, faults: Control) -> None:
    group = next(g.getId() for g in mine.gateway.getGroupsMemberOf() if g.getName() == "private")

    def group_now(gateway: Any) -> int:
        return int(gateway.c.sf.getAdminService().getEventContext().groupId)

    with mine.in_group(group):
        assert mine.call(group_now) == group
        faults.kill(session=mine.session.key)
        assert mine.call(group_now) == group
        with pytest.raises(ZeroDivisionError), mine.in_group(-1):
            raise ZeroDivisionError
        assert mine.call(group_now) == group


def test_threads_take_turns(mine: Connection) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(mine.call(who))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == ["alice"] * 8


def in_child(work: Callable[[], None]) -> int:
    """Return the exit code of a forked process that does `work`."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_forked_process_leaves_the_connection_alone_and_has_its_own(
    mine: Connection, faults: Control
) -> None:
    key = mine.session.key

    def child() -> None:
        assert mine.user_name == "alice"
        assert mine.session.key != key
        mine.close()

    assert in_child(child) == 0

    assert keys(faults) >= {key}
    assert mine.session.key == key
    assert mine.call(who) == "alice"


FORKING = """
import os, sys
from parfocal.models.omero_server import parse_omero_server
from parfocal.omero.connection import connect
connection = connect(parse_omero_server(sys.argv[1]))
key = connection.session.key
pid = os.fork()
if pid == 0:
    sys.exit(7)  # with all the clearing up that Python does
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
connection.session.ping()
assert connection.session.key == key
print("alive")
"""


def test_a_forked_process_that_ends_does_not_end_the_session(
    logged_in: str, faults: Control
) -> None:
    before = keys(faults)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING, logged_in],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
    assert keys(faults) == before  # the process that opened it ended it at its end


def test_a_process_shares_one_connection_and_ends_its_session_in_the_end(
    server: RealServer, logged_in: str, faults: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMERO_USER", "bob")
    monkeypatch.setenv("OMERO_PASSWORD", server.password("bob"))
    address = parse_omero_server(logged_in)
    before = keys(faults)

    def child() -> None:
        assert connect(address) is connect(OmeroServer(address.host, address.port))
        assert connect(address).user_name == "bob"
        assert len(keys(faults) - before) == 1
        end_process()

    assert in_child(child) == 0
    assert keys(faults) == before


@pytest.mark.parametrize("transport", ["tcp", "wss"])
def test_other_transports_work_too(own_server: OwnServer, transport: str) -> None:
    port = {"tcp": own_server.tcp, "wss": own_server.wss}[transport]
    address = OmeroServer(
        own_server.host, port, transport, "/omero-ws" if transport == "wss" else ""
    )
    login = Credentials("alice", own_server.password("alice"), "the test")
    if transport == "wss":
        connection = Connection(address, login)
        with connection, pytest.raises(RemoteError, match="not known here"):
            connection.call(who)
        pem = (own_server.folder / "certificate.pem").read_text()
        trust_server(address, fingerprint_of(pem))
    with Connection(address, login) as connection:
        assert connection.call(who) == "alice"


def test_no_secret_is_logged_or_told_in_an_error(
    mine: Connection,
    faults: Control,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    loggers = [logging.getLogger(), *map(logging.getLogger, ("omero.gateway", "omero.client"))]
    levels = [logger.level for logger in loggers]
    first = mine.session.key
    told: list[str] = []
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    try:
        mine.call(lambda gateway: list(gateway.getObjects("Project")))
        faults.kill(session=first)
        mine.call(lambda gateway: list(gateway.getObjects("Project")))
        second = mine.session.key
        faults.kill(session=second)
        try:
            mine.once(lambda gateway: list(gateway.getObjects("Project")))
        except RemoteError:
            told.append(traceback.format_exc())
        mine.close()
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    assert told
    printed = capfd.readouterr()
    everything = "\n".join([caplog.text, printed.out, printed.err, *told, repr(mine)])
    assert "trying again" in everything
    for secret in (first, second):
        assert secret not in everything
