"""Images in memory that tests write, and what they expect of the files."""

from __future__ import annotations

import json

import numpy as np

from parfocal.core.blocks import whole
from parfocal.images import open_image
from parfocal.images.pyramid import halve
from parfocal.models.image import AXES, ImageMetadata

__all__ = [
    "RNG",
    "Memory",
    "Thicker",
    "assert_pyramid",
    "attributes_of",
    "describe",
    "noise",
    "tree",
]


RNG = np.random.default_rng(3)


class Memory:
    """An array (T, C, Z, Y, X) that counts how often each pixel is read."""

    def __init__(self, pixels):
        self.pixels = pixels
        self.shape5 = pixels.shape
        self.dtype = pixels.dtype
        self.reads = np.zeros(pixels.shape, np.uint8)

    def read(self, region):
        self.reads[region] += 1
        return np.ascontiguousarray(self.pixels[region])


class Thicker(Memory):
    """One that is best read some planes at once, and remembers how many it was asked for."""

    def __init__(self, pixels, planes_at_once):
        super().__init__(pixels)
        self.planes_at_once = planes_at_once
        self.asked = set()

    def read(self, region):
        self.asked.add(region[2].stop - region[2].start)
        return super().read(region)


def describe(pixels, axes=AXES, **fields):
    shape = tuple(s for a, s in zip(AXES, pixels.shape, strict=True) if a in axes)
    return ImageMetadata(name="a", axes=axes, shape=shape, dtype=pixels.dtype.name, **fields)


def noise(*shape, dtype="uint16"):
    return RNG.integers(0, 200, shape).astype(dtype)


def tree(path):
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return {str(p.relative_to(path)): p.read_bytes() for p in files}


def assert_pyramid(path, pixels, shrink=halve):
    with open_image(path) as image:
        expected = pixels
        for number in range(image.levels):
            level = image.level(number)
            np.testing.assert_array_equal(level.read(whole(level.shape5)), expected)
            expected = shrink(expected)
        assert max(level.shape5[3:]) <= 512
        return image.levels


def attributes_of(path):
    return json.loads((path / "zarr.json").read_text())["attributes"]
