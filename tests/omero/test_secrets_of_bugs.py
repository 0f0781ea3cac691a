"""Neither a traceback nor a message of the server tells a password or a session key."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.omero.server.control import Control

from breaking import BUG
from omero_process import PASSWORDS
from watched import Watched

BREAKING = str(Path(__file__).parents[1] / "breaking.py")
PASSWORD = PASSWORDS["dora"]
LAYERS = [
    ("password", "parfocal.omero.connection", "find_credentials"),
    ("password", "omero.clients", "BaseClient.createSession"),
    ("session", "omero.clients", "BaseClient.createSession"),
    ("password", "parfocal.omero.session", "_gateway"),
    ("password", "parfocal.omero.images", "find_all"),
    ("session", "parfocal.omero.pixels", "_Reader.read"),
    ("password", "parfocal.omero.description", "describe"),
]
"""What logs in, and what fails: from the login to the last question, the reader in a thread."""


@pytest.fixture
def image_uri(logged_in: str, dora: Any) -> str:
    """An image of two planes, of a user with a password that is no name."""
    planes = (np.full((20, 30), number, np.uint16) for number in range(2))
    return f"{logged_in}/image/{dora.createImageFromNumpySeq(planes, 'cells', 2).getId()}"


def fetching(image_uri: str) -> tuple[str, ...]:
    """Return the command that fetches an image, and writes a record."""
    command = ("fetch-image", "--original", "original", "--record", "record.json")
    return (*command, "--set", f"source={image_uri}", "--set", "pixels=raw")


def keys_of(faults: Control, since: int) -> set[str]:
    """Return the keys of the sessions that were used."""
    return {call["session"] for call in faults.journal(since=since)} - {"", None}


@pytest.mark.parametrize(("login", "module", "name"), LAYERS)
def test_no_traceback_tells_one(
    login: str,
    module: str,
    name: str,
    image_uri: str,
    dora: Any,
    faults: Control,
    tmp_path: Path,
) -> None:
    watched, since = Watched(tmp_path), faults.last()
    more = {"PARFOCAL_LOG": "DEBUG"}
    if login == "session":
        more["OMERO_SESSION"] = dora.c.getSessionId()
    command = (sys.executable, BREAKING, module, name, *fetching(image_uri))
    assert watched.run(*command, **more) == 1
    (told,) = watched.told
    assert f"RuntimeError: {BUG}" in told
    assert "Traceback (most recent call last)" in told
    assert watched.finds(BUG)  # in the record, too
    assert (tmp_path / "record.json").read_text("utf-8").count(BUG) == 1
    for secret in (PASSWORD, dora.c.getSessionId(), *keys_of(faults, since)):
        assert watched.finds(secret) == []


@pytest.mark.parametrize(
    ("service", "method", "exception"),
    [
        ("Router", "createSession", "PermissionDeniedException"),
        ("Router", "createSession", "CannotCreateSessionException"),
        ("IQuery", "*", "InternalException"),
        ("IQuery", "*", "RemovedSessionException"),
        ("RawPixelsStore", "getTile", "ValidationException"),
    ],
)
def test_what_the_server_says_is_told_without_one(
    service: str,
    method: str,
    exception: str,
    image_uri: str,
    dora: Any,
    faults: Control,
    tmp_path: Path,
) -> None:
    key = dora.c.getSessionId()
    watched, since = Watched(tmp_path), faults.last()
    said = f"cannot serve the session {key}"
    rule = faults.refuse(service, method, exception, message=said, times=1000)
    more = {"PARFOCAL_LOG": "DEBUG", "PARFOCAL_OMERO_PATIENCE_S": "2", "OMERO_SESSION": key}
    assert watched.run(sys.executable, "-m", "parfocal", *fetching(image_uri), **more) in (2, 3)
    assert faults.seen(rule)
    for secret in (key, *keys_of(faults, since)):
        assert watched.finds(secret) == []
