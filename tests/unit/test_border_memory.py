"""Memory of finding objects goes with those at borders and with rows of numbers, nothing else.

What Python keeps is traced; volumes give nothing back and keep nothing, so that tables remain.
"""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import dataclass

import cc3d  # noqa: F401 (so that importing it is not traced)
import numpy as np
import pytest
import scipy.sparse.csgraph  # noqa: F401

from parfocal.analysis.block_grid import BlockGrid
from parfocal.analysis.component_labels import ComponentTable
from parfocal.analysis.components import label_components
from parfocal.analysis.object_boxes import BoxTable
from parfocal.analysis.objects import SizeLimits
from parfocal.analysis.stitch import stitch
from parfocal.analysis.tiling import Tiling, sizes
from parfocal.core.blocks import iter_blocks, region_shape, whole
from parfocal.core.scheduler import Threads

SIDE = 4
BLOCK = (1, 1, 1, SIDE, SIDE)


class Nothing:
    """A volume of background that forgets what is written to it."""

    dtype = np.dtype(np.uint16)

    def __init__(self, shape5):
        self.shape5 = shape5

    def read(self, region):
        return np.zeros(region_shape(region), self.dtype)

    def write(self, region, block):
        pass


@dataclass(frozen=True)
class Block:
    """The mask of one block: a row that crosses the first `joined` borders, or a pixel inside."""

    region: tuple
    joined: int
    inside: bool

    def read(self):
        mask = np.zeros((1, SIDE, SIDE), bool)
        if self.region[3].start == 0 and self.region[4].start < self.joined * SIDE:
            mask[0, 1] = True
        mask[0, 2, 2] = self.inside
        return mask


def peak(work):
    """Return how many bytes were in use at most, beyond those before, and what `work` returns."""
    gc.collect()
    tracemalloc.start()
    try:
        found = work()
        return tracemalloc.get_traced_memory()[1], found
    finally:
        tracemalloc.stop()


def label(columns, *, rows=10, joined=5, inside=False):
    shape = (1, 1, 1, rows * SIDE, columns * SIDE)
    table = ComponentTable(Nothing(shape), BLOCK, BoxTable(shape, BLOCK, planar=False))
    masks = (Block(region, joined, inside) for region in BlockGrid(whole(shape), BLOCK))
    found = label_components(masks, table.labels, planar=False, scheduler=Threads(1))
    table.add(found, SizeLimits(1, None))
    del found
    table.image(np.dtype(np.uint32))
    return table


def test_a_block_without_objects_costs_a_few_numbers():
    peak(lambda: label(5))  # so that caches are warm
    few, one = peak(lambda: label(40))
    many, other = peak(lambda: label(160))
    assert len(one) == len(other) == 1
    assert many - few < 40 * 1200  # bytes a block; of lists of regions and arrays there were 300


def test_an_object_inside_of_a_block_costs_rows_of_numbers():
    few, one = peak(lambda: label(40, inside=True))
    many, other = peak(lambda: label(160, inside=True))
    assert len(other) - len(one) == 1200
    assert many - few < 400 * 1200  # of lists of arrays there were 1,100


class Squares:
    """One square in each tile, labelled from some number on."""

    def __init__(self, first):
        self.first = first

    def __call__(self, box):
        labels = np.zeros(sizes(box), np.int64)
        labels[:, 2:4, 2:4] = self.first
        return labels


def stitched(tiles, first=1):
    tiling = Tiling((1, 8, 8 * tiles), (1, 8, 8), (0, 0, 0))
    return stitch(
        Squares(first),
        tiling,
        lambda box, labels: None,
        make_volume=lambda shape, dtype, block: Nothing(shape),
        scheduler=Threads(1),
    )


def test_the_largest_label_says_nothing():
    peak(lambda: stitched(20))
    low, _ = peak(lambda: stitched(50))
    high, _ = peak(lambda: stitched(50, 1 << 40))
    assert abs(high - low) < 8192


def test_a_tile_costs_rows_of_numbers():
    few, _ = peak(lambda: stitched(50))
    many, _ = peak(lambda: stitched(250))
    assert many - few < 400 * 200  # of lists of tiles there were 1,000


@pytest.mark.parametrize(
    "extent",
    [
        whole((2, 1, 3, 7, 9)),
        (slice(1, 2), slice(2, 3), slice(0, 4), slice(3, 8), slice(5, 6)),
    ],
)
def test_the_grid_has_the_blocks_of_iter_blocks(extent):
    block = (1, 1, 2, 3, 4)
    grid, expected = BlockGrid(extent, block), list(iter_blocks(extent, block))
    assert list(grid) == expected
    assert [grid.region(number) for number in range(len(grid))] == expected
    time = extent[0].stop - 1
    assert list(grid.at(time)) == [one for one in expected if one[0].start == time]
