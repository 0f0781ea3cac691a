"""Hear what a library logs in a block of code, instead of the user's terminal."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Heard", "listening"]


class Heard(logging.Handler):
    """What was logged in the thread that made it.

    Attributes
    ----------
    warnings, errors : list of str
        The messages, by their level.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.thread = threading.get_ident()
        self.warnings: list[str] = []
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        if record.thread == self.thread:
            kept = self.errors if record.levelno >= logging.ERROR else self.warnings
            kept.append(record.getMessage())


@contextmanager
def listening(library: str) -> Iterator[Heard]:
    """Keep what the logger of a library says from the other handlers, and yield it."""
    heard = Heard()
    log = logging.getLogger(library)
    log.addHandler(heard)
    propagate, log.propagate = log.propagate, False
    try:
        yield heard
    finally:
        log.propagate = propagate
        log.removeHandler(heard)
