"""``parfocal login``, and that no password goes to a server that is not the right one."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.omero.server.control import Control

from certificates import Certificate, make_certificate
from omero_process import OwnServer, RealServer
from parfocal.errors import RemoteError
from parfocal.models.omero_server import OmeroServer
from parfocal.omero import session as session_module
from parfocal.omero.connection import Connection
from parfocal.omero.credentials import (
    Credentials,
    find_credentials,
    session_folder,
    store_session,
)
from parfocal.omero.tls import Trust, check_server, fingerprint_of, trust_server

LOGIN = [sys.executable, "-m", "parfocal", "login"]
TIMEOUT_S = 60


def login(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command without a terminal."""
    return subprocess.run(
        [*LOGIN, *arguments],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def login_on_terminal(*arguments: str, answers: dict[str, str]) -> tuple[int, str]:
    """Run the command on a terminal; return its exit code and what was seen on it.

    Parameters
    ----------
    answers : dict
        What is typed where a prompt begins so.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [*LOGIN, *arguments])
    seen, asked, answers = "", 0, dict(answers)
    deadline = time.monotonic() + TIMEOUT_S
    while select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0]:
        try:
            told = os.read(terminal, 4096).decode()
        except OSError:  # the other side is closed
            break
        if not told:
            break
        seen += told
        for prompt in [each for each in answers if each in seen[asked:]]:
            if re.search(r": $", seen):
                os.write(terminal, f"{answers.pop(prompt)}\n".encode())
                asked = len(seen)
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen


@pytest.fixture
def address(own_server: OwnServer) -> OmeroServer:
    """The test server, whose certificate is of its own making and not trusted."""
    return OmeroServer(own_server.host, own_server.ssl)


@pytest.fixture
def trusted(address: OmeroServer, own_server: OwnServer) -> OmeroServer:
    """The same, pinned."""
    pem = (own_server.folder / "certificate.pem").read_text()
    trust_server(address, fingerprint_of(pem))
    return address


@pytest.fixture(scope="module")
def authority() -> Certificate:
    return make_certificate("An authority of the test", authority=True)


@pytest.fixture(scope="module")
def signed_server(
    authority: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OwnServer]:
    """A test server whose certificate an authority signed."""
    folder = tmp_path_factory.mktemp("signed") / "server"
    folder.mkdir()
    made = make_certificate("x", ["localhost"], signer=authority)
    for path, name in zip(made.write(folder), ("certificate.pem", "key.pem"), strict=True):
        path.rename(folder / name)
    running = OwnServer(folder)
    running.start()
    yield running
    running.stop()


def logins(faults: Control, since: int) -> list[str]:
    """Return who tried to log in since a call."""
    return [str(each) for each in faults.journal(method="createSession", since=since)]


def test_an_unknown_certificate_is_shown_with_the_command_that_pins_it(
    address: OmeroServer, server: RealServer, faults: Control
) -> None:
    since = faults.last()
    environment = {"OMERO_USER": "alice", "OMERO_PASSWORD": server.password("alice")}
    refused = login(address.uri, **environment)
    assert refused.returncode == 3
    assert not logins(faults, since)
    [command] = re.findall(
        r"parfocal login (omero://\S+) --trust (SHA256:[0-9A-F:]+)", refused.stderr
    )
    done = login(command[0], "--trust", command[1], **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "pinned" in done.stdout
    assert "alice" in done.stdout
    assert len(logins(faults, since)) == 1


def test_it_tells_how_the_login_works(
    trusted: OmeroServer, server: RealServer, faults: Control
) -> None:
    before = faults.sessions()
    secret = server.password("carol")
    done = login(
        OMERO_HOST=trusted.host,
        OMERO_PORT=str(trusted.port),
        OMERO_USER="carol",
        OMERO_PASSWORD=secret,
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = dict(line.split(None, 1) for line in done.stdout.splitlines())
    assert rows["server"].startswith(trusted.uri)
    assert rows["user"].startswith("carol (id ")
    assert "write (id " in rows["group"]
    assert "OMERO_USER and OMERO_PASSWORD" in done.stdout
    assert "ends with this command" in rows["session"]
    assert re.search(r"[0-9.]+ ms", done.stdout)
    assert faults.sessions() == before


def test_a_wrong_password_is_the_users_fault(trusted: OmeroServer) -> None:
    done = login(trusted.uri, OMERO_USER="alice", OMERO_PASSWORD="hunter2-secret")
    assert done.returncode == 2
    assert "does not take this user and password" in done.stderr
    assert "hunter2-secret" not in done.stdout + done.stderr


def test_without_a_terminal_nothing_is_asked(trusted: OmeroServer) -> None:
    done = login(trusted.uri)
    assert done.returncode == 2
    assert "nothing to log in" in done.stderr
    done = login(trusted.uri, "--user", "alice")
    assert done.returncode == 2
    assert "on a terminal only" in done.stderr
    assert login().returncode == 2


def test_nobody_waits_for_a_server_that_is_not_there() -> None:
    start = time.monotonic()
    done = login("localhost:1", OMERO_USER="alice", OMERO_PASSWORD="x")
    assert done.returncode == 3
    assert "does not answer" in done.stderr
    assert time.monotonic() - start < TIMEOUT_S / 2


def test_a_typed_password_opens_a_session_for_later_commands(
    trusted: OmeroServer, server: RealServer, faults: Control
) -> None:
    before = {each["session"] for each in faults.sessions()}
    secret = server.password("bob")
    answers = {"User of": "bob", "Password of bob": secret}
    code, seen = login_on_terminal(trusted.uri, answers=answers)
    assert code == 0, seen
    [key] = {each["session"] for each in faults.sessions()} - before
    assert find_credentials(trusted) == Credentials(
        None, key, f"a session file below {session_folder()}"
    )
    assert key not in seen
    for _ in range(2):
        done = login(trusted.uri)
        assert (done.returncode, done.stderr) == (0, "")
        assert "bob (id " in done.stdout
    assert key in {each["session"] for each in faults.sessions()}
    files = [path for path in session_folder().rglob("*") if path.is_file()]
    assert not any(f"pass={secret}" in path.read_text() for path in files)


def test_the_user_of_the_last_session_is_proposed(trusted: OmeroServer, server: RealServer) -> None:
    store_session(trusted, "bob", "a-key-that-has-expired")
    answers = {"User of": "", "Password of bob": server.password("bob")}
    code, seen = login_on_terminal(trusted.uri, answers=answers)
    assert code == 0, seen
    assert f"User of {trusted.uri} [bob]: " in seen


def test_an_unknown_server_is_told_before_anything_is_asked() -> None:
    code, seen = login_on_terminal("nowhere.invalid", answers={})
    assert code == 3, seen
    assert "name of the OMERO server is not known" in seen
    assert "asked for" not in seen


def test_omero_py_finds_the_session_that_was_written_down(
    trusted: OmeroServer, server: RealServer
) -> None:
    code, seen = login_on_terminal(
        trusted.uri, "--user", "bob", answers={"Password of bob": server.password("bob")}
    )
    assert code == 0, seen
    from omero.util.sessions import SessionsStore

    store = SessionsStore(str(session_folder()))
    host, name, key, port = store.get_current()
    assert (host, name, port) == (trusted.host, "bob", str(trusted.port))
    client, _, _, _ = store.attach(host, name, key)
    try:
        assert client.sf.getAdminService().getEventContext().userName == "bob"
    finally:
        client.closeSession()
    with Connection(trusted) as connection:
        assert connection.user_name == "bob"


def test_a_session_of_omero_py_is_joined_and_left(
    trusted: OmeroServer, server: RealServer, faults: Control
) -> None:
    from omero.util.sessions import SessionsStore

    store = SessionsStore(str(session_folder()))
    settings = {"omero.host": trusted.host, "omero.port": str(trusted.port)}
    client, key, _, _ = store.create("alice", server.password("alice"), settings)
    client.closeSession()
    with Connection(trusted) as connection:
        assert connection.session.key == key
    assert key in {each["session"] for each in faults.sessions()}
    faults.kill(session=key)


def test_a_password_is_typed_before_no_unknown_server(address: OmeroServer) -> None:
    code, seen = login_on_terminal(address.uri, "--user", "bob", answers={})
    assert code == 3, seen
    assert "Password" not in seen


def test_a_certificate_of_a_known_authority_needs_no_pin(
    signed_server: OwnServer,
    authority: Certificate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.write(tmp_path)[0]))
    server = OmeroServer("localhost", signed_server.ssl)
    with Connection(server, Credentials("alice", "alice", "the test")) as connection:
        trust = connection.session.trust
        assert (trust.how, trust.named) == ("authority", True)
    # By its address, for which it is not made out: pinned, and verified by Ice all the same.
    by_address = OmeroServer("127.0.0.1", signed_server.ssl)
    connection = Connection(by_address, Credentials("alice", "alice", "the test"))
    with connection, pytest.raises(RemoteError, match="another host") as caught:
        connection.call(lambda gateway: gateway)
    [found] = re.findall(r"--trust (\S+)", str(caught.value))
    trust_server(by_address, found)
    with Connection(by_address, Credentials("alice", "alice", "the test")) as connection:
        assert connection.user_name == "alice"
        assert connection.session.trust.how == "pin"


@pytest.mark.parametrize("between", ["another certificate", "an unknown one"])
def test_who_comes_in_between_after_the_check_gets_no_password(
    between: str,
    trusted: OmeroServer,
    faults: Control,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = check_server(trusted)
    other = make_certificate("x", authority=True)
    # What was checked is not what Ice then finds, as if somebody had come in between.
    checked: Trust = {
        "another certificate": replace(right, fingerprint=other.fingerprint),
        "an unknown one": replace(right, authorities=other.write(tmp_path)[0]),
    }[between]
    monkeypatch.setattr(session_module, "check_server", lambda server: checked)
    since = faults.last()
    connection = Connection(trusted, Credentials("alice", "alice", "the test"), patience_s=0)
    with connection, pytest.raises(RemoteError, match="certificate"):
        connection.call(lambda gateway: gateway)
    assert not logins(faults, since)


def test_ice_checks_the_name_too(
    signed_server: OwnServer,
    authority: Certificate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known, _ = authority.write(tmp_path)
    pem = (signed_server.folder / "certificate.pem").read_text()
    checked = Trust("authority", fingerprint_of(pem), known, named=True)
    monkeypatch.setattr(session_module, "check_server", lambda server: checked)
    faults = Control(signed_server.faults)
    since = faults.last()
    server = OmeroServer("127.0.0.1", signed_server.ssl)
    connection = Connection(server, Credentials("alice", "alice", "the test"), patience_s=0)
    with connection, pytest.raises(RemoteError, match=r"does not have .127\.0\.0\.1."):
        connection.call(lambda gateway: gateway)
    assert not logins(faults, since)
