"""Logging to stderr, and progress: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from typing import TextIO

__all__ = ["progress_to_stderr", "set_up_logging"]

logger = logging.getLogger(__name__)

_LINE_EVERY_S = 10.0


def set_up_logging() -> None:
    """Send log messages to stderr, from the level in ``PARFOCAL_LOG`` (INFO) up.

    Galaxy shows both streams of a job, and the first lines of stderr where it failed: there all but
    errors goes to stdout, so that the first line says what to do.
    """
    level = logging.getLevelNamesMapping().get(
        os.environ.get("PARFOCAL_LOG", "INFO").upper(), logging.INFO
    )
    handlers = [_Handler(sys.stderr)]
    if os.environ.get("PARFOCAL_ENGINE", "").split(" ")[0] == "galaxy":
        handlers[0].setLevel(logging.ERROR)
        others = _Handler(sys.stdout)
        others.addFilter(lambda record: record.levelno < logging.ERROR)
        handlers.append(others)
    for handler in handlers:
        handler.setFormatter(logging.Formatter("parfocal: %(levelname)s: %(message)s"))
    root = logging.getLogger()
    root.handlers = list(handlers)
    root.setLevel(logging.WARNING)
    logging.getLogger("parfocal").setLevel(level)
    logging.captureWarnings(capture=True)


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to a stream as long as there is one."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Say nothing where the stream is closed or broken, least of all the message again.

        ``logging`` would write it with its arguments, unfiltered, to what then is stderr.
        """
        if not (self.stream.closed or isinstance(sys.exception(), OSError)):
            super().handleError(record)


def progress_to_stderr(what: str) -> Callable[[int, int], None]:
    """Return a callback that shows how far a step is.

    Parameters
    ----------
    what : str
        What is being done, such as the step's name.
    """
    return _bar(what) if sys.stderr.isatty() else _lines(what)


def _bar(what: str) -> Callable[[int, int], None]:
    from tqdm import tqdm

    form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"  # of blocks, pixels or bytes
    bar = tqdm(desc=what, file=sys.stderr, leave=False, bar_format=form)

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.reset()

    return show


def _lines(what: str) -> Callable[[int, int], None]:
    last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > _LINE_EVERY_S:
            last = time.monotonic()
            logger.info("%s: %d %% done", what, 100 * done // max(total, 1))

    return show
