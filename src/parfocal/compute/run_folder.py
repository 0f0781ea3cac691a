"""A folder that all nodes see, for one run: keys, logs, scratch files, and who owns it.

Whoever is killed cannot clean up: the next run with the same shared folder finds its folder,
cancels the jobs that it left and removes it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from parfocal.core.processes import HEARTBEAT_S, is_dead, this_process
from parfocal.core.publish import remove_tree
from parfocal.errors import ConfigurationError, ParfocalError

__all__ = ["RunFolder", "check_shared_folder", "remove_dead_folders"]

logger = logging.getLogger(__name__)

PREFIX = "parfocal-"
OWNER = "owner.json"


def check_shared_folder(folder: str) -> Path:
    """Return the absolute path of a shared folder.

    Raises
    ------
    ConfigurationError
        If there is none, or it cannot be written to.
    """
    path = Path(folder).absolute()
    if not path.is_dir():
        what = "The shared folder is not there"
        remedy = "Make it, on a file system that all nodes see at the same path."
        raise ConfigurationError(what, where=path, remedy=remedy)
    try:
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        what = "The shared folder cannot be written to"
        remedy = "Free some space, make it writable, or name another."
        raise ConfigurationError(what, where=path, found=error, remedy=remedy) from error
    return path


class RunFolder:
    """A folder of a run's own, with a heartbeat while its owner lives.

    Parameters
    ----------
    shared : Path
        The shared folder.
    name : str, optional
        Name of the folder behind the prefix; by default one of its own. Where a folder of that
        name is left by an earlier run, it is replaced.
    """

    def __init__(self, shared: Path, name: str | None = None) -> None:
        self.path = shared / f"{PREFIX}{name or uuid.uuid4().hex[:12]}"
        draft = shared / f".{self.path.name}.{uuid.uuid4().hex[:12]}"
        draft.mkdir(mode=0o700)
        for part in ("logs", "scratch"):
            (draft / part).mkdir()
        owner = this_process() | {"jobs": self.jobs}
        (draft / OWNER).write_text(json.dumps(owner), encoding="utf-8")
        remove_tree(self.path)
        # Renamed, so that it appears with its owner.
        draft.rename(self.path)
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()

    @property
    def jobs(self) -> str:
        """Name of all worker jobs of the run, and of no others."""
        return self.path.name

    @property
    def logs(self) -> Path:
        """Folder for the logs of workers."""
        return self.path / "logs"

    @property
    def scratch(self) -> Path:
        """Folder for scratch files."""
        return self.path / "scratch"

    def remove(self) -> None:
        """Remove the folder, and stop the heartbeat."""
        self._stop.set()
        self._heart.join()
        try:
            remove_tree(self.path)
        except OSError as error:
            logger.warning("The run's folder is left for the next run to remove: %s", error)

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            with contextlib.suppress(OSError):
                os.utime(self.path / OWNER)


def remove_dead_folders(own: RunFolder, cancel: Callable[[str], None]) -> None:
    """Cancel the jobs of owners that are dead, and remove their folders.

    Parameters
    ----------
    own : RunFolder
        The folder of this run, beside theirs; its time is that of the file system's clock.
    cancel : callable
        Cancels all jobs of a name.
    """
    now_s = (own.path / OWNER).stat().st_mtime
    for path in sorted(own.path.parent.glob(f"{PREFIX}*")):
        owner = _read(path / OWNER)
        if path == own.path or owner.get("jobs") != path.name:
            continue
        try:
            age_s = now_s - (path / OWNER).stat().st_mtime
            if not is_dead(owner, age_s):
                continue
            logger.warning("Cleaning up what a killed run left in %s", path)
            cancel(path.name)
            remove_tree(path)
        except (OSError, ParfocalError) as error:  # another run may be at it too
            logger.warning("What a killed run left is not all gone: %s", error)


def _read(path: Path) -> dict[str, Any]:
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return owner if isinstance(owner, dict) else {}
