"""What the tasks of one allocation tell each other, by files in a folder that all see."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from parfocal.compute.presence import Looks

__all__ = ["END_FILE", "MEET_WITHIN_S", "OVER", "STEP", "STEP_FILE", "WORKING", "Tasks", "touch"]

STEP = 1
"""Number of the task that is the step."""

STEP_FILE, END_FILE = "step.json", "end"
WORKING, OVER = "working-", "over-"
"""What a worker writes, with its number, when it begins and when it will use nothing more."""

MEET_WITHIN_S = 120.0

GIVE_UP_S = 600.0
"""A folder that is out of reach for so long does not come back; nobody is waited for then."""


class Tasks:
    """What the task that hands out sees of the others.

    Looks may take as long as the folder does not answer; while it is out of reach nothing has
    changed.

    Parameters
    ----------
    folder : Path
        The folder of the job step.

    Attributes
    ----------
    folder : Path
        The same.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._looks: dict[str, Looks] = {}
        self._began_s = self._reached_s = time.monotonic()
        self._step_came = False

    def is_over(self) -> bool:
        """Tell whether the step has told its end."""
        return END_FILE in self._names()

    def end(self) -> None:
        """Tell the end in place of the step."""
        touch(self.folder / END_FILE)

    def lost_step(self) -> str:
        """Return what has become of the task of the step, nothing where all is well."""
        names = self._names()
        self._step_came |= STEP_FILE in names
        task = f"Task {STEP} of job {os.environ.get('SLURM_JOB_ID', '0')}, the step itself,"
        if self._is_gone(STEP_FILE):
            return f"{task} was killed or lost ({self._looks[STEP_FILE].process})"
        now_s = time.monotonic()
        if now_s - self._reached_s > GIVE_UP_S:
            return f"The folder of the tasks, {self.folder}, has been out of reach for too long"
        if names and not self._step_came and now_s - self._began_s > MEET_WITHIN_S:
            return f"{task} has not come within {MEET_WITHIN_S:.0f} s"
        return ""

    def living(self) -> int:
        """Return how many workers have begun and not ended."""
        begun = {name for name in self._names() if name.startswith(WORKING)}
        return len(begun) - self.ended()

    def ended(self) -> int:
        """Return how many workers have ended, in order or otherwise."""
        names = self._names()
        over = {name.removeprefix(OVER) for name in names if name.startswith(OVER)}
        begun = {name for name in names if name.startswith(WORKING)}
        lost = {name.removeprefix(WORKING) for name in begun if self._is_gone(name)}
        return len(over | lost)

    def _names(self) -> set[str]:
        """Return what lies in the folder, nothing where that is out of reach."""
        try:
            names = {path.name for path in self.folder.iterdir()}
        except OSError:
            return set()
        self._reached_s = time.monotonic()
        return names

    def _is_gone(self, name: str) -> bool:
        return self._looks.setdefault(name, Looks(self.folder / name)).gone()


def touch(path: Path) -> None:
    """Make an empty file, where that is possible: who waits for it sees who has ended."""
    with contextlib.suppress(OSError):
        path.touch()
