"""Write all levels of a pyramid, in as few passes over the pixels as shards allow."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from parfocal.core.blocks import Readable, Region
from parfocal.core.scheduler import Scheduler
from parfocal.core.tally import tally_of
from parfocal.images.writers.chain import Chain, Halving, Shrink, WriteBlock
from parfocal.images.writers.shards import Encoded, LevelWriter, Output

__all__ = ["Passed", "Progress", "write_levels"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Passed:
    """What was done to write all levels.

    Attributes
    ----------
    found : int
        How many files were there already.
    compressed : int
        How many chunks were compressed.
    """

    found: int
    compressed: int


def write_levels(
    source: Readable,
    writers: Sequence[LevelWriter],
    stores: Sequence[Readable],
    shrink: Shrink,
    *,
    threads: int,
    scheduler: Scheduler | None,
    progress: Progress | None,
) -> Passed:
    """Write all levels.

    A pass takes the planes of each shard of its first level in memory through all the levels
    of which a shard comes from one shard of the level before. The next pass reads the last of
    them. Blocks of which all files are there and whole are left as they are.

    Parameters
    ----------
    source : Readable
        The full resolution.
    writers : sequence of LevelWriter
        Of each level.
    stores : sequence of Readable
        The same levels, to be read once they are written.
    shrink : callable
        The rule of the pyramid.
    threads : int
        How many planes are read, averaged and compressed at once, in threads.
    scheduler : Scheduler, optional
        Where shards are worked on instead, each as a whole.
    progress : callable, optional
        Called as ``progress(done, total)``, in pixels of all levels.
    """
    total = sum(math.prod(writer.layout.shape) for writer in writers)
    done, first, found, compressed = 0, 0, 0, 0
    while first < len(writers):
        last = first
        while last + 1 < len(writers) and writers[last].layout.feeds(writers[last + 1].layout):
            last += 1
        chain = tuple(writers[first : last + 1])
        reader = Halving(stores[first - 1], chain[0], writers[first - 1], shrink)
        work = _Pass(Chain(reader if first else source, chain, shrink))
        for count in work.far(scheduler) if scheduler else work.here(threads):
            done += count
            if progress:
                progress(done, total)
        found += work.found
        compressed += work.compressed
        first = last + 1
    return Passed(found, compressed)


class _Pass:
    """Writes the levels of a chain."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._open: set[_Block] = set()
        self._lock = threading.Lock()
        self.found = 0
        self.compressed = 0

    def here(self, threads: int) -> Iterator[int]:
        """Write all blocks in threads; yield numbers of pixels as they are done."""
        try:
            yield from _in_threads(self._work, self._units(), threads)
        finally:
            for block in self._open:
                block.abandon()

    def far(self, scheduler: Scheduler) -> Iterator[int]:
        """Write each block where the scheduler has it written; yield as `here` does."""
        tally = tally_of(self._chain.reader)
        there: list[Region] = []
        for written in scheduler.map(WriteBlock(self._chain), self._missing(there)):
            self.compressed += written.compressed
            if tally:
                tally.add(**written.counts)
            yield written.pixels
        yield sum(self._chain.pixels(block) for block in there)

    def _missing(self, there: list[Region]) -> Iterator[Region]:
        """Yield the blocks that are not there; add those that are to `there`."""
        for block in self._chain.blocks():
            found = self._chain.count(block)
            self.found += found
            if found:
                there.append(block)
            else:
                yield block

    def _units(self) -> Iterator[_Unit]:
        """Yield what one thread does at once."""
        there: list[Region] = []
        for region in self._missing(there):
            parts = self._chain.parts(region)
            block = _Block(self._chain, region, len(parts), self._open)
            for number, part in enumerate(parts):
                yield _Unit(block, number, part)
        for region in there:
            yield _Unit(None, 0, region)

    def _work(self, unit: _Unit) -> int:
        if unit.block is not None:
            encoded = self._chain.encode(unit.region)
            unit.block.commit(unit.number, encoded)
            with self._lock:
                self.compressed += sum(level.compressed for level in encoded)
        return self._chain.pixels(unit.region)


class _Block:
    """A shard of each level of a chain, whose parts come in any order and are written in one."""

    def __init__(self, chain: Chain, region: Region, parts: int, registry: set[_Block]) -> None:
        self._chain = chain
        self._region = region
        self._parts = parts
        self._registry = registry
        self._outputs: list[Output] = []
        self._waiting: dict[int, list[Encoded]] = {}
        self._next = 0
        self._lock = threading.Lock()

    def commit(self, number: int, encoded: list[Encoded]) -> None:
        """Write part `number`, now or when those before it are there."""
        with self._lock:
            if not self._outputs:
                self._registry.add(self)
                pairs = zip(self._chain.writers, self._chain.regions(self._region), strict=True)
                self._outputs = [writer.open(region) for writer, region in pairs]
            self._waiting[number] = encoded
            while self._next in self._waiting:
                ready = self._waiting.pop(self._next)
                for output, part in zip(self._outputs, ready, strict=True):
                    output.write(part.chunks)
                self._next += 1
            if self._next == self._parts:
                for output in self._outputs:
                    output.finish()
                self._registry.discard(self)

    def abandon(self) -> None:
        """Close the files of a block that will not be finished."""
        for output in self._outputs:
            output.abandon()


@dataclass(frozen=True)
class _Unit:
    """Part `number` of a block, by its region in the first level; None: it is there."""

    block: _Block | None
    number: int
    region: Region


def _in_threads(
    work: Callable[[_Unit], int], units: Iterator[_Unit], threads: int
) -> Iterator[int]:
    """Yield what `work` returns for each unit, with hardly more under way than `threads`."""
    if threads <= 1:
        yield from map(work, units)
        return
    with ThreadPoolExecutor(threads) as pool:
        running: set[Future[int]] = set()
        for unit in units:
            running.add(pool.submit(work, unit))
            if len(running) > threads:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        yield from (future.result() for future in running)
