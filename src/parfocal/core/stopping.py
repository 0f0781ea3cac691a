"""Whether the process was asked to stop, which threads that read for long look at.

Python raises what a signal asks for in the main thread alone, and waits for all other threads
before it ends.
"""

from __future__ import annotations

import threading

__all__ = ["StopRequested", "ask_to_stop", "end_if_asked"]

_ASKED = threading.Event()


class StopRequested(BaseException):
    """Ends a thread other than the main one; nothing is to be made of it."""


def ask_to_stop() -> None:
    """Let all threads but the main one end at their next look."""
    _ASKED.set()


def end_if_asked() -> None:
    """End the thread if the process was asked to stop; the main one ends by its signal.

    Raises
    ------
    StopRequested
        In any other thread.
    """
    if _ASKED.is_set() and threading.current_thread() is not threading.main_thread():
        raise StopRequested
