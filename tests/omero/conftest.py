"""A server for all tests of a process, and connections to it by omero-py."""

from __future__ import annotations

import logging
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.omero.server.control import Control

from omero_accounts import make_accounts
from omero_connections import forget_connections
from omero_process import PASSWORDS, OwnServer, RealServer, real_server

LOGIN_VARIABLES = ("HOST", "PORT", "USER", "PASSWORD", "SESSION", "SESSION_KEY")


@pytest.fixture(autouse=True)
def _folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep logins of this user, and files of omero-py, out of the tests and the other way round."""
    folder = tmp_path_factory.mktemp("omero-home")
    for name in LOGIN_VARIABLES:
        monkeypatch.delenv(f"OMERO_{name}", raising=False)
    monkeypatch.setenv("OMERO_USERDIR", str(folder))
    monkeypatch.setenv("OMERO_SESSIONDIR", str(folder / "sessions"))
    monkeypatch.setenv("OMERO_TMPDIR", str(folder / "tmp"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """Take back what a command sets up for its process: its stream is closed after the test."""
    loggers = [logging.getLogger(), logging.getLogger("parfocal")]
    levels = [logger.level for logger in loggers]
    yield
    logging.captureWarnings(capture=False)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
        ours = [each for each in logger.handlers if type(each).__module__ == "parfocal.cli.log"]
        for handler in ours:
            logger.removeHandler(handler)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """The test server, or the one that ``PARFOCAL_TEST_OMERO`` names."""
    if real := real_server():
        root = connect(real, "root")
        make_accounts(root, PASSWORDS)
        root.close()
        yield real
        return
    own = OwnServer(tmp_path_factory.mktemp("omero") / "server")
    own.start()
    yield own
    own.stop()


@pytest.fixture
def own_server(server: RealServer) -> OwnServer:
    """The test server; on a real one the test is skipped."""
    if not isinstance(server, OwnServer):
        pytest.skip("a real server neither fails when told, nor tells its calls, nor makes imports")
    return server


@pytest.fixture
def faults(own_server: OwnServer) -> Iterator[Control]:
    """What makes the test server fail, forgotten at the end of the test."""
    control = Control(own_server.faults)
    yield control
    control.reset()


@pytest.fixture
def gateway(server: RealServer) -> Iterator[Callable[..., Any]]:
    """Log a user in by omero-py: ``gateway("alice", group="private")``; closed at the end."""
    opened: list[Any] = []

    def log_in(user: str, group: str | None = None) -> Any:
        opened.append(connect(server, user, group))
        return opened[-1]

    yield log_in
    for connection in opened:
        connection.close()


@pytest.fixture
def alice(gateway: Callable[..., Any]) -> Any:
    """A connection of alice, in the group ``annotate``."""
    return gateway("alice")


@pytest.fixture
def root(gateway: Callable[..., Any]) -> Any:
    """A connection of the administrator."""
    return gateway("root")


@pytest.fixture
def logged_in(server: RealServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URI of the server, which Parfocal trusts and where it is alice."""
    from parfocal.models.omero_server import OmeroServer
    from parfocal.omero.pins import pin

    pem = ssl.get_server_certificate((server.host, server.ssl))
    pin(OmeroServer(server.host, server.ssl), pem)
    monkeypatch.setenv("OMERO_USER", "alice")
    monkeypatch.setenv("OMERO_PASSWORD", server.password("alice"))
    yield server.uri
    forget_connections()


@pytest.fixture
def dora(
    server: RealServer,
    root: Any,
    gateway: Callable[..., Any],
    logged_in: str,  # which trusts the server
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """A user with a password that is no name, whom the environment logs in; her connection."""
    from omero.model import ExperimenterI
    from omero.rtypes import rbool, rstring

    admin = root.getAdminService()
    if "dora" not in {user.omeName.val for user in admin.lookupExperimenters()}:
        user = ExperimenterI()
        user.omeName, user.ldap = rstring("dora"), rbool(False)
        user.firstName, user.lastName = rstring("Dora"), rstring("Tester")
        groups = [admin.lookupGroup(name) for name in ("annotate", "user")]
        admin.createExperimenterWithPassword(
            user, rstring(server.password("dora")), groups[0], [groups[1]]
        )
    monkeypatch.setenv("OMERO_USER", "dora")
    monkeypatch.setenv("OMERO_PASSWORD", server.password("dora"))
    return gateway("dora")


@pytest.fixture
def connection(logged_in: str) -> Any:
    """Parfocal's connection to the server as alice, the one that `connect` gives."""
    from parfocal.models.omero_server import parse_omero_server
    from parfocal.omero.connection import connect as connect_parfocal

    return connect_parfocal(parse_omero_server(logged_in))


@pytest.fixture
def start(logged_in: str, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a command of Parfocal's: ``start(name, *options, log=...)``; killed at the end.

    What it logs goes into a file of that name, or of the command's.
    """
    with ExitStack() as stack:

        def run(name: str, *options: str | Path, log: str | None = None) -> subprocess.Popen[bytes]:
            told = stack.enter_context((tmp_path / f"{log or name}.log").open("wb"))
            command = [sys.executable, "-m", "parfocal", name, *map(str, options)]
            process = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=told)
            )
            stack.callback(process.kill)
            return process

        yield run


@pytest.fixture
def target(alice: Any, logged_in: str) -> str:
    """The URI of an image of alice's in a dataset: (T2, C1, Z2, Y24, X32)."""
    from omero_objects import upload_image

    return f"{logged_in}/image/{upload_image(alice)}"


def connect(server: RealServer, user: str, group: str | None = None) -> Any:
    """Return a gateway of omero-py, logged in."""
    from omero.gateway import BlitzGateway

    connection = BlitzGateway(
        user,
        server.password(user),
        group=group,
        host=server.host,
        port=server.ssl,
        secure=True,
    )
    if not connection.connect():
        why = connection.getLastError()
        connection.close()
        raise RuntimeError(f"{user} cannot log in: {why}")
    return connection
