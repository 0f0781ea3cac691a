"""One Galaxy for all tests, also where several processes share them."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from tests.galaxy.analysis import Analysis, analysis
from tests.galaxy.history import History
from tests.galaxy.server import Galaxy, running, start


@pytest.fixture(scope="session")
def galaxy(tmp_path_factory: pytest.TempPathFactory) -> Galaxy:
    """A Galaxy with the tools of the project.

    It ends with the process that pytest was started as. ``PARFOCAL_TEST_GALAXY`` names the folder
    of one that runs already.
    """
    if given := os.environ.get("PARFOCAL_TEST_GALAXY"):
        own = running(Path(given))
        assert own is not None, f"no Galaxy runs in {given}"
        own.reload_tools()
        return own
    shared, first = tmp_path_factory.getbasetemp(), os.getpid()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared, first = shared.parent, os.getppid()
    with (shared / "galaxy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return running(shared / "galaxy") or start(shared / "galaxy", first)


@pytest.fixture(scope="session")
def analysed(galaxy: Galaxy, tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    """One run of the workflow analyse_images, for all tests that look at one."""
    shared = tmp_path_factory.getbasetemp()
    return analysis(galaxy, shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared)


@pytest.fixture
def history(galaxy: Galaxy, request: pytest.FixtureRequest) -> History:
    """A new history of the user."""
    return History(galaxy, request.node.name)
