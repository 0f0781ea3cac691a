from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from memory_images import MemoryImage, five
from parfocal.analysis import illumination, plane_ranks, shading, stacks
from parfocal.analysis.illumination import CorrectedSource, Field, Offset, survey_gain
from parfocal.analysis.shading import Shading, estimate_shading
from parfocal.core.blocks import iter_blocks, whole
from parfocal.core.scheduler import Threads
from parfocal.core.tally import Tally


class MemoryVolume(MemoryImage):
    """Scratch storage in memory."""

    def __init__(self, shape, dtype, block):
        super().__init__(np.zeros(shape, dtype))

    def write(self, region, block):
        assert block.dtype == self.dtype
        self.pixels[region] = block


def estimate(image, sigma=(2.0, 3.0), percentile=None, dark=0.0, block=(1, 1, 1, 5, 4), threads=1):
    found = estimate_shading(
        image,
        Shading(sigma, percentile),
        dark,
        block5=block,
        make_volume=MemoryVolume,
        scheduler=Threads(threads),
    )
    return np.concatenate(
        [
            found.read(region)
            for region in iter_blocks(whole(found.shape5), (1, 1, 1, *found.shape5[3:]))
        ],
        axis=1,
    )


def stack(shape=(2, 2, 5, 17, 19), dtype="u2", seed=0):
    return np.random.default_rng(seed).integers(100, 4000, shape).astype(dtype)


def test_the_estimate_is_the_smoothed_mean_of_all_planes():
    pixels = stack()
    means = pixels.mean(axis=(0, 2))
    expected = ndimage.gaussian_filter(means, (0, 2, 3), mode="mirror", truncate=4.0)
    np.testing.assert_allclose(estimate(MemoryImage(pixels))[0, :, 0], expected, rtol=1e-12)


@pytest.mark.parametrize("percentile", [0, 30, 50, 100])
def test_a_percentile_is_that_of_a_pixel(percentile):
    pixels = stack()
    ranks = pixels.transpose(1, 0, 2, 3, 4).reshape(2, 10, 17, 19)
    ranks = np.sort(ranks, axis=1)[:, math.floor(percentile / 100 * 9 + 0.5)]
    expected = ndimage.gaussian_filter(ranks.astype(float), (0, 2, 3), mode="mirror", truncate=4.0)
    found = estimate(MemoryImage(pixels), percentile=percentile)
    np.testing.assert_allclose(found[0, :, 0], expected, rtol=1e-12)


@given(
    dtype=st.sampled_from(["u1", "u2", "i2", "u4", "i8", "f4", "f8"]),
    shape=st.tuples(*[st.integers(1, n) for n in (2, 2, 4, 12, 13)]),
    block=st.tuples(*[st.integers(1, n) for n in (2, 2, 4, 12, 13)]),
    percentile=st.sampled_from([None, 50.0]),
    holes=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_any_blocks_give_the_bits_of_the_whole(dtype, shape, block, percentile, holes, seed):
    pixels = np.random.default_rng(seed).integers(0, 120, shape).astype(dtype)
    if holes and pixels.dtype.kind == "f":
        pixels[np.random.default_rng(seed).random(shape) < 0.3] = np.nan
    image = MemoryImage(pixels)
    expected = estimate(image, percentile=percentile, block=shape)
    ranges = survey_gain(MemoryImage(expected), Threads(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stacks, "BLOCK_PIXELS", seed + 1)
        patch.setattr(stacks, "BLOCK_SIDE", 4)
        patch.setattr(shading, "STRIP_PIXELS", seed + 1)
        patch.setattr(plane_ranks, "MOST_BYTES", 0 if seed % 2 else 1 << 26)
        patch.setattr("parfocal.analysis.thick_blocks.BLOCK_PIXELS", seed + 1)
        found = estimate(image, percentile=percentile, block=block, threads=1 + seed % 3)
        assert found.tobytes() == expected.tobytes()
        assert repr(survey_gain(MemoryImage(found), Threads(2))) == repr(ranges)


def test_pixels_that_are_not_finite_are_left_out():
    pixels = np.full((1, 1, 4, 30, 30), 8, np.float32)
    pixels[:, :, 0] = np.nan
    pixels[:, :, 1, :5] = np.inf
    pixels[..., 10:14, 10:14] = np.nan
    for percentile in (None, 50):
        found = estimate(MemoryImage(pixels), percentile=percentile)
        np.testing.assert_allclose(found, 8, rtol=1e-12)


def test_where_nothing_is_known_the_estimate_is_nan():
    pixels = np.ones((1, 1, 1, 5, 60), np.float32)
    pixels[..., 20:] = np.nan
    found = estimate(MemoryImage(pixels), sigma=(1.0, 2.0))[0, 0, 0]
    np.testing.assert_allclose(found[:, :28], 1, rtol=1e-12)
    assert np.isnan(found[:, 28:]).all()
    (one,) = survey_gain(MemoryImage(found[None, None, None]), Threads(1))
    assert one.missing == 5 * 32
    assert one.mean == pytest.approx(1)


def test_what_the_camera_adds_is_subtracted_before_smoothing():
    pixels = stack((1, 1, 3, 9, 9), "f8")
    dark = np.random.default_rng(1).normal(100, 5, (1, 1, 1, 9, 9))
    with_field = estimate(MemoryImage(pixels), dark=MemoryImage(dark))
    np.testing.assert_allclose(with_field, estimate(MemoryImage(pixels - dark)), rtol=1e-12)
    with_value = estimate(MemoryImage(pixels), dark=90.0)
    np.testing.assert_allclose(with_value, estimate(MemoryImage(pixels - 90)), rtol=1e-12)


def test_the_mean_of_a_gain_is_exact():
    values = np.random.default_rng(2).lognormal(0, 20, (1, 2, 1, 40, 50))
    for channel, one in enumerate(survey_gain(MemoryImage(values), Threads(2))):
        own = values[0, channel].ravel()
        assert one.mean == float(sum(map(Fraction, own)) / own.size)
        assert (one.lowest, one.highest, one.missing) == (own.min(), own.max(), 0)


def corrected(pixels, gain, means, dark=0.0):
    tally = Tally()
    image = five(pixels)
    field = Field(five(gain), image.shape5[1])
    source = CorrectedSource(image, field, means, dark, (1, 1, 1, 2, 2), tally)
    return source.read(whole(source.shape5)), tally


def test_pixels_are_rounded_half_up_and_clipping_is_counted():
    result, tally = corrected(
        np.array([[1, 5, 250, 10, 255]], np.uint8), np.array([[2, 2, 0.5, 1, 1.0]]), (1.0,), 2.0
    )
    assert result.ravel().tolist() == [0, 2, 255, 8, 253]  # -0.5 is rounded to 0, 1.5 to 2
    assert (tally.below, tally.above, tally.not_finite) == (0, 1, 0)
    _, tally = corrected(np.array([[1, 3]], np.uint8), np.ones((1, 2)), (1.0,), 2.0)
    assert (tally.below, tally.above) == (1, 0)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i1", "i2", "i4"])
def test_an_even_gain_changes_no_bit(dtype):
    limits = np.iinfo(dtype)
    pixels = np.array([[limits.min, limits.max, 7]], dtype)
    result, tally = corrected(pixels, np.full((1, 3), 3.0), (3.0,))
    assert result.ravel().tolist() == pixels.ravel().tolist()
    assert (tally.below, tally.above) == (0, 0)


@pytest.mark.parametrize("dtype", ["u8", "i8"])
def test_the_ends_of_64_bits_are_kept(dtype):
    limits = np.iinfo(dtype)
    pixels = np.array([[limits.min, limits.max]], dtype)
    result, _ = corrected(pixels, np.full((1, 2), 3.0), (3.0,))
    assert result.ravel().tolist() == pixels.ravel().tolist()
    result, tally = corrected(pixels, np.full((1, 2), 1.5), (3.0,))
    assert result.ravel().tolist()[1] == limits.max
    assert tally.above == 1


def test_floats_stay_floats_and_what_is_not_finite_is_counted():
    result, tally = corrected(
        np.array([[1, np.nan, 3]], np.float32), np.array([[2, 1, np.nan]]), (1.0,)
    )
    assert result.dtype == np.float32
    assert result.ravel()[0] == 0.5
    assert tally.not_finite == 2


@given(
    shape=st.tuples(*[st.integers(1, n) for n in (2, 3, 4, 9, 9)]),
    block=st.tuples(*[st.integers(1, n) for n in (2, 3, 4, 9, 9)]),
    dtype=st.sampled_from(["u1", "i2", "f4"]),
    shared=st.booleans(),
)
@settings(max_examples=40)
def test_corrections_are_those_of_numpy_for_any_blocks(shape, block, dtype, shared):
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 100, shape).astype(dtype)
    channels = 1 if shared else shape[1]
    flat = rng.uniform(500, 1500, (1, channels, 1, *shape[3:]))
    dark = rng.uniform(0, 5, (1, channels, 1, *shape[3:]))
    dark_field = Field(MemoryImage(dark), shape[1])
    gain = Offset(Field(MemoryImage(flat), shape[1]), dark_field)
    means = tuple(one.mean for one in survey_gain(gain, Threads(1)))
    source = CorrectedSource(MemoryImage(pixels), gain, means, dark_field, block, Tally())
    factor = (flat - dark) / np.reshape(means[:channels], (1, -1, 1, 1, 1))
    expected = (pixels.astype(float) - dark) / factor
    if dtype != "f4":
        limits = np.iinfo(dtype)
        expected = np.clip(np.floor(expected + 0.5), limits.min, limits.max)
    expected = expected.astype(dtype)
    for region in iter_blocks(whole(shape), block):
        assert source.read(region).tobytes() == expected[region].tobytes()


def test_an_uneven_field_becomes_even():
    place = np.add.outer(np.arange(40) - 20.0, np.arange(50) - 25.0)
    light = 1 - 0.0001 * place**2
    pixels = np.random.default_rng(4).poisson(light * 1000, (1, 1, 400, 40, 50)).astype(np.uint16)
    image = MemoryImage(pixels)
    gain = MemoryImage(estimate(image, sigma=(3.0, 3.0)))
    (one,) = survey_gain(gain, Threads(1))
    source = CorrectedSource(image, gain, (one.mean,), 0.0, (1, 1, 1, 40, 50), Tally())
    before = pixels.mean(axis=2)[0, 0]
    after = source.read(whole(source.shape5)).mean(axis=2)[0, 0]
    assert before.std() / before.mean() > 0.03
    assert after.std() / after.mean() < 0.006
    assert after.mean() == pytest.approx(before.mean(), rel=0.01)


def test_tiles_do_not_grow_with_the_field():
    shape = (1, 2, 1, 9000, 9000)
    sizes = {
        np.prod([part.stop - part.start for part in tile]) for tile in illumination._tiles(shape, 1)
    }
    sizes |= {
        np.prod([p.stop - p.start for p in tile])
        for n in (3, 4)
        for tile in shading._strips(shape, n)
    }
    assert max(sizes) <= 1 << 21
