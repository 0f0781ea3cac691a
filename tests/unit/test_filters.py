from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from parfocal.analysis import filters, thick_blocks
from parfocal.analysis.filters import (
    BackgroundGaussian,
    DifferenceOfGaussians,
    FilteredSource,
    Gaussian,
    Median,
    Tally,
    TopHat,
)
from parfocal.analysis.gaussian import gaussian_weights
from parfocal.core.blocks import iter_blocks, whole


class Stored:
    def __init__(self, pixels):
        self.pixels = pixels
        self.shape5 = pixels.shape
        self.dtype = pixels.dtype

    def read(self, region):
        return self.pixels[region].copy()


FILTERS = (
    Gaussian((0.6, 1.0, 1.3)),
    Gaussian((0.0, 2.0, 2.0)),
    Median((1, 1, 2)),
    DifferenceOfGaussians((0.5, 0.5, 0.5), (1.0, 1.5, 2.0)),
    BackgroundGaussian((0.7, 2.0, 1.0)),
    TopHat((1, 2, 3)),
)


def source_of(pixels, chosen, dtype=np.float32, channels=(0,), block=(1, 1, 1, 3, 4), tally=None):
    return FilteredSource(
        Stored(pixels), chosen, frozenset(channels), np.dtype(dtype), block, tally or Tally()
    )


@given(
    shape=st.tuples(*[st.integers(1, n) for n in (2, 2, 7, 17, 41)]),
    block=st.tuples(*[st.integers(1, n) for n in (2, 2, 7, 17, 41)]),
    chosen=st.sampled_from(FILTERS),
    holes=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=40)
def test_any_blocks_give_the_bits_of_the_whole(shape, block, chosen, holes, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.normal(100, 30, shape).astype(np.float32)
    if holes:
        pixels[rng.random(shape) < 0.01] = np.nan
    source = source_of(pixels, chosen, channels=(0, 1))
    expected = source.read(whole(shape))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thick_blocks, "BLOCK_PIXELS", seed + 16)
        patch.setattr(thick_blocks, "BLOCK_SIDE", 4)
        patch.setattr(filters, "HELD_BYTES", 400 * (seed % 3))
        assert source.read(whole(shape)).tobytes() == expected.tobytes()
    for region in iter_blocks(whole(shape), block):
        assert source.read(region).tobytes() == expected[region].tobytes()


def test_gaussian_is_the_one_of_scipy():
    volume = np.random.default_rng(0).normal(size=(9, 30, 31))
    expected = ndimage.gaussian_filter(volume, (0.6, 1.0, 1.3), mode="mirror", truncate=4.0)
    np.testing.assert_allclose(Gaussian((0.6, 1.0, 1.3)).apply(volume), expected, atol=1e-12)


@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 12), st.integers(1, 40)),
    sigma=st.tuples(*[st.sampled_from([0.0, 0.1, 0.6, 1.0, 2.5, 7.0])] * 3),
)
@settings(max_examples=60)
def test_gaussian_in_single_precision_is_the_one_of_scipy(shape, sigma):
    volume = np.random.default_rng(0).random(shape, np.float32)
    expected = ndimage.gaussian_filter(volume.astype(float), sigma, mode="mirror", truncate=4.0)
    found = Gaussian(sigma).apply(volume)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_rounding_is_right_just_below_one_half():
    below = np.nextafter(np.float32(0.5), np.float32(0))
    source = source_of(np.full((1, 1, 1, 1, 1), below), Gaussian((0, 0, 0)), np.uint8)
    assert source.read(whole((1, 1, 1, 1, 1))).item() == 0


@given(st.floats(0.2, 50))
def test_weights_are_symmetric_and_sum_to_one(sigma):
    weights = gaussian_weights(sigma)
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_array_equal(weights, weights[::-1])
    assert len(weights) == 2 * int(4 * sigma + 0.5) + 1


def test_median_takes_a_single_spike_away():
    volume = np.zeros((3, 5, 5), np.float32)
    volume[1, 2, 2] = 9
    assert Median((0, 1, 1)).apply(volume).max() == 0


def test_top_hat_keeps_what_is_smaller_than_the_box_and_drops_the_ramp():
    plane = np.full((1, 40, 40), 7, np.float32)
    plane[0, 10:13, 10:13] += 5
    plane[0, 20:35, 20:35] += 3
    expected = np.zeros_like(plane)
    expected[0, 10:13, 10:13] = 5
    np.testing.assert_array_equal(TopHat((0, 3, 3)).apply(plane), expected)


def test_background_is_zero_where_nothing_rises():
    flat = np.full((1, 20, 20), 50, np.float32)
    assert np.abs(BackgroundGaussian((0, 3, 3)).apply(flat)).max() < 1e-4


def test_difference_of_gaussians_is_zero_on_a_flat_image_and_positive_on_a_blob():
    volume = np.full((1, 41, 41), 10, np.float32)
    dog = DifferenceOfGaussians((0, 1, 1), (0, 4, 4))
    assert np.abs(dog.apply(volume)).max() < 1e-4
    volume[0, 20, 20] = 100
    assert np.argmax(dog.apply(volume)) == 20 * 41 + 20


@pytest.mark.parametrize(
    ("value", "expected"), [(1.5, 2), (2.5, 3), (-4.0, 0), (300.0, 255), (254.5, 255)]
)
def test_integers_are_rounded_half_up_and_clipped(value, expected):
    class Constant:
        halo = (0, 0, 0)

        def apply(self, volume, inner):
            return np.full_like(volume[inner], value, np.float32)

    source = source_of(np.zeros((1, 1, 1, 2, 2), np.uint8), Constant(), np.uint8)
    assert np.unique(source.read(whole((1, 1, 1, 2, 2)))).tolist() == [expected]


def test_the_largest_integers_stay_what_they_are():
    top = np.iinfo(np.uint64).max
    source = source_of(np.full((1, 1, 1, 4, 4), top, np.uint64), Gaussian((0, 1, 1)), np.uint64)
    assert np.unique(source.read(whole((1, 1, 1, 4, 4)))).tolist() == [top]


def test_channels_not_listed_pass_unchanged():
    pixels = np.random.default_rng(1).integers(0, 99, (1, 2, 1, 9, 9)).astype(np.uint16)
    source = source_of(pixels, Gaussian((0, 1, 1)), np.uint16, channels=(1,))
    result = source.read(whole(pixels.shape))
    np.testing.assert_array_equal(result[:, 0], pixels[:, 0])
    assert (result[:, 1] != pixels[:, 1]).any()


def test_nan_spreads_over_its_window_and_is_counted():
    pixels = np.ones((1, 1, 1, 9, 9), np.float32)
    pixels[0, 0, 0, 4, 4] = np.inf
    tally = Tally()
    result = source_of(pixels, Median((0, 1, 1)), tally=tally).read(whole(pixels.shape))
    expected = np.zeros((9, 9), bool)
    expected[3:6, 3:6] = True
    np.testing.assert_array_equal(np.isnan(result[0, 0, 0]), expected)
    assert tally.not_finite == 9
