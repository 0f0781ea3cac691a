"""Work that the tests of engines hand to workers, which import it from here."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parfocal.compute import cluster, taking_part
from parfocal.errors import InputError
from parfocal.models.compute import check_compute

__all__ = [
    "Counted",
    "broken",
    "double",
    "fails_at_7",
    "inside",
    "kills_at_3",
    "kills_once",
    "pretend",
    "slow",
    "zeros",
]


def double(item: int) -> int:
    return 2 * item


def slow(item: int) -> int:
    """Return the item after a second."""
    time.sleep(1)
    return item


def zeros(item: int) -> NDArray[np.uint8]:
    return np.zeros((item, 1000), np.uint8)


def fails_at_7(item: int) -> int:
    if item == 7:
        try:
            Path("/nonexistent/file").read_bytes()
        except OSError as error:
            what = "Seven is refused"
            raise InputError(what, where=item, expected=6, remedy="Take six.") from error
    return item


def broken(item: int) -> int:
    return [0][item]


def inside(engine: str) -> bool:
    """Take part in another engine, inside of a worker."""
    with taking_part(check_compute({"engine": engine}, "inside")) as goes_on:
        return goes_on


def pretend(version: str) -> None:
    """Let this process tell another version of Parfocal."""
    cluster.__version__ = version


def kills_at_3(item: int) -> int:
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


@dataclass(frozen=True)
class kills_once:
    """Kills its worker when it is first asked for an item, and leaves a file."""

    flag: Path
    item: int

    def __call__(self, item: int) -> int:
        if item == self.item and not self.flag.exists():
            self.flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return item


class Counted:
    """Counts in a file how often it was unpickled."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def __reduce__(self) -> tuple[Callable[[Path], Counted], tuple[Path]]:
        return _unpickle, (self.log,)

    def __call__(self, item: int) -> int:
        return item


def _unpickle(log: Path) -> Counted:
    with log.open("a") as stream:
        stream.write(f"{os.getpid()}\n")
    return Counted(log)
