"""Memory of finding objects goes with those at borders: rows of numbers lie in files.

What Python keeps is traced; volumes give nothing back and keep nothing, or lie in files, so that
tables remain. The rows that are in memory at once are few here, so that they hide nothing.
"""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import dataclass, replace

import cc3d  # noqa: F401 (so that importing it is not traced)
import numpy as np
import pytest
import scipy.sparse.csgraph
import scipy.special  # noqa: F401

from parfocal.analysis import objects, ranking, scratch_rows, thick_blocks
from parfocal.analysis.block_grid import BlockGrid
from parfocal.analysis.component_labels import ComponentTable
from parfocal.analysis.components import label_components
from parfocal.analysis.object_boxes import BoxTable
from parfocal.analysis.objects import SizeLimits
from parfocal.analysis.seams import score_volumes
from parfocal.analysis.segment import segment
from parfocal.analysis.stitch import stitch
from parfocal.analysis.tiling import Tiling, sizes
from parfocal.core.blocks import iter_blocks, region_shape, whole
from parfocal.core.scheduler import Threads
from parfocal.images import ScratchVolumes
from segmenting import AS_IT_IS, PLANE

SIDE = 4
BLOCK = (1, 1, 1, SIDE, SIDE)


@pytest.fixture(autouse=True)
def little_at_once(monkeypatch):
    """Have few rows in memory at once, and divide numbers in few ranges."""
    monkeypatch.setattr(scratch_rows, "AT_ONCE", 16)
    monkeypatch.setattr(ranking, "_BITS", 6)
    monkeypatch.setattr(objects, "TOGETHER", 1 << 7)


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
    gc.disable()  # it would empty the list of free tuples of each length, which is filled first
    for length in range(1, 20):
        [(None,) * length for _ in range(2000)]
    tracemalloc.start()
    try:
        found = work()
        return tracemalloc.get_traced_memory()[1], found
    finally:
        tracemalloc.stop()
        gc.enable()


def slope(work, few, many):
    """Return by how many bytes the peak grows for each more that `work` tells of.

    Each is the least of two, since threads that other tests left are traced, too.
    """
    peak(lambda: work(few))  # so that caches are warm
    less, one = min(peak(lambda: work(few)) for _ in range(2))
    more, other = min(peak(lambda: work(many)) for _ in range(2))
    return (more - less) / (other - one)


def label(side, *, joined=5, inside=False):
    """Label a cube of blocks up to the label image, and return how many objects there are."""
    shape = (1, 1, side, side * SIDE, side * SIDE)
    table = ComponentTable(Nothing(shape), BLOCK, BoxTable(shape, BLOCK, planar=False))
    masks = (Block(region, joined, inside) for region in BlockGrid(whole(shape), BLOCK))
    found = label_components(masks, table.labels, planar=False, scheduler=Threads(1))
    table.add(found, SizeLimits(1, None))
    del found
    score_volumes([[one] for one in table.boxes.volumes()])
    table.image(np.dtype(np.uint32)).read(next(iter_blocks(whole(shape), BLOCK)))
    return len(table)


def empty_blocks(side):
    assert label(side, joined=0) == 0
    return side**3


def test_a_block_without_objects_costs_nothing():
    assert slope(empty_blocks, 5, 11) < 4  # bytes; of lists of regions and arrays there were 300


def test_an_object_inside_of_a_block_costs_nothing():
    # Of lists of arrays there were 1,100 bytes, of rows in memory 373.
    assert slope(lambda side: label(side, joined=0, inside=True), 6, 12) < 16


def crossings(joined):
    assert label(11, joined=joined) == 11  # one in each plane
    return 11 * (joined - 1)


def test_labels_that_touch_at_borders_cost_pairs():
    assert 16 < slope(crossings, 2, 10) < 400


class Lattice:
    """An image of one square in each block, made where it is read."""

    dtype = np.dtype(np.uint8)

    def __init__(self, side):
        self.shape5 = (1, 1, 1, side * 8, side * 8)

    def read(self, region):
        inside = [(one % 8 > 1) & (one % 8 < 6) for one in np.ogrid[region][3:]]
        return np.broadcast_to(inside[0] & inside[1], region_shape(region)) * np.uint8(200)


@pytest.mark.parametrize("seeds", ["none", "combined"])
def test_an_object_costs_nothing_from_image_to_labels(seeds, tmp_path, monkeypatch):
    monkeypatch.setattr(thick_blocks, "BLOCK_SIDE", 8)
    monkeypatch.setattr(thick_blocks, "BLOCK_PIXELS", 64)
    chosen = replace(AS_IT_IS if seeds == "none" else PLANE, sigma=(0, 0, 0), threshold=100.0)

    def run(side):
        with ScratchVolumes(tmp_path) as volumes:
            table = segment(
                Lattice(side),
                0,
                chosen,
                block5=(1, 1, 1, 8, 8),
                make_volume=volumes,
                scheduler=Threads(1),
                progress=lambda done, total: None,
                folder=tmp_path,
            ).table
            score_volumes([[one] for one in table.boxes.volumes()])
            labels = table.image(np.dtype(np.uint32))
            last = BlockGrid(whole(labels.shape5), (1, 1, 1, 8, 8)).region(side * side - 1)
            assert labels.read(last).max() == len(table) == side * side
            return len(table)

    assert slope(run, 8, 22) < 40
    gc.collect()
    assert not list(tmp_path.iterdir())


class Squares:
    """One square in each tile, labelled from some number on."""

    def __init__(self, first):
        self.first = first

    def __call__(self, box):
        labels = np.zeros(sizes(box), np.int64)
        labels[:, 2:4, 2:4] = self.first
        return labels


def stitched(tiles, first=1, *, folder):
    tiling = Tiling((1, 8, 8 * tiles), (1, 8, 8), (0, 0, 0))
    with ScratchVolumes(folder) as volumes:
        return stitch(
            Squares(first),
            tiling,
            lambda box, labels: None,
            make_volume=volumes,
            scheduler=Threads(1),
            folder=folder,
        ).objects


def test_the_largest_label_says_nothing(tmp_path):
    peak(lambda: stitched(20, folder=tmp_path))
    low, _ = peak(lambda: stitched(50, folder=tmp_path))
    high, _ = peak(lambda: stitched(50, 1 << 40, folder=tmp_path))
    assert abs(high - low) < 8192


def test_an_object_of_a_tile_costs_nothing(tmp_path):
    # Of lists of tiles there were 1,000 bytes, of rows in memory 350.
    assert slope(lambda tiles: stitched(tiles, folder=tmp_path), 100, 300) < 40


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
