"""Which level a picture is drawn of, and what stands in for one that is not there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_images import MemoryImage, five
from parfocal.core.blocks import whole
from parfocal.report import levels
from parfocal.report.levels import Shrunk, level_of_size, pick_level, shrink

sides = st.integers(1, 23)


def level(height, width):
    return five(np.zeros((height, width), np.uint8))


def test_the_smallest_level_that_is_large_enough_is_picked():
    pyramid = [level(40, 100), level(20, 50), level(10, 25)]
    assert [pick_level(pyramid, edge) for edge in (200, 51, 50, 26, 25, 1)] == [0, 0, 1, 1, 2, 2]


def test_labels_have_the_size_of_the_image_or_are_picked_alike():
    pyramid = [level(40, 100), level(20, 50), level(10, 25)]
    assert level_of_size(pyramid, level(10, 25), 60) is pyramid[2]
    assert level_of_size(pyramid, level(9, 25), 60) is pyramid[0]
    assert level_of_size(pyramid, level(9, 25), 30) is pyramid[1]


def test_only_what_is_more_than_twice_too_large_is_shrunk():
    assert shrink(level(3, 32), 16, (8, 8)).shape5[3:] == (3, 32)
    assert shrink(level(3, 33), 16, (8, 8)).shape5[3:] == (2, 17)
    assert shrink(level(900, 4), 16, (8, 8)).shape5[3:] == (32, 1)


def means(pixels, factor):
    """Return what `Shrunk` should give of (Y, X), square by square."""
    height, width = (-(-size // factor) for size in pixels.shape)
    result = np.empty((height, width))
    for y in range(height):
        for x in range(width):
            square = pixels[y * factor : (y + 1) * factor, x * factor : (x + 1) * factor]
            known = square[np.isfinite(square)]
            result[y, x] = known.mean() if known.size else np.nan
    return result


@given(sides, sides, st.integers(2, 5), st.integers(1, 9))
def test_each_pixel_is_the_mean_of_a_square(height, width, factor, block):
    pixels = np.random.default_rng(height * 31 + width).uniform(0, 9, (2, 3, 2, height, width))
    pixels[0, 1, 1, ::2, ::3] = np.nan
    pixels[0, 1, 1, 0, 0] = np.inf
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(levels, "_TILE_PX", 1)
        small = Shrunk(MemoryImage(pixels), factor, (block, block))
        found = small.read(whole(small.shape5))
    np.testing.assert_allclose(found[0, 1, 1], means(pixels[0, 1, 1], factor))
    np.testing.assert_allclose(found[1, 2, 0], means(pixels[1, 2, 0], factor))


@pytest.mark.parametrize("labels", [False, True])
def test_no_bit_depends_on_blocks(labels, monkeypatch):
    rng = np.random.default_rng(4)
    pixels = rng.uniform(0, 1e6, (1, 1, 3, 190, 230))
    image = MemoryImage(rng.integers(0, 9, pixels.shape) if labels else pixels)
    found = set()
    for tile, block in ((1024, 512), (1, 1), (1, 7), (50, 64)):
        monkeypatch.setattr(levels, "_TILE_PX", tile)
        small = Shrunk(image, 3, (block, block), labels)
        found.add(small.read(whole(small.shape5)).tobytes())
        t, c, z, y, x = whole(small.shape5)
        part = small.read((t, c, slice(1, 2), slice(5, 41), slice(11, 60)))
        whole_image = small.read((t, c, z, y, x))
        np.testing.assert_array_equal(part, whole_image[:, :, 1:2, 5:41, 11:60])
    assert len(found) == 1


@given(sides, sides, st.integers(2, 5))
def test_labels_are_those_in_the_middle(height, width, factor):
    labels = np.arange(1, height * width + 1, dtype=np.uint64).reshape(height, width)
    small = Shrunk(five(labels), factor, (4, 4), labels=True)
    found = small.read(whole(small.shape5))[0, 0, 0]
    assert found.dtype == np.uint64
    assert found[0, 0] == labels[min(factor, height) // 2, min(factor, width) // 2]
    assert set(found.ravel()) <= set(labels.ravel())


def test_no_more_than_a_tile_is_read_at_once(monkeypatch):
    monkeypatch.setattr(levels, "_TILE_PX", 64)
    read = []

    class Told(MemoryImage):
        def read(self, region):
            read.append([part.stop - part.start for part in region])
            return super().read(region)

    small = Shrunk(Told(np.zeros((1, 2, 3, 700, 500), np.uint8)), 5, (32, 100))
    small.read(whole(small.shape5))
    assert max(y for *_, y, _ in read) == 65
    assert max(x for *_, x in read) == 100
    assert {tuple(one[:3]) for one in read} == {(1, 1, 1)}


def test_sums_too_large_are_infinite_and_no_error():
    small = Shrunk(five(np.full((4, 4), 1e308)), 2, (4, 4))
    assert np.isinf(small.read(whole(small.shape5))).all()
