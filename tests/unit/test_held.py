"""Planes that two regions have in common are read once."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from parfocal.analysis import held
from parfocal.analysis.held import PlaneReader


class Counting:
    """An image that keeps which planes were read."""

    def __init__(self, pixels):
        self.pixels = pixels
        self.shape5, self.dtype = pixels.shape, pixels.dtype
        self.read_planes: list[int] = []

    def read(self, region):
        self.read_planes += range(region[2].start, region[2].stop)
        return self.pixels[region].copy()


@pytest.fixture
def image():
    return Counting(np.random.default_rng(0).integers(0, 999, (1, 1, 12, 40, 30), np.uint16))


def part(z, y, x):
    return slice(0, 1), slice(0, 1), slice(*z), slice(*y), slice(*x)


def test_what_follows_along_z_reads_only_the_new_planes(image):
    reader = PlaneReader(image)
    for z in ((0, 6), (2, 9), (5, 12)):
        region = part(z, (0, 40), (0, 30))
        np.testing.assert_array_equal(reader.hold(region).read(region), image.pixels[region])
    assert image.read_planes == list(range(12))


def test_parts_of_a_region_are_those_of_the_image(image):
    inside = part((3, 5), (11, 20), (7, 8))
    held_ = PlaneReader(image).hold(part((2, 6), (10, 30), (5, 25)))
    np.testing.assert_array_equal(held_.read(inside), image.pixels[inside])
    one = part((3, 4), (11, 20), (7, 8))
    np.testing.assert_array_equal(held_.read(one), image.pixels[one])


def test_other_columns_are_read_by_themselves(image):
    reader = PlaneReader(image)
    for x in ((0, 20), (10, 30)):
        region = part((0, 3), (0, 40), x)
        np.testing.assert_array_equal(reader.hold(region).read(region), image.pixels[region])
    assert image.read_planes == [0, 1, 2, 0, 1, 2]


def test_no_more_is_retained_than_the_budget(image, monkeypatch):
    monkeypatch.setattr(held, "RETAINED_BYTES", 2 * 40 * 30 * 2)
    reader = PlaneReader(image)
    for z in ((0, 6), (2, 9)):  # of the first six planes the last two are retained
        region = part(z, (0, 40), (0, 30))
        np.testing.assert_array_equal(reader.hold(region).read(region), image.pixels[region])
    assert image.read_planes == [*range(6), 2, 3, 6, 7, 8]


def test_a_copy_for_another_process_takes_no_pixels_along(image):
    reader = PlaneReader(image)
    empty = len(pickle.dumps(reader))
    reader.hold(part((0, 12), (0, 40), (0, 30)))
    assert len(pickle.dumps(reader)) < empty + 1000
