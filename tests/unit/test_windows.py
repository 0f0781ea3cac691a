from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import segmenting
from memory_images import five
from parfocal.analysis import thick_blocks
from parfocal.analysis.components import Components
from parfocal.analysis.tiling import sizes
from parfocal.analysis.windows import Windows, needed_bytes, plan_windows
from segmenting import PLANE, VOLUME, run

BYTES = 78


def crowd(shape, radius, step, seed=0):
    """Return touching balls, which are one component, and how many there are."""
    rng = np.random.default_rng(seed)
    grid = np.indices(shape)
    image = np.full(shape, 20.0)
    places = np.stack(
        np.meshgrid(*[np.arange(radius, size, step) if size > 1 else [0] for size in shape]), -1
    ).reshape(-1, 3)
    for place in places:
        centre = [p + rng.uniform(-1, 1) * (n > 1) for p, n in zip(place, shape, strict=True)]
        square = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))
        image = np.maximum(image, 20 + 200 * np.exp(-square / (2 * (radius / 1.6) ** 2)))
    return five(np.rint(image).astype(np.uint16)), len(places)


CROWDS = {
    "plane": (replace(PLANE, threshold=60.0), crowd((1, 90, 100), 5, 10), 40**2),
    "volume": (replace(VOLUME, threshold=60.0), crowd((16, 44, 60), 5, 9), 16 * 36**2),
}


@pytest.mark.parametrize("name", CROWDS)
def test_objects_of_windows_are_those_of_the_whole(name):
    base, (image, number), most = CROWDS[name]
    whole, expected = run(image, base)
    assert whole.table.windowed == []
    assert number * 0.9 <= len(whole.table) <= number
    divided, labels = run(image, replace(base, windows=Windows(most * BYTES)))
    (windowed,) = divided.table.windowed
    assert len(windowed.tiling) > 2
    assert len(divided.table) == len(whole.table)
    overlap = np.histogram2d(labels.ravel(), expected.ravel(), bins=len(whole.table) + 1)[0]
    sums = overlap.sum(0)[None] + overlap.sum(1)[:, None]
    ious = (overlap / (sums - overlap))[1:, 1:].max(1)
    assert (ious > 0.9).all()
    assert windowed.ambiguous == 0


def test_scratch_storage_of_windows_is_given_back_component_by_component(monkeypatch):
    base, (image, _), most = CROWDS["plane"]
    both = five(np.concatenate([image.pixels, np.full((1, 1, 1, 90, 9), 20), image.pixels], -1))
    opened = []

    class Counting(segmenting.Volume):
        def __init__(self, pixels):
            super().__init__(pixels)
            opened.append(1)

        def close(self):
            super().close()
            opened.append(-1)

    def make(shape, dtype, block):
        kind = Counting if dtype == np.int32 else segmenting.Volume
        return kind(np.zeros(shape, dtype))

    monkeypatch.setattr(segmenting, "make_volume", make)
    found, _ = run(both, replace(base, windows=Windows(most * BYTES)))
    assert len(found.table.windowed) == 2
    assert opened == [1, -1, 1, -1]


@pytest.mark.parametrize("name", CROWDS)
@given(data=st.data())
@settings(max_examples=2)
def test_blocks_and_workers_change_no_pixel_of_windows(name, data):
    base, (image, _), most = CROWDS[name]
    chosen = replace(base, windows=Windows(most * BYTES // 2, (9, 9, 9)))
    found, expected = run(image, chosen)
    assert found.table.windowed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thick_blocks, "BLOCK_PIXELS", data.draw(st.integers(200, 3000)))
        patch.setattr(thick_blocks, "BLOCK_SIDE", data.draw(st.integers(8, 30)))
        again, labels = run(image, chosen, threads=data.draw(st.integers(1, 2)))
    assert labels.tobytes() == expected.tobytes()
    one, other = (each.table.windowed[0] for each in (found, again))
    assert (one.merged, one.ambiguous, one.contested) == (
        other.merged,
        other.ambiguous,
        other.contested,
    )


def test_size_limits_hold_in_windows_and_time_points_stay_apart():
    image, _ = crowd((1, 60, 60), 5, 10)
    both = five(np.stack([image.pixels[0], image.pixels[0]]))
    base = replace(CROWDS["plane"][0], windows=Windows(30**2 * BYTES))
    plain, labels = run(both, base)
    assert len(plain.table.windowed) == 2
    np.testing.assert_array_equal(labels[1] > 0, labels[0] > 0)
    assert labels[1][labels[1] > 0].min() == labels[0].max() + 1
    median = int(np.median(np.bincount(labels.ravel())[1:]))
    limited, kept = run(both, replace(base, limits=replace(base.limits, least=median, most=None)))
    assert limited.table.too_small > 0
    assert np.bincount(kept.ravel())[1:].min() >= median
    assert len(limited.table) + limited.table.too_small == len(plain.table) + plain.table.too_small


def test_an_object_that_is_larger_than_windows_is_made_of_pieces():
    image = np.zeros((1, 1, 1, 12, 200), np.uint16)
    image[..., 3:9, 5:195] = 100
    none = replace(PLANE, sigma=(0, 0, 0), split=replace(PLANE.split, seeds="none"))
    found, labels = run(five(image), replace(none, windows=Windows(12 * 40 * BYTES)))
    (windowed,) = found.table.windowed
    assert (len(found.table), windowed.merged) == (1, 1)
    np.testing.assert_array_equal(labels > 0, image > 0)


@given(
    shape=st.tuples(st.integers(1, 90), st.integers(3, 3000), st.integers(3, 3000)),
    memory=st.integers(10**5, 10**9),
    reach=st.none() | st.tuples(*[st.integers(1, 200)] * 3),
)
def test_windows_fit_the_memory_and_overlap(shape, memory, reach):
    tiling = plan_windows(shape, Windows(memory, reach))
    assert math.prod(sizes(tiling.outer(0))) * BYTES <= memory
    assert math.prod(tiling.outer_shape) * BYTES <= memory
    assert (len(tiling) == 1) == (math.prod(shape) * BYTES <= memory)
    for axis, count in enumerate(tiling.grid):
        if count > 1:
            assert tiling.halo[axis] >= 1
            if reach is not None:
                assert tiling.halo[axis] <= reach[axis]


def test_memory_is_estimated_from_pixels_and_box():
    box = np.array([[0, 0, 0], [1, 1, 1]]), np.array([[0, 0, 0], [9, 9, 9]])
    none = np.zeros(2, np.int64)
    found = Components(none, none, np.array([10**6, 100]), *box, none)
    assert needed_bytes(found).tolist() == [0, 100 * 65 + 1000 * 13]


def test_touching_crowds_are_one_component():
    for base, (image, _), _ in CROWDS.values():
        assert ndimage.label(image.pixels[0, 0] > base.threshold)[1] == 1
