"""Write all levels of a pyramid, in as few passes over the pixels as shards allow."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from parfocal.core.blocks import Readable, Region, Shape, iter_blocks, region_shape, whole
from parfocal.images.writers.shards import LevelWriter, Output, StoredChunk

__all__ = ["Progress", "write_levels"]

Progress = Callable[[int, int], None]
Shrink = Callable[..., NDArray[Any]]
"""`halve` or `halve_labels`."""


def write_levels(
    source: Readable,
    writers: Sequence[LevelWriter],
    stores: Sequence[Readable],
    shrink: Shrink,
    *,
    threads: int,
    progress: Progress | None,
) -> int:
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
        How many planes are read, averaged and compressed at once.
    progress : callable, optional
        Called as ``progress(done, total)``, in pixels of all levels.

    Returns
    -------
    int
        How many files were there already.
    """
    total = sum(math.prod(writer.layout.shape) for writer in writers)
    done, first, found = 0, 0, 0
    while first < len(writers):
        last = first
        while last + 1 < len(writers) and writers[last].layout.feeds(writers[last + 1].layout):
            last += 1
        chain = writers[first : last + 1]
        reader = _Halving(stores[first - 1], chain[0], writers[first - 1], shrink)
        work = _Pass(reader if first else source, chain, shrink)
        for count in work.run(threads):
            done += count
            if progress:
                progress(done, total)
        found += work.found
        first = last + 1
    return found


@dataclass(frozen=True)
class _Halving:
    """Reads the first level of a later pass: what follows from the level before, on disk."""

    store: Readable
    writer: LevelWriter
    before: LevelWriter
    shrink: Shrink

    @property
    def shape5(self) -> Shape:
        return self.writer.layout.shape

    @property
    def dtype(self) -> Any:
        return self.store.dtype

    def read(self, region: Region) -> NDArray[Any]:
        smaller = self.writer.layout
        pixels = self.store.read(self.before.layout.double(region, smaller))
        return self.shrink(pixels, along_z=2 in self.before.layout.halved(smaller))


class _Pass:
    """Writes the levels of `chain`, of which `reader` is the first."""

    def __init__(self, reader: Readable, chain: Sequence[LevelWriter], shrink: Shrink) -> None:
        self._reader = reader
        self._chain = chain
        self._shrink = shrink
        self._open: set[_Block] = set()
        self.found = 0

    def run(self, threads: int) -> Iterator[int]:
        """Write all blocks; yield numbers of pixels as they are done."""
        try:
            yield from _in_threads(self._work, self._units(), threads)
        finally:
            for block in self._open:
                block.abandon()

    def _units(self) -> Iterator[_Unit]:
        """Yield what one thread does at once: a plane, or as many as one of the last level."""
        layout = self._chain[0].layout
        unit = self._unit_shape()
        for region in iter_blocks(whole(layout.shape), layout.shard):
            regions = self._regions(region)
            found = [w.count(r) for w, r in zip(self._chain, regions, strict=True)]
            if all(found):
                self.found += sum(found)
                yield _Unit(None, 0, regions)
                continue
            parts = list(iter_blocks(region, unit))
            block = _Block(self._chain, regions, len(parts), self._open)
            for number, part in enumerate(parts):
                yield _Unit(block, number, self._regions(part))

    def _unit_shape(self) -> Shape:
        shard = self._chain[0].layout.shard
        layouts = [writer.layout for writer in self._chain]
        pairs = itertools.pairwise(layouts)
        planes = 2 ** sum(2 in larger.halved(smaller) for larger, smaller in pairs)
        return 1, 1, min(planes, shard[2]), shard[3], shard[4]

    def _regions(self, region: Region) -> list[Region]:
        """Return the regions of all levels of the chain that follow from one of the first."""
        regions = [region]
        for larger, smaller in itertools.pairwise(self._chain):
            regions.append(larger.layout.halve(regions[-1], smaller.layout))
        return regions

    def _work(self, unit: _Unit) -> int:
        if unit.block is not None:
            unit.block.commit(unit.number, self._encode(unit.regions))
        return sum(math.prod(region_shape(region)) for region in unit.regions)

    def _encode(self, regions: Sequence[Region]) -> list[list[StoredChunk]]:
        pixels = self._reader.read(regions[0])
        chunks = [self._chain[0].encode(regions[0], pixels)]
        for before, writer, region in zip(self._chain, self._chain[1:], regions[1:], strict=False):
            pixels = self._shrink(pixels, along_z=2 in before.layout.halved(writer.layout))
            chunks.append(writer.encode(region, pixels))
        return chunks


class _Block:
    """A shard of each level of a chain, whose parts come in any order and are written in one."""

    def __init__(
        self,
        chain: Sequence[LevelWriter],
        regions: Sequence[Region],
        parts: int,
        registry: set[_Block],
    ) -> None:
        self._chain = chain
        self._regions = regions
        self._parts = parts
        self._registry = registry
        self._outputs: list[Output] = []
        self._waiting: dict[int, list[list[StoredChunk]]] = {}
        self._next = 0
        self._lock = threading.Lock()

    def commit(self, number: int, chunks: list[list[StoredChunk]]) -> None:
        """Write part `number`, now or when those before it are there."""
        with self._lock:
            if not self._outputs:
                self._registry.add(self)
                pairs = zip(self._chain, self._regions, strict=True)
                self._outputs = [writer.open(region) for writer, region in pairs]
            self._waiting[number] = chunks
            while self._next in self._waiting:
                ready = self._waiting.pop(self._next)
                for output, part in zip(self._outputs, ready, strict=True):
                    output.write(part)
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
    """Part `number` of a block, by its region on each level of the chain; None: it is there."""

    block: _Block | None
    number: int
    regions: list[Region]


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
