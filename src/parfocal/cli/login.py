"""``parfocal login``: log in to an OMERO server, or find out why that does not work."""

from __future__ import annotations

import os
import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from parfocal.errors import ConfigurationError

if TYPE_CHECKING:
    from parfocal.models.omero_server import OmeroServer
    from parfocal.omero.credentials import Credentials
    from parfocal.omero.session import OmeroSession

__all__ = ["login"]

_DESCRIPTION = """Log in to an OMERO server, and tell how that works.

With a login in the environment (OMERO_SESSION, or OMERO_USER and OMERO_PASSWORD) or a session file
of 'omero login', that is tried and told. Otherwise the password is asked for on the terminal, and
the session is written down for later commands; the password is not."""

_ROUNDS = 5


def login(argv: Sequence[str]) -> int:
    """Run the command.

    Returns
    -------
    int
        0; all else is raised.

    Raises
    ------
    ParfocalError
        What is wrong with the server, its certificate, or the login.
    """
    parser = ArgumentParser(
        prog="parfocal login",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "server",
        metavar="SERVER",
        nargs="?",
        help="omero://host[:port], omero+wss://host/path, or host; by default OMERO_HOST",
    )
    parser.add_argument(
        "--trust",
        metavar="FINGERPRINT",
        help="pin the server's certificate if it has this fingerprint (SHA256:...); 'unencrypted' "
        "for a server that encrypts nothing, in a network that is safe",
    )
    parser.add_argument("--user", metavar="NAME", help="ask for this user's password")
    options = parser.parse_args(argv)
    server = _server(options)
    if options.trust:
        _trust(server, options.trust)
    session = _open(server, options)
    if session:
        try:
            sys.stdout.write(_report(server, session))
        finally:
            session.close()
    return 0


def _server(options: Namespace) -> OmeroServer:
    from parfocal.models.omero_server import parse_omero_server

    text = options.server or os.environ.get("OMERO_HOST")
    if not text:
        what = "There is no server to log in to"
        raise ConfigurationError(what, remedy="Name it: parfocal login omero://host")
    port = None if options.server else os.environ.get("OMERO_PORT")
    return parse_omero_server(f"{text}:{port}" if port else text)


def _trust(server: OmeroServer, given: str) -> None:
    from parfocal.omero.faults import translate
    from parfocal.omero.tls import trust_server

    try:
        path = trust_server(server, given)
    except OSError as error:
        raise translate(error, server.uri) from error
    sys.stdout.write(f"trusted      {server.address}, as {path} says\n")


def _open(server: OmeroServer, options: Namespace) -> OmeroSession | None:
    """Return a session, or None where only a certificate was to be pinned."""
    from parfocal.omero.credentials import find_credentials

    asks = sys.stdin.isatty() and sys.stderr.isatty()
    if options.user:
        if not asks:
            what = "A password is asked for on a terminal only, and there is none"
            remedy = "Set OMERO_USER and OMERO_PASSWORD, or OMERO_SESSION, in the environment."
            raise ConfigurationError(what, where="--user", remedy=remedy)
        return _open_by_asking(server, options.user)
    credentials = None
    try:
        credentials = find_credentials(server)
        return _session(server, credentials)
    except ConfigurationError as error:
        if credentials is None and not asks and options.trust:
            return None
        if credentials is None:
            _reach(server)  # what is wrong with the server comes before what is to be typed
        if not asks:
            raise
        sys.stderr.write(f"{error.what}. What to log in with is asked for instead.\n")
    return _open_by_asking(server, None)


def _reach(server: OmeroServer) -> None:
    """Make sure that the server is there, and is the right one."""
    from parfocal.omero.faults import translate
    from parfocal.omero.tls import check_server

    try:
        check_server(server)
    except OSError as error:
        raise translate(error, server.uri) from error


def _open_by_asking(server: OmeroServer, user: str | None) -> OmeroSession:
    """Return a session that goes on when it is closed here."""
    import getpass

    from parfocal.omero.credentials import Credentials, store_session, usual_user

    _reach(server)  # before anything is typed
    if not user:
        usual = usual_user(server) or getpass.getuser()
        sys.stderr.write(f"User of {server.uri} [{usual}]: ")
        user = sys.stdin.readline().strip() or usual
    password = getpass.getpass(f"Password of {user}: ", sys.stderr)
    session = _session(server, Credentials(user, password, "what was typed"))
    session.leave_open()
    folder = store_session(server, session.user_name, session.key)
    sys.stdout.write(f"written      to a session file below {folder}\n")
    return session


def _session(server: OmeroServer, credentials: Credentials) -> OmeroSession:
    """Open a session at once or not at all: somebody is waiting."""
    from parfocal.omero.faults import translate, what_omero_raises
    from parfocal.omero.loading import load_omero
    from parfocal.omero.session import open_session

    load_omero()
    try:
        session = open_session(server, credentials)
    except OSError as error:
        raise translate(error, server.uri) from error
    except what_omero_raises() as error:
        raise translate(error, server.uri) from None
    sys.stdout.write(f"logged in    with {credentials.origin}\n")
    return session


def _report(server: OmeroServer, session: OmeroSession) -> str:
    from parfocal.omero.faults import translate, what_omero_raises

    try:
        rows = {
            "server": f"{server.uri}, OMERO {session.server_version()}",
            "certificate": _certificate(session),
            "user": f"{session.user_name} (id {session.user_id})",
            "group": f"{session.group_name} (id {session.group_id}); {_groups(session)}",
            "session": _ends(session),
            "round trip": f"{_round_trip_ms(session):.1f} ms, the median of {_ROUNDS}",
        }
    except what_omero_raises() as error:
        raise translate(error, server.uri) from None
    return "".join(f"{name:<12} {text}\n" for name, text in rows.items())


def _certificate(session: OmeroSession) -> str:
    how = {
        "authority": "signed by an authority that this machine knows",
        "pin": "pinned",
        "unencrypted": "none: the connection is not encrypted",
    }
    trust = session.trust
    told = how[trust.how]
    return f"{told}, {trust.fingerprint}" if trust.fingerprint else told


def _groups(session: OmeroSession) -> str:
    names = {group.getName() for group in session.gateway.getGroupsMemberOf()}
    return f"member of {', '.join(sorted(names))}"


def _ends(session: OmeroSession) -> str:
    unused_min = session.time_to_idle_s() / 60
    told = f"ends when it is not used for {unused_min:.0f} min"
    return f"ends with this command; others {told[5:]}" if session.owned else told


def _round_trip_ms(session: OmeroSession) -> float:
    import statistics

    times: list[float] = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        session.ping()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)
