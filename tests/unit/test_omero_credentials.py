"""What is logged in with, and where it is found."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from parfocal.errors import ConfigurationError, StorageError
from parfocal.models.omero_server import OmeroServer
from parfocal.omero.credentials import (
    Credentials,
    find_credentials,
    session_folder,
    store_session,
    usual_user,
)

SERVER = OmeroServer("a.org")
SECRET = "hunter2-secret"
VARIABLES = ("HOST", "PORT", "USER", "PASSWORD", "SESSION", "SESSIONDIR", "USERDIR")


@pytest.fixture(autouse=True)
def _nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(f"OMERO_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def set_environment(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"OMERO_{name}", value)


def write_session(
    key: str,
    host: str = "a.org",
    user: str = "alice",
    port: int | None = None,
    *,
    last: bool = False,
    last_user: bool = False,
) -> None:
    """Write a session file as omero-py does."""
    folder = session_folder() / quote(host, safe="") / user
    folder.mkdir(parents=True, exist_ok=True)
    text = f"omero.host={host}\nomero.user={user}\nomero.sess={key}\n"
    (folder / key).write_text(text + (f"omero.port={port}\n" if port else ""))
    if last:
        (folder / "._LASTSESS_").write_text(key)
    if last_user:
        (folder.parent / "._LASTUSER_").write_text(user)


def test_a_secret_is_not_shown() -> None:
    assert SECRET not in repr(Credentials("alice", SECRET, "x"))


def test_the_order_is_session_then_password_then_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write_session("key-of-file")
    assert find_credentials(SERVER).secret == "key-of-file"
    assert find_credentials(SERVER).joins
    set_environment(monkeypatch, USER="alice", PASSWORD=SECRET)
    assert find_credentials(SERVER) == Credentials("alice", SECRET, "OMERO_USER and OMERO_PASSWORD")
    assert not find_credentials(SERVER).joins
    set_environment(monkeypatch, SESSION="key")
    assert find_credentials(SERVER) == Credentials(None, "key", "OMERO_SESSION")


@pytest.mark.parametrize(
    ("host", "port", "server", "goes"),
    [
        ("a.org", None, SERVER, True),
        ("A.org", "4064", SERVER, True),
        ("omero://a.org", None, SERVER, True),
        ("wss://a.org/omero-ws", None, SERVER, True),
        ("b.org", None, SERVER, False),
        ("a.org", "4065", SERVER, False),
        ("a.org:4065", None, SERVER, False),
        ("a.org:4065", None, OmeroServer("a.org", 4065), True),
        (None, "4065", SERVER, False),
    ],
)
def test_the_environments_login_goes_to_the_server_that_it_names(
    host: str | None,
    port: str | None,
    server: OmeroServer,
    goes: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named = {"HOST": host, "PORT": port}
    set_environment(monkeypatch, **{name: value for name, value in named.items() if value})
    for login in ({"SESSION": SECRET}, {"USER": "alice", "PASSWORD": SECRET}):
        with monkeypatch.context() as patch:
            set_environment(patch, **login)
            if goes:
                assert find_credentials(server).secret == SECRET
                continue
            with pytest.raises(ConfigurationError, match="nothing to log in") as caught:
                find_credentials(server)
            assert "passed over OMERO_" in str(caught.value)
            assert SECRET not in str(caught.value)


def test_a_login_for_another_server_is_passed_over_for_a_session_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_environment(monkeypatch, HOST="b.org", SESSION="other")
    write_session("mine")
    assert find_credentials(SERVER).secret == "mine"


def test_galaxy_is_told_where_its_form_asks_for_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARFOCAL_ENGINE", "galaxy 26.1")
    with pytest.raises(ConfigurationError, match="under 'Credentials' in the form") as caught:
        find_credentials(SERVER)
    assert "parfocal login" not in str(caught.value)


def test_half_a_login_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, PASSWORD=SECRET)
    with pytest.raises(ConfigurationError, match="OMERO_USER is not set") as caught:
        find_credentials(SERVER)
    assert SECRET not in str(caught.value)
    assert "parfocal login omero://a.org" in str(caught.value)


@pytest.mark.parametrize(
    ("host", "port", "server", "found"),
    [
        ("a.org", None, SERVER, True),
        ("a.org", 4064, SERVER, True),
        ("a.org", 4065, SERVER, False),
        ("a.org", 4065, OmeroServer("a.org", 4065), True),
        ("b.org", None, SERVER, False),
        ("ssl://a.org:4065", None, OmeroServer("a.org", 4065), True),
        ("wss://a.org/omero-ws", 443, OmeroServer("a.org", None, "wss", "/omero-ws"), True),
        ("a.org", 4064, OmeroServer("a.org", None, "wss", "/omero-ws"), True),
        ("not a host", None, SERVER, False),
    ],
)
def test_session_files_are_told_apart_by_server(
    host: str, port: int | None, server: OmeroServer, found: bool
) -> None:
    write_session("key", host, port=port)
    if found:
        assert find_credentials(server).secret == "key"
    else:
        with pytest.raises(ConfigurationError):
            find_credentials(server)


def test_the_session_used_last_is_taken_and_of_the_last_user() -> None:
    write_session("z-old")
    write_session("a-last", last=True)
    write_session("z-of-bob", user="bob", last=True)
    (session_folder() / "a.org" / "._LASTUSER_").write_text("alice")
    assert find_credentials(SERVER).secret == "a-last"
    (session_folder() / "a.org" / "._LASTUSER_").write_text("bob")
    assert find_credentials(SERVER).secret == "z-of-bob"


def test_session_files_lie_where_omero_py_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert session_folder() == tmp_path / "omero" / "sessions"
    set_environment(monkeypatch, USERDIR="/u")
    assert session_folder() == Path("/u/sessions")
    set_environment(monkeypatch, SESSIONDIR="/s")
    assert session_folder() == Path("/s")


@pytest.mark.parametrize(
    "server",
    [SERVER, OmeroServer("a.org", 4065), OmeroServer("a.org", None, "wss", "/omero-ws")],
    ids=lambda server: server.uri,
)
def test_a_stored_session_is_found_again_and_is_private(server: OmeroServer) -> None:
    store_session(server, "alice", "first")
    folder = store_session(server, "alice", "second")
    assert find_credentials(server).secret == "second"
    assert folder == session_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


@pytest.mark.parametrize("user", ["../evil", "a/b", "..", "."])
def test_a_user_whose_name_leads_elsewhere_is_refused(user: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        store_session(SERVER, user, "key")
    assert not list(tmp_path.rglob("key"))


def test_a_session_that_cannot_be_stored_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, SESSIONDIR="/proc/nowhere")
    with pytest.raises(StorageError, match="OMERO_SESSIONDIR") as caught:
        store_session(SERVER, "alice", SECRET)
    assert SECRET not in str(caught.value)


def test_the_usual_user_is_that_of_the_environment_else_of_the_last_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert usual_user(SERVER) is None
    write_session("old", user="bob")
    write_session("new", user="carol", last=True, last_user=True)
    write_session("other", host="b.org", user="dave")
    assert usual_user(SERVER) == "carol"
    set_environment(monkeypatch, USER="alice")
    assert usual_user(SERVER) == "alice"
    set_environment(monkeypatch, HOST="b.org")
    assert usual_user(SERVER) == "carol"
