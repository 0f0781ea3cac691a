"""Levels of a pyramid that are written together, since each shard follows from one before."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from parfocal.core.blocks import Readable, Region, Shape, Thick, iter_blocks, region_shape, whole
from parfocal.core.tally import with_own_tally
from parfocal.images.writers.shards import Encoded, LevelWriter

__all__ = ["Chain", "Halving", "Shrink", "WriteBlock", "WrittenBlock"]

LARGEST_PART_BYTES = 64 << 20
"""Largest part of a block that is read at once for the sake of a reader."""

Shrink = Callable[..., NDArray[Any]]
"""`halve` or `halve_labels`."""


@dataclass(frozen=True)
class Chain:
    """The levels of one pass over the pixels.

    Attributes
    ----------
    reader : Readable
        The first level.
    writers : tuple of LevelWriter
        Of each level; a block is a shard of each.
    shrink : callable
        The rule of the pyramid.
    """

    reader: Readable
    writers: tuple[LevelWriter, ...]
    shrink: Shrink

    def blocks(self) -> Iterator[Region]:
        """Yield the region of each block in the first level.

        Of a `Thick` reader those follow each other that have planes in common.
        """
        shape, shard = self.writers[0].layout.shape, self.writers[0].layout.shard
        column = (*shard[:2], shape[2], *shard[3:]) if isinstance(self.reader, Thick) else shape
        for part in iter_blocks(whole(shape), column):
            yield from iter_blocks(part, shard)

    def count(self, block: Region) -> int:
        """Return how many files hold a block if all of them are there and whole, else 0."""
        found = [w.count(r) for w, r in zip(self.writers, self.regions(block), strict=True)]
        return sum(found) if all(found) else 0

    def parts(self, block: Region) -> list[Region]:
        """Divide a block into planes, or into as many as make one of the last level.

        Of a `Thick` reader they are as many as it asks for, as long as they are not too large.
        """
        return list(iter_blocks(block, self._part_shape()))

    def _part_shape(self) -> Shape:
        shard = self.writers[0].layout.shard
        layouts = [writer.layout for writer in self.writers]
        pairs = itertools.pairwise(layouts)
        planes = 2 ** sum(2 in larger.halved(smaller) for larger, smaller in pairs)
        if isinstance(self.reader, Thick):
            fitting = LARGEST_PART_BYTES // (math.prod(shard[3:]) * self.reader.dtype.itemsize)
            planes *= max(1, min(self.reader.planes_at_once, fitting) // planes)
        return 1, 1, min(planes, shard[2]), shard[3], shard[4]

    def regions(self, region: Region) -> list[Region]:
        """Return the regions of all levels that follow from one of the first."""
        regions = [region]
        for larger, smaller in itertools.pairwise(self.writers):
            regions.append(larger.layout.halve(regions[-1], smaller.layout))
        return regions

    def pixels(self, region: Region) -> int:
        """Return how many pixels of all levels follow from a region of the first."""
        return sum(math.prod(region_shape(one)) for one in self.regions(region))

    def encode(self, part: Region) -> list[Encoded]:
        """Read a part of a block, and compress its chunks of all levels."""
        regions = self.regions(part)
        pixels = self.reader.read(regions[0])
        encoded = [self.writers[0].encode(regions[0], pixels)]
        pairs = itertools.pairwise(self.writers)
        for (before, writer), region in zip(pairs, regions[1:], strict=True):
            pixels = self.shrink(pixels, along_z=2 in before.layout.halved(writer.layout))
            encoded.append(writer.encode(region, pixels))
        return encoded


@dataclass(frozen=True)
class Halving:
    """Reads the first level of a later pass: what follows from the level before, on disk.

    Attributes
    ----------
    store : Readable
        The level before.
    writer, before : LevelWriter
        Of this level, and of the one before.
    shrink : callable
        The rule of the pyramid.
    """

    store: Readable
    writer: LevelWriter
    before: LevelWriter
    shrink: Shrink

    @property
    def shape5(self) -> Shape:
        """Size along T, C, Z, Y, X."""
        return self.writer.layout.shape

    @property
    def dtype(self) -> Any:
        """Data type."""
        return self.store.dtype

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X)."""
        smaller = self.writer.layout
        pixels = self.store.read(self.before.layout.double(region, smaller))
        return self.shrink(pixels, along_z=2 in self.before.layout.halved(smaller))


@dataclass(frozen=True)
class WrittenBlock:
    """What became of a block.

    Attributes
    ----------
    pixels : int
        How many pixels of all levels it has.
    compressed : int
        How many chunks were compressed; the others were there already.
    counts : dict of str to int
        What the source counted, as `Tally.add` takes it.
    """

    pixels: int
    compressed: int
    counts: dict[str, int]


@dataclass(frozen=True)
class WriteBlock:
    """Writes whole blocks, one after the other; can be pickled for other processes."""

    chain: Chain

    def __call__(self, block: Region) -> WrittenBlock:
        """Read, halve, compress and write the parts of a block in their order.

        All files get their names at the end.
        """
        reader, tally = with_own_tally(self.chain.reader)
        chain = replace(self.chain, reader=reader)
        compressed = 0
        pairs = zip(chain.writers, chain.regions(block), strict=True)
        outputs = [writer.open(region) for writer, region in pairs]
        try:
            for part in chain.parts(block):
                for output, encoded in zip(outputs, chain.encode(part), strict=True):
                    output.write(encoded.chunks)
                    compressed += encoded.compressed
            for output in outputs:
                output.finish()
        finally:
            for output in outputs:
                output.abandon()
        return WrittenBlock(chain.pixels(block), compressed, tally.counts())
