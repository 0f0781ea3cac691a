"""A folder of a process's own, for what is gone with it.

Whoever is killed cannot clean up: the next process that makes a folder at the same place finds what
it left there, and removes it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from parfocal.core.processes import HEARTBEAT_S, is_dead, this_process
from parfocal.core.publish import remove_tree
from parfocal.errors import ParfocalError

__all__ = ["PREFIX", "OwnedFolder"]

logger = logging.getLogger(__name__)

PREFIX = "parfocal-"
_OWNER = "owner.json"

SURE_AFTER_S = 2 * HEARTBEAT_S
"""So long an old heartbeat must stay out: after an outage those of the living are old too."""


class OwnedFolder:
    """A folder with a heartbeat while its owner lives.

    Parameters
    ----------
    beside : Path
        The folder that it is made in.
    name : str, optional
        Name of the folder behind the prefix; by default one of its own. Where a folder of that
        name is left by an earlier process, it is replaced.
    parts : tuple of str
        Folders to make in it.

    Attributes
    ----------
    path : Path
        The folder.
    """

    def __init__(self, beside: Path, name: str | None = None, parts: tuple[str, ...] = ()) -> None:
        self.path = beside / f"{PREFIX}{name or uuid.uuid4().hex[:12]}"
        draft = beside / f".{self.path.name}.{uuid.uuid4().hex[:12]}"
        draft.mkdir(mode=0o700)
        for part in parts:
            (draft / part).mkdir()
        owner = this_process() | {"folder": self.path.name}
        (draft / _OWNER).write_text(json.dumps(owner), encoding="utf-8")
        remove_tree(self.path)
        # Renamed, so that it appears with its owner.
        draft.rename(self.path)
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the folder."""
        self.remove()

    def remove(self) -> None:
        """Remove the folder, and stop the heartbeat."""
        self._stop.set()
        self._heart.join()
        try:
            remove_tree(self.path)
        except OSError as error:
            logger.warning("A folder is left for the next run to remove: %s", error)

    def remove_dead(self, end: Callable[[str], None] | None = None) -> None:
        """Remove the folders beside this one whose owners are dead.

        Ages are judged by the clock of the file system. Where an owner on another machine seems
        dead this takes some seconds, in which it may show that it lives.

        Parameters
        ----------
        end : callable, optional
            Called with the name of a folder before it is removed; the folder stays where this
            raises a `ParfocalError`.
        """
        dead = self._dead()
        if not all(is_dead(_read(path / _OWNER), 0.0) for path in dead):
            time.sleep(SURE_AFTER_S)
            dead = dict(dead.items() & self._dead().items())
        for path in sorted(dead):
            logger.warning("Cleaning up what a killed run left in %s", path)
            try:
                if end is not None:
                    end(path.name)
                remove_tree(path)
            except (OSError, ParfocalError) as error:  # another process may be at it too
                logger.warning("What a killed run left is not all gone: %s", error)

    def _dead(self) -> dict[Path, int]:
        """Return the folders whose owners seem dead, and when each was touched, in ns."""
        now_s = (self.path / _OWNER).stat().st_mtime
        dead = {}
        for path in self.path.parent.glob(f"{PREFIX}*"):
            owner = _read(path / _OWNER)
            if path == self.path or owner.get("folder") != path.name:
                continue
            with contextlib.suppress(OSError):  # another process removes it
                touched = (path / _OWNER).stat()
                if is_dead(owner, now_s - touched.st_mtime):
                    dead[path] = touched.st_mtime_ns
        return dead

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            with contextlib.suppress(OSError):
                os.utime(self.path / _OWNER)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}
