"""A scheduler of blocks over the workers of a dask cluster."""

from __future__ import annotations

import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from distributed import Client, Future, KilledWorker, wait
from distributed.client import FutureCancelledError, FuturesCancelledError
from distributed.protocol.pickle import dumps

from parfocal.compute.batches import Batch, Done, Work, run_batch
from parfocal.errors import RemoteError, WorkerDiedError

__all__ = ["DaskScheduler"]

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH_S = 0.25
"""How long a batch takes, about: what handing it out costs is then a percent or two of it."""

BATCH_BYTES = 8 << 20
"""Largest size of a batch's results, unless a single one is larger."""

BATCH_ITEMS = 1024
POLL_S = 1.0
GATHER_WITHIN_S = 60.0
BRING_TRIES = 5


class DaskScheduler:
    """Works on items in the workers of a cluster.

    Work and items are pickled. Items go in batches, whose size follows from how long they take
    and how large their results are; nothing but speed depends on it.

    Parameters
    ----------
    client : distributed.Client
        A client of the cluster.
    workers : int
        How many items are worked on at once when all workers are there.
    check : callable, optional
        Called about once a second while results are waited for; raises what is wrong with the
        cluster.
    by : str
        Who hands out the work, for messages.
    """

    def __init__(
        self,
        client: Client,
        workers: int,
        check: Callable[[], None] | None = None,
        by: str = "this process",
    ) -> None:
        self._client = client
        self._workers = workers
        self._check = check
        self._by = by
        self.cpu_s = 0.0
        self.peak_bytes = 0

    @property
    def local(self) -> bool:
        """False."""
        return False

    @property
    def workers(self) -> int:
        """How many items are worked on at once when all workers are there."""
        return self._workers

    def map(
        self, work: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[Result, None, None]:
        """Yield ``work(item)`` for all `items` in their order.

        Yields
        ------
        object
            The results.

        Raises
        ------
        Exception
            What `work` raised, as it was.
        WorkerDiedError
            If worker after worker died on the same item.
        RemoteError
            If the cluster is gone.
        """
        name = uuid.uuid4().hex
        self._bring(Work(name, dumps(work)))
        waiting: deque[Future] = deque()
        try:
            yield from self._in_order(name, iter(items), waiting)
        finally:
            self._end(name, waiting)

    def _bring(self, work: Work) -> None:
        """Bring work to all workers; again, where one dies just then."""
        for tries_left in reversed(range(BRING_TRIES)):
            try:
                self._client.register_plugin(work, name=work.name)
            except OSError as error:
                if self._client.status != "running":
                    raise self._lost(error) from error
                if not tries_left:
                    what = "The work cannot be brought to the workers"
                    raise RemoteError(
                        what, where=self._by, found=error, remedy="Run again."
                    ) from error
                time.sleep(POLL_S)
            else:
                return

    def _in_order(self, name: str, items: Iterator[Any], waiting: deque[Future]) -> Iterator[Any]:
        # One batch at each worker and one waiting for it: enough to keep all busy.
        most, size, number = 2 * self._workers + 1, 1, 0
        while True:
            while len(waiting) < most and (part := tuple(islice(items, size))):
                key = (f"parfocal-{name}", number)
                batch = Batch(name, part)
                waiting.append(self._client.submit(run_batch, batch, key=key, pure=False))
                number += 1
            if not waiting:
                return
            done = self._result(waiting.popleft())
            self.cpu_s += done.cpu_s
            self.peak_bytes = max(self.peak_bytes, done.peak_bytes)
            results = done.results()
            size = _next_size(done, len(results))
            yield from results

    def _result(self, future: Future) -> Done:
        while (done := self._try(future)) is None and not _is_over(future):
            if self._check:
                self._check()
        if done is not None:
            return done
        error = future.exception() if future.status == "error" else None
        if isinstance(error, KilledWorker):
            what = "Worker after worker died on the same part of the image"
            remedy = "Most often the memory ran out: give the workers more, or fewer at a time."
            last = f"worker {error.last_worker.name}"
            raise WorkerDiedError(what, where=last, remedy=remedy) from error
        if error is not None:
            raise error
        found = f"work {future.status}"
        raise self._lost(found)

    def _lost(self, found: object) -> RemoteError:
        what = "The process that hands out the work was killed or lost"
        remedy = "See its messages for why, most often that memory ran out; then run again."
        return RemoteError(what, where=self._by, found=found, remedy=remedy)

    def _try(self, future: Future) -> Done | None:
        """Return what a task returned, None where it has not yet or has failed."""
        try:
            with self._client.as_current():
                wait(future, timeout=POLL_S)
            # Bounded too: a result is lost with its worker, and made again.
            return future.result(timeout=GATHER_WITHIN_S) if future.status == "finished" else None
        except (TimeoutError, FutureCancelledError, FuturesCancelledError):
            return None

    def _end(self, name: str, waiting: deque[Future]) -> None:
        """Cancel what has not begun, and wait for what is under way."""
        try:
            if waiting:
                self._client.cancel(list(waiting))
            self._client.unregister_worker_plugin(name)
        except (OSError, TimeoutError) as error:  # a worker or the cluster is gone: so is its work
            logger.debug("The work %s could not be taken back: %s", name, error)


def _is_over(future: Future) -> bool:
    return future.status in ("error", "cancelled")  # what was lost is made again


def _next_size(done: Done, count: int) -> int:
    """Return how many items the next batch should have, after one of `count`."""
    by_time = BATCH_S * count / max(done.wall_s, 1e-6)
    by_size = BATCH_BYTES * count / max(len(done.pickled), 1)
    # Not many more at a time: the next items may take longer.
    return max(1, min(int(by_time), int(by_size), 4 * count, BATCH_ITEMS))
