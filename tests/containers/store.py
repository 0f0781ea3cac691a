"""Podman's images and containers in a folder of the tests' own, of which nothing is left behind."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["alone", "opened_store"]

FILES = {
    "CONTAINERS_STORAGE_CONF": """\
[storage]
driver = "overlay"
graphroot = "{folder}/images"
runroot = "{folder}/run"
""",
    "CONTAINERS_CONF": """\
# Root in a virtual machine or a container may not raise limits, as podman does by default.
[containers]
default_ulimits = []
[engine]
lock_type = "file"
tmp_dir = "{folder}/engine"
volume_path = "{folder}/volumes"
""",
}
"""What tells podman where to keep things, by the variables that name the files."""


@contextmanager
def opened_store(tests: Path) -> Iterator[Path]:
    """Let podman keep all that it has in a folder; the last who uses it removes it.

    Parameters
    ----------
    tests : Path
        Folder of a session of tests, whose workers share the store.
    """
    folder = tests / "containers"
    with (tests / "containers.users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        folder.mkdir(exist_ok=True)
        with alone(folder):
            for variable, text in FILES.items():
                path = folder / f"{variable.lower()}.conf"
                path.write_text(text.format(folder=folder), encoding="utf-8")
                os.environ[variable] = str(path)
        yield folder
        for variable in FILES:
            del os.environ[variable]
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(folder)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other worker does something in a folder."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
