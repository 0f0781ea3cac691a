"""Who logs in to an OMERO server, and with what: from the environment or a session file.

Secrets are never taken from arguments, configuration or sample sheets. They are looked for in this
order, and what is meant for another server is passed over:

1. ``OMERO_SESSION``, the key of a session that somebody opened;
2. ``OMERO_USER`` and ``OMERO_PASSWORD``;
3. the session files of ``omero login`` and ``parfocal login``.

``OMERO_HOST`` and ``OMERO_PORT``, where set, say which server 1 and 2 are meant for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

from parfocal.errors import ConfigurationError, StorageError
from parfocal.models.omero_server import OmeroServer, parse_omero_server

__all__ = ["Credentials", "find_credentials", "session_folder", "store_session", "usual_user"]

_LAST_HOST, _LAST_PORT = "._LASTHOST_", "._LASTPORT_"
_LAST_USER, _LAST_SESSION = "._LASTUSER_", "._LASTSESS_"


@dataclass(frozen=True)
class Credentials:
    """What is shown to a server to log in.

    Attributes
    ----------
    user : str, optional
        None of a session, which knows its user.
    secret : str
        A password, or the key of a session; not shown when this is printed.
    origin : str
        Where it comes from, as the user is told.
    """

    user: str | None
    secret: str = field(repr=False)
    origin: str

    @property
    def joins(self) -> bool:
        """Whether a session is joined that somebody else opened."""
        return self.user is None


def find_credentials(server: OmeroServer) -> Credentials:
    """Return what to log in to `server` with.

    Raises
    ------
    ConfigurationError
        If there is nothing; it tells what was passed over, and why.
    """
    passed_over: list[str] = []
    for origin, found in (
        ("OMERO_SESSION", _session_of_environment()),
        ("OMERO_USER and OMERO_PASSWORD", _password_of_environment()),
    ):
        if found and (why := _not_for(server)):
            passed_over.append(f"{origin}, since {why}")
        elif found:
            return found
    if found := _session_of_file(server):
        return found
    if os.environ.get("OMERO_PASSWORD") and not os.environ.get("OMERO_USER"):
        passed_over.append("OMERO_PASSWORD, since OMERO_USER is not set")
    what = "There is nothing to log in to the OMERO server with"
    remedy = (
        f"Log in with: parfocal login {server.uri}; or set OMERO_USER and OMERO_PASSWORD, or "
        "OMERO_SESSION, in the environment."
    )
    if os.environ.get("PARFOCAL_ENGINE", "").partition(" ")[0] == "galaxy":
        remedy = "Choose your account on this server under 'Credentials' in the form of the tool."
    found_text = "; ".join(f"passed over {each}" for each in passed_over) or None
    raise ConfigurationError(what, where=server.uri, found=found_text, remedy=remedy)


def usual_user(server: OmeroServer) -> str | None:
    """Return who logs in to `server` usually: by the environment, else by the session files."""
    user = os.environ.get("OMERO_USER")
    if user and not _not_for(server):
        return user
    found = [(time, path.parent.name) for path, time in _session_files(server)]
    return max(found)[1] if found else None


def session_folder() -> Path:
    """Return the folder of session files, where omero-py has it.

    Source: ``omero sessions --help`` and ``get_omero_userdir`` of omero-py.
    """
    if folder := os.environ.get("OMERO_SESSIONDIR"):
        return Path(folder)
    if folder := os.environ.get("OMERO_USERDIR"):
        return Path(folder) / "sessions"
    return Path.home() / "omero" / "sessions"


def store_session(server: OmeroServer, user: str, key: str) -> Path:
    """Write down an open session as ``omero login`` does, for both to find.

    Returns
    -------
    Path
        The file, which only the user may read.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    host = _host_text(server)
    port = str(server.actual_port)
    top = session_folder()
    if "/" in user + key or user.startswith("."):  # which the server tells
        what = "The name of a user cannot be that of a folder, so that the session cannot be kept"
        raise StorageError(what, where=top, found=repr(user))
    folder = top / quote(host, safe="") / user
    lines = {"omero.host": host, "omero.port": port, "omero.user": user, "omero.sess": key}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        top.chmod(0o700)
        _write(folder / key, "".join(f"{name}={value}\n" for name, value in lines.items()))
        _write(folder / _LAST_SESSION, key)
        _write(folder.parent / _LAST_USER, user)
        _write(top / _LAST_HOST, host)
        _write(top / _LAST_PORT, port)
    except OSError as error:
        what = "The session cannot be written down"
        remedy = "Name a folder that can be written by OMERO_SESSIONDIR."
        raise StorageError(what, where=top, found=error.strerror, remedy=remedy) from None
    return top


def _session_of_environment() -> Credentials | None:
    key = os.environ.get("OMERO_SESSION")
    return Credentials(None, key, "OMERO_SESSION") if key else None


def _password_of_environment() -> Credentials | None:
    user, password = os.environ.get("OMERO_USER"), os.environ.get("OMERO_PASSWORD")
    if user and password:
        return Credentials(user, password, "OMERO_USER and OMERO_PASSWORD")
    return None


def _not_for(server: OmeroServer) -> str | None:
    """Return why the environment's login is not for `server`, if it says that it is not."""
    host, port = os.environ.get("OMERO_HOST"), os.environ.get("OMERO_PORT")
    if host:
        meant = parse_omero_server(host)
        if meant.host != server.host:
            return f"OMERO_HOST is {meant.host}"
        port = port or (str(meant.port) if meant.port else None)
    if port and port != str(server.actual_port):
        return f"OMERO_PORT is {port}"
    return None


def _session_of_file(server: OmeroServer) -> Credentials | None:
    """Return the session of `server` that was used last by ``omero login``."""
    found = [
        (path.name == _read(path.parent / _LAST_SESSION), time, path.name)
        for path, time in _session_files(server)
    ]
    if not found:
        return None
    return Credentials(None, max(found)[2], f"a session file below {session_folder()}")


def _session_files(server: OmeroServer) -> Iterator[tuple[Path, float]]:
    """Yield the files of sessions of `server`, of the last user if there was one, and their age."""
    for folder in _folders(session_folder()):
        stored = _stored_server(unquote(folder.name))
        if stored is None or stored.host != server.host:
            continue
        last = _read(folder / _LAST_USER)
        for user in _folders(folder):
            if last and user.name != last:
                continue
            for path in user.iterdir():
                if not path.name.startswith(".") and _is_of(path, stored, server):
                    yield path, path.stat().st_mtime


def _is_of(path: Path, stored: OmeroServer, server: OmeroServer) -> bool:
    """Return whether a session is of `server`: of its port, where the transport is the same."""
    port = re.search(r"^omero\.port=(\d+)$", _read(path) or "", re.MULTILINE)
    actual = stored.port or (int(port[1]) if port else stored.actual_port)
    return stored.transport != server.transport or actual == server.actual_port


def _stored_server(host: str) -> OmeroServer | None:
    try:
        return parse_omero_server(host)
    except ConfigurationError:
        return None


def _host_text(server: OmeroServer) -> str:
    """Return the host as omero-py takes it: a URL where it is not the usual transport."""
    if server.transport == "ssl":
        return server.host
    return f"{server.transport}://{server.address}{server.path}"


def _folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(entry for entry in path.iterdir() if entry.is_dir())


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _write(path: Path, text: str) -> None:
    """Write a file that only the user may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
