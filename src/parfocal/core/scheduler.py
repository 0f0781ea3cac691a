"""Where blocks are worked on: in threads of this process, or elsewhere (see `compute`)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from parfocal.core.ordered import in_order

__all__ = ["Scheduler", "Threads"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class Scheduler(Protocol):
    """Does the same work on many items, several at a time."""

    @property
    def local(self) -> bool:
        """Whether work is done in this process, so that it need not be picklable."""

    @property
    def workers(self) -> int:
        """How many items are worked on at once."""

    def map(
        self, work: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[Result, None, None]:
        """Yield ``work(item)`` for all `items` in their order.

        Items are taken as they are needed, and few results wait, so that memory is bounded.
        Whoever stops early closes the iterator, which waits for what is under way.
        """


@dataclass(frozen=True)
class Threads:
    """Threads of this process.

    Parameters
    ----------
    workers : int
        How many; with one, no thread is started.
    """

    workers: int = 1

    @property
    def local(self) -> bool:
        """True."""
        return True

    def map(
        self, work: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[Result, None, None]:
        """Yield ``work(item)`` for all `items` in their order."""
        return in_order(work, items, self.workers)
