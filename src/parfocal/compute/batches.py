"""What workers do: the same work on a batch of items, unpickled once a worker."""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from distributed import Worker, WorkerPlugin

from parfocal.core.memory import peak_resident_bytes, reset_peak
from parfocal.core.worker import WORKER

__all__ = ["Batch", "Done", "Work", "run_batch"]

IDLE_POLL_S = 0.01
IDLE_AT_MOST_S = 60.0


@dataclass
class _Held:
    """The work of one map in this process."""

    pickled: bytes
    lock: threading.Lock = field(default_factory=threading.Lock)
    work: Callable[[Any], Any] | None = None
    running: int = 0

    def unpickled(self) -> Callable[[Any], Any]:
        with self.lock:
            if self.work is None:
                self.work = pickle.loads(self.pickled)  # noqa: S301  # of this very run
                self.pickled = b""
            return self.work


_HELD: dict[str, _Held] = {}


class Work(WorkerPlugin):  # type: ignore[misc]  # distributed has no types
    """Brings work to all workers, those that join later too, until it is taken away again.

    Scattered data would do as well, but is gone for good when all that hold it die.

    Parameters
    ----------
    name : str
        Name of the map.
    pickled : bytes
        The work.
    """

    def __init__(self, name: str, pickled: bytes) -> None:
        self.name = name
        self._pickled = pickled

    def setup(self, worker: Worker) -> None:
        """Keep the work; it is unpickled when it is needed, in the thread that needs it."""
        WORKER.threads = worker.state.nthreads
        reset_peak()
        _HELD.setdefault(self.name, _Held(self._pickled))

    async def teardown(self, worker: Worker) -> None:
        """Wait until no batch is under way any more, and drop the work."""
        del worker
        deadline = time.monotonic() + IDLE_AT_MOST_S
        held = _HELD.get(self.name)
        while held and held.running and time.monotonic() < deadline:
            await asyncio.sleep(IDLE_POLL_S)
        _HELD.pop(self.name, None)


@dataclass(frozen=True)
class Batch:
    """Items that are worked on one after another.

    Parameters
    ----------
    name : str
        Name of the map.
    items : tuple
        The items.
    """

    name: str
    items: tuple[Any, ...]


@dataclass(frozen=True)
class Done:
    """The results of a batch, and what they took.

    Parameters
    ----------
    pickled : bytes
        The list of results. They are pickled here so that their size is known, and so that
        arrays arrive as they would from a thread, writable.
    wall_s, cpu_s : float
        Time of the batch, and of the thread that worked on it.
    peak_bytes : int
        Largest resident set of the worker since the work was brought to it.
    """

    pickled: bytes
    wall_s: float
    cpu_s: float
    peak_bytes: int

    def __sizeof__(self) -> int:
        """Return the size that the worker's memory is counted by."""
        return len(self.pickled) + 100

    def results(self) -> list[Any]:
        """Return the results."""
        results: list[Any] = pickle.loads(self.pickled)  # noqa: S301  # of this very run
        return results


def run_batch(batch: Batch) -> Done:
    """Work on a batch.

    Raises
    ------
    Exception
        What the work raised.
    """
    held = _HELD[batch.name]
    with held.lock:
        held.running += 1
    try:
        wall_s, cpu_s = time.perf_counter(), time.thread_time()
        work = held.unpickled()
        pickled = pickle.dumps([work(item) for item in batch.items], protocol=5)
        wall_s, cpu_s = time.perf_counter() - wall_s, time.thread_time() - cpu_s
        return Done(pickled, wall_s, cpu_s, peak_resident_bytes())
    finally:
        with held.lock:
            held.running -= 1
