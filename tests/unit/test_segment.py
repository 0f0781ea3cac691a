from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import ndimage

from memory_images import MemoryImage, five
from parfocal.analysis import objects, thick_blocks
from parfocal.analysis.objects import SizeLimits, label_dtype
from parfocal.analysis.segment import LocalMean
from parfocal.analysis.watershed import SplitSettings
from segmenting import AS_IT_IS, PLANE, VOLUME, run


def blobs(shape, number, seed=0):
    """Return noise and Gaussian blobs, some of which touch each other and the border."""
    rng = np.random.default_rng(seed)
    grid = np.indices(shape[2:])
    image = np.empty(shape, np.float32)
    for t, c in np.ndindex(shape[:2]):
        image[t, c] = rng.normal(100, 3, shape[2:])
        for _ in range(number):
            centre = [rng.uniform(0, size) for size in shape[2:]]
            sigma = rng.uniform(1.5, 3.0)
            square = sum((g - m) ** 2 for g, m in zip(grid, centre, strict=True))
            image[t, c] += rng.uniform(100, 400) * np.exp(-square / (2 * sigma**2))
    return image


@pytest.mark.parametrize("base", [PLANE, VOLUME], ids=["plane", "volume"])
@given(data=st.data())
@hypothesis_settings(max_examples=10)
def test_blocks_and_threads_change_no_pixel(base, data):
    shape = data.draw(
        st.tuples(
            *[st.integers(low, high) for low, high in ((1, 2), (1, 2), (1, 8), (9, 40), (9, 40))]
        )
    )
    threshold = data.draw(st.sampled_from(["otsu", "triangle", 200.0, LocalMean((1, 4, 4), 5.0)]))
    seeds = data.draw(st.sampled_from(["none", "distance", "combined"]))
    chosen = replace(base, threshold=threshold, split=replace(base.split, seeds=seeds))
    image = five(blobs(shape, 8, data.draw(st.integers(0, 99))).astype(np.uint16))
    channel = shape[1] - 1
    expected = run(image, chosen, channel=channel)[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thick_blocks, "BLOCK_PIXELS", data.draw(st.integers(16, 900)))
        patch.setattr(thick_blocks, "BLOCK_SIDE", data.draw(st.integers(4, 16)))
        small = run(image, chosen, channel=channel, threads=data.draw(st.integers(1, 2)))[1]
    assert small.tobytes() == expected.tobytes()


def test_squares_are_found_and_numbered_by_their_first_pixel():
    image = np.zeros((2, 1, 1, 30, 30), np.uint8)
    image[:, 0, 0, 20:28, 2:10] = 100
    image[:, 0, 0, 4:10, 20:28] = 200
    image[0, 0, 0, 6:16, 2:12] = 150
    plain = replace(PLANE, sigma=(0, 0, 0), split=replace(PLANE.split, edge=None))
    found, labels = run(five(image), plain)
    assert len(found.table) == 5
    assert [labels[t, 0, 0, y, x] for t, y, x in ((0, 4, 20), (0, 6, 2), (0, 20, 2))] == [1, 2, 3]
    assert [labels[1, 0, 0, y, x] for y, x in ((4, 20), (20, 2))] == [4, 5]
    assert ((labels > 0) == (image > 0)).all()


def test_a_ring_is_filled_only_on_demand_and_never_where_it_is_open():
    image = np.zeros((1, 1, 1, 24, 24), np.uint8)
    image[..., 3:13, 3:13] = 100
    image[..., 6:9, 6:9] = 0
    image[..., 15:24, 4:15] = 100
    image[..., 18:24, 7:12] = 0
    plain = replace(PLANE, sigma=(0, 0, 0), split=SplitSettings("none", 0, None, True, (1, 1)))
    labels = run(five(image), plain)[1][0, 0, 0]
    assert labels[7, 7] == labels[3, 3] == 1
    assert labels[20, 9] == 0
    assert run(five(image), replace(plain, fill_holes=False))[1][0, 0, 0, 7, 7] == 0


def test_dark_objects_are_the_bright_ones_of_the_inverse():
    image = blobs((1, 1, 1, 60, 60), 12).astype(np.uint16)
    bright = run(five(image), PLANE)[1]
    dark = run(five((60000 - image).astype(np.uint16)), replace(PLANE, dark=True))[1]
    np.testing.assert_array_equal(bright, dark)
    assert bright.max() > 3


@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "uint16", "int32", "uint64", "float32", "float64"]
)
def test_the_data_type_does_not_matter(dtype):
    image = np.clip(blobs((1, 1, 1, 50, 50), 8) / 4, 0, 120).astype(np.uint8)
    expected = run(five(image), PLANE)[1]
    offset = -100 if np.dtype(dtype).kind in "if" else 100
    moved = (image.astype(np.int64) + offset).astype(dtype)
    np.testing.assert_array_equal(run(five(moved), PLANE)[1], expected)
    assert expected.max() > 3


def test_touching_balls_in_a_volume_with_thick_planes_are_two():
    z, y, x = np.indices((11, 30, 44))
    balls = [(2 * (z - 5)) ** 2 + (y - 15) ** 2 + (x - cx) ** 2 <= 100 for cx in (13, 30)]
    image = np.where(balls[0] | balls[1], 200, 10).astype(np.uint8)
    found, labels = run(five(image), replace(VOLUME, sigma=(0, 0, 0)))
    assert len(found.table) == 2
    assert labels[0, 0, 5, 15, 13] != labels[0, 0, 5, 15, 30]


def test_objects_out_of_the_size_limits_are_dropped_and_counted():
    image = np.zeros((1, 1, 1, 40, 40), np.uint8)
    image[..., 2:4, 2:4] = 100
    image[..., 10:15, 10:15] = 100
    image[..., 20:35, 20:35] = 100
    plain = replace(
        PLANE,
        sigma=(0, 0, 0),
        split=SplitSettings("none", 0, None, True, (1, 1)),
        limits=SizeLimits(10, 100),
    )
    found, labels = run(five(image), plain)
    assert (len(found.table), found.table.too_small, found.table.too_large) == (1, 1, 1)
    assert (labels[0, 0, 0, 10:15, 10:15] == 1).all()
    assert (labels > 0).sum() == 25


@pytest.mark.parametrize("chosen", [PLANE, VOLUME], ids=["plane", "volume"])
@pytest.mark.parametrize("value", [7, np.nan])
def test_nothing_is_found_where_there_is_one_value(chosen, value):
    found, labels = run(five(np.full((2, 5, 6), value, np.float32)), chosen)
    assert found.constant
    assert len(found.table) == 0
    assert found.not_finite == (0 if value == 7 else 60)
    assert not labels.any()


def test_nan_is_background_and_does_not_move_the_threshold():
    image = blobs((1, 1, 1, 60, 60), 6)
    image[..., :10, :] = 100
    plain = replace(PLANE, sigma=(0, 0, 0))
    before, labels = run(five(image), plain)
    image[..., 0, 0] = np.nan
    image[..., 0, 1] = -np.inf
    after, same = run(five(image), plain)
    assert after.not_finite == 2
    assert after.threshold == pytest.approx(before.threshold, rel=0.01)
    np.testing.assert_array_equal(labels, same)


def test_a_manual_threshold_is_exclusive_and_exact_for_integers():
    image = np.arange(64, dtype=np.uint16).reshape(1, 1, 1, 8, 8) * 1000
    plain = replace(PLANE, sigma=(0, 0, 0), split=SplitSettings("none", 0, None, True, (1, 1)))
    plain = replace(plain, limits=SizeLimits(1, None))
    for value in (30000.0, 30000.5, 30999.0):
        labels = run(five(image), replace(plain, threshold=value))[1]
        np.testing.assert_array_equal(labels > 0, image > 30000)
    np.testing.assert_array_equal(
        run(five(image), replace(plain, threshold=29999.5))[1] > 0, image >= 30000
    )
    assert len(run(five(image), replace(plain, threshold=1e9))[0].table) == 0
    assert len(run(five(image), replace(plain, threshold=-1e9))[0].table) == 1


def test_a_local_threshold_finds_the_dim_object_beside_a_glow():
    y, x = np.indices((80, 80))
    image = 50 + 20.0 * x
    for cy, cx in ((20, 15), (50, 60)):
        image = image + 300 * ((y - cy) ** 2 + (x - cx) ** 2 <= 36)
    image = five(np.rint(image).astype(np.uint16))
    plain = replace(PLANE, split=SplitSettings("none", 0, None, True, (1, 1)))
    assert run(image, plain)[1][0, 0, 0, 20, 15] == 0
    local = run(image, replace(plain, threshold=LocalMean((0, 10, 10), 50.0)))[1][0, 0, 0]
    assert local[20, 15] > 0
    assert local[50, 60] > 0
    assert local[40, 40] == 0


@pytest.mark.parametrize("base", [PLANE, VOLUME], ids=["plane", "volume"])
def test_labels_are_widened_where_32_bits_do_not_do(base, monkeypatch):
    image = five(blobs((3, 1, 4, 40, 40), 9).astype(np.uint16))
    found, expected = run(image, base)
    assert found.table.labels.dtype == np.uint32
    before_the_last = int(expected[1].max())
    for most in (3, before_the_last + 40):  # at once, and with objects of earlier time points
        monkeypatch.setattr(objects, "NARROW", most)
        again, labels = run(image, base)
        assert again.table.labels.dtype == np.uint64
        np.testing.assert_array_equal(labels, expected)
        assert label_dtype(len(again.table)) == (np.uint64 if most == 3 else np.uint32)


def test_large_components_are_counted(monkeypatch):
    monkeypatch.setattr(objects, "LARGE_COMPONENT", 50)
    image = np.zeros((1, 1, 1, 20, 20), np.uint8)
    image[..., 2:12, 2:12] = 9
    assert run(five(image), PLANE)[0].table.large_components == [140]


def runs_of(masks):
    """Number the pixels of each component of (T, Z, Y, X) by T and first pixel, by scipy."""
    result = np.zeros(masks.shape, np.uint32)
    count = 0
    for mask, target in zip(masks, result, strict=True):
        labels, found = ndimage.label(mask)
        target[mask] = labels[mask] + count
        count += found
    return result, count


@given(
    shape=st.tuples(*[st.integers(1, n) for n in (2, 1, 6, 14, 14)]),
    block=st.integers(8, 200),
    seed=st.integers(0, 999),
    density=st.sampled_from([0, 0.1, 0.35, 0.6, 1]),
    dark=st.booleans(),
    dtype=st.sampled_from([np.uint8, np.int32, np.float32]),
)
@hypothesis_settings(max_examples=40)
def test_components_that_are_not_divided_are_those_of_the_mask(
    shape, block, seed, density, dark, dtype
):
    mask = np.random.default_rng(seed).random(shape) < density
    image = MemoryImage(np.where(mask == dark, 3, 7).astype(dtype))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thick_blocks, "BLOCK_PIXELS", block)
        patch.setattr(thick_blocks, "BLOCK_SIDE", 4)
        found, labels = run(image, replace(AS_IT_IS, dark=dark, threshold=5.0), threads=2)
    expected, count = runs_of(mask[:, 0])
    assert len(found.table) == count
    assert labels[:, 0].tolist() == expected.tolist()


@pytest.mark.parametrize("settings", [AS_IT_IS, replace(AS_IT_IS, sigma=(0.0, 1.0, 1.0))])
@pytest.mark.parametrize("depth", [1, 5])
@pytest.mark.parametrize(("dtype", "dark"), [(np.uint8, False), (np.float32, True)])
def test_what_lies_beyond_a_threshold_as_a_whole_is_one_object(settings, depth, dtype, dark):
    image = MemoryImage(np.full((1, 1, depth, 12, 12), 7, dtype))
    found, labels = run(image, replace(settings, dark=dark, threshold=9.0 if dark else 5.0))
    assert len(found.table) == 1
    assert (labels == 1).all()
    assert not found.constant
    found, labels = run(image, replace(settings, dark=dark, threshold=5.0 if dark else 9.0))
    assert (len(found.table), found.constant) == (0, True)


def test_pixels_without_a_value_are_no_part_of_what_is_all_foreground():
    pixels = np.full((1, 1, 1, 6, 6), 7, np.float32)
    pixels[0, 0, 0, 2, 2:4] = np.nan, np.inf
    found, labels = run(MemoryImage(pixels), replace(AS_IT_IS, threshold=5.0, fill_holes=False))
    assert (len(found.table), found.not_finite) == (1, 2)
    assert (labels[0, 0, 0] == (np.isfinite(pixels[0, 0, 0]))).all()


def test_components_that_are_not_divided_keep_to_the_limits_of_size():
    mask = np.zeros((1, 1, 1, 9, 30), np.uint8)
    for start, length in ((0, 2), (5, 3), (10, 4), (16, 9)):
        mask[0, 0, 0, 2, start : start + length] = 255
    chosen = replace(AS_IT_IS, threshold=0.5, limits=SizeLimits(3, 8))
    found, labels = run(MemoryImage(mask), chosen)
    assert (found.table.too_small, found.table.too_large, len(found.table)) == (1, 1, 2)
    assert np.unique(labels[..., 5:8]).tolist() == [0, 1]
    assert labels.max(axis=(0, 1, 2, 3))[[0, 6, 12, 20]].tolist() == [0, 1, 2, 0]


def test_holes_of_components_that_are_not_divided_are_filled():
    mask = np.zeros((1, 1, 1, 9, 9), np.uint8)
    mask[0, 0, 0, 2:7, 2:7] = 9
    mask[0, 0, 0, 4, 4] = 0
    for filled in (True, False):
        _, labels = run(MemoryImage(mask), replace(AS_IT_IS, threshold=0.5, fill_holes=filled))
        assert labels[0, 0, 0, 4, 4] == filled


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(
    ("values", "threshold", "kind"),
    [
        ([0, 1, 2, 4_000_000_000], 0.5, np.uint32),
        ([-5, 0, 3, 2**31 - 1], 1.0, np.int32),
        ([2**63, 2**63 + 2048, 2**64 - 1], float(2**63 + 2048), np.uint64),
        ([3, 5, 7], -1.0, np.uint8),
        ([3, 5, 7], 300.0, np.uint8),
        ([3, 5, 7], 5.0, np.uint16),
    ],
)
def test_given_thresholds_are_kept_to_the_value(values, threshold, kind, dark):
    image = MemoryImage(np.array(values, kind).repeat(2)[None, None, None, None])
    found, labels = run(image, replace(AS_IT_IS, threshold=threshold, dark=dark))
    beyond = [value < threshold if dark else value > threshold for value in values]
    assert (labels.ravel() > 0).tolist() == np.repeat(beyond, 2).tolist()
    assert found.threshold == threshold


def test_blocks_of_very_many_components_are_numbered_too():
    chosen = replace(AS_IT_IS, threshold=0.5)
    board = np.indices((1, 380, 380)).sum(0) % 2 == 0
    found, labels = run(MemoryImage(board[None, None].astype(np.uint8)), chosen)
    assert len(found.table) == labels.max() == board.sum() > np.iinfo(np.uint16).max
