"""The cache of chunks: the same pixels, each chunk read once, and bounded memory."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memory_images import MemoryImage
from parfocal.analysis import chunk_cache
from parfocal.analysis.chunk_cache import ChunkCache

SHAPE = (2, 1, 3, 7, 9)
PIXELS = np.arange(np.prod(SHAPE), dtype=np.uint32).reshape(SHAPE)


class CountingImage(MemoryImage):
    def __init__(self, pixels):
        super().__init__(pixels)
        self.regions = []

    def read(self, region):
        self.regions.append(region)
        return super().read(region)


def part_of(size):
    edges = st.tuples(st.integers(0, size), st.integers(0, size)).filter(lambda e: e[0] != e[1])
    return edges.map(lambda e: slice(min(e), max(e)))


@given(
    regions=st.lists(st.tuples(*map(part_of, SHAPE)), min_size=1, max_size=5),
    chunk=st.tuples(*[st.integers(1, 5)] * 5),
)
def test_regions_are_those_of_the_image(regions, chunk):
    image = CountingImage(PIXELS)
    cache = ChunkCache(image, chunk)
    assert (cache.shape5, cache.dtype) == (SHAPE, np.uint32)
    for region in regions:
        np.testing.assert_array_equal(cache.read(region), PIXELS[region])
    read = [tuple((part.start, part.stop) for part in region) for region in image.regions]
    assert len(set(read)) == len(read)


def test_the_oldest_chunks_are_forgotten(monkeypatch):
    monkeypatch.setattr(chunk_cache, "_BUDGET_BYTES", 2 * 3 * 7 * 9 * 4)
    image = CountingImage(np.concatenate([PIXELS] * 2))
    cache = ChunkCache(image, (1, 1, 3, 7, 9))
    for t in (0, 1, 0, 2, 0, 1):
        whole = (slice(t, t + 1), slice(0, 1), slice(0, 3), slice(0, 7), slice(0, 9))
        np.testing.assert_array_equal(cache.read(whole), image.pixels[whole])
    assert [region[0].start for region in image.regions] == [0, 1, 2, 1]
