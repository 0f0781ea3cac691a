"""What all engines over dask have in common."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parfocal import __version__
from parfocal.errors import RemoteError, WorkerDiedError

if TYPE_CHECKING:
    from distributed import Client

__all__ = [
    "SCHEDULER",
    "NoWorkers",
    "Opened",
    "connect",
    "import_jobqueue",
    "silence_logs",
    "version",
]

SCHEDULER: dict[str, Any] = {
    # How many workers may die on the same work before it is given up.
    "allowed_failures": 3,
    # Without pages for browsers, which anybody could see; what is left of them stays here.
    "dashboard": False,
    "dashboard_address": "127.0.0.1:0",
}
"""Options of all schedulers that are started."""

CONNECT_WITHIN_S = 30
WITHOUT_WORKERS_S = 60.0


@dataclass(frozen=True)
class Opened:
    """A cluster that is ready to work.

    Parameters
    ----------
    client : distributed.Client
        Connection to it.
    workers : int
        How many items it works on at once when all workers are there.
    scratch : Path, optional
        Folder for scratch files that all workers see; None where any will do.
    beside_output : bool
        Whether scratch files have to lie beside the output, which all workers see.
    check : callable, optional
        See `DaskScheduler`.
    by : str
        Who hands out the work, for messages.
    details : dict
        What records tell of it.
    """

    client: Client
    workers: int
    scratch: Path | None = None
    beside_output: bool = False
    check: Callable[[], None] | None = None
    by: str = "this process"
    details: dict[str, Any] = field(default_factory=dict)


@contextmanager
def connect(cluster: Any, by: str | None = None, **options: Any) -> Iterator[Client]:
    """Connect to a cluster, given as such or by its address.

    Parameters
    ----------
    cluster : object
        What `distributed.Client` takes first.
    by : str, optional
        Who hands out the work there, for messages.
    **options
        What else it takes.

    Raises
    ------
    RemoteError
        If it does not answer.
    """
    from distributed import Client

    try:
        client = Client(cluster, timeout=CONNECT_WITHIN_S, set_as_default=False, **options)
    except OSError as error:
        what = "The cluster does not answer"
        remedy = "See whether it runs, then run again."
        raise RemoteError(what, where=by or cluster, found=error, remedy=remedy) from error
    with client:
        yield client


class NoWorkers:
    """Called while results are waited for: gives up when there have been no workers for long.

    Parameters
    ----------
    client : distributed.Client
        A client of the cluster.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._seen_s = time.monotonic()

    def __call__(self) -> None:
        """Look for workers.

        Raises
        ------
        WorkerDiedError
            If there are none.
        """
        if self._client.nthreads():
            self._seen_s = time.monotonic()
        elif time.monotonic() - self._seen_s > WITHOUT_WORKERS_S:
            what = "All workers have died"
            remedy = "Most often the memory ran out: give them more, or take fewer."
            raise WorkerDiedError(what, remedy=remedy)


def silence_logs() -> None:
    """Keep distributed quiet: what goes wrong is raised, and would be told a second time."""
    import distributed  # noqa: F401  # it sets its own level when it is imported

    logging.getLogger("distributed").setLevel(logging.CRITICAL)


def import_jobqueue() -> None:
    """Import dask_jobqueue without leaving Ctrl-C to it, which it takes over at its import."""
    before = signal.getsignal(signal.SIGINT)
    import dask_jobqueue  # noqa: F401

    if signal.getsignal(signal.SIGINT) is not before:
        signal.signal(signal.SIGINT, before)


def version() -> str:
    """Return the version of Parfocal; workers are asked for it."""
    return __version__
