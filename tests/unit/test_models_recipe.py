"""Channels are normalised by exact statistics of the whole image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from memory_images import MemoryImage
from parfocal.analysis.models.preprocessing import recipe_of_steps
from parfocal.analysis.models.recipe import Recipe, fit_recipe
from parfocal.core.scheduler import Threads
from parfocal.errors import InputError

DTYPES = ("uint8", "uint16", "int16", "int32", "uint64", "float32", "float64")


def fit(recipe, pixels, block=(1, 1, 2, 3, 4), channels=(0,)):
    return fit_recipe(recipe, MemoryImage(pixels), channels, block=block, scheduler=Threads(2))


@st.composite
def images(draw):
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    elements = None
    if dtype.kind == "f":
        elements = st.floats(-1e6, 1e6, width=32)
    shape = (2, 1, draw(st.integers(1, 3)), 4, 5)
    return draw(arrays.arrays(dtype, shape, elements=elements))


@settings(max_examples=60)
@given(images(), st.floats(0, 49), st.floats(51, 100))
def test_percentiles_are_values_of_pixels_for_any_blocks(pixels, low, high):
    found = fit(Recipe("percentile", low=low, high=high), pixels)
    other = fit(Recipe("percentile", low=low, high=high), pixels, block=(1, 1, 9, 9, 9))
    assert found == other
    values = np.sort(pixels.ravel())
    ranks = [max(0, int(np.ceil(p / 100 * len(values))) - 1) for p in (low, high)]
    first, last = (float(values[rank]) for rank in ranks)
    assert found.offsets == (first,)
    assert found.scales == ((1 / (last - first) if last != first else 0.0),)


@settings(max_examples=60)
@given(images())
def test_mean_and_deviation_are_those_of_all_pixels(pixels):
    found = fit(Recipe("standard"), pixels)
    assert found == fit(Recipe("standard"), pixels, block=(1, 1, 9, 9, 9))
    exact = [float(value) if pixels.dtype.kind == "f" else int(value) for value in pixels.ravel()]
    mean = sum(map(float, exact)) / len(exact)
    assert found.offsets[0] == pytest.approx(mean, rel=1e-9, abs=1e-9)
    deviation = float(np.std(pixels.astype(np.longdouble)))
    expected = 1 / deviation if deviation else 0.0
    assert found.scales[0] == pytest.approx(expected, rel=1e-6)


def test_what_is_not_finite_is_left_out_and_becomes_0():
    pixels = np.arange(24.0, dtype=np.float32).reshape(1, 1, 1, 4, 6)
    pixels[0, 0, 0, 0, :3] = (np.nan, np.inf, -np.inf)
    found = fit(Recipe("percentile", low=0, high=100), pixels)
    assert (found.offsets, found.scales, found.not_finite) == ((3.0,), (1 / 20,), 3)
    block = found.apply(pixels[0])
    assert block.dtype == np.float32
    assert (block[0, 0, 0, :4] == 0).all()
    assert block.max() == 1


def test_channels_have_statistics_of_their_own_unless_they_are_joint():
    pixels = np.zeros((1, 3, 1, 4, 4), np.uint16)
    pixels[0, 0, 0, 0, 0], pixels[0, 2, 0, 0, 0] = 10, 40
    whole = Recipe("percentile", low=0, high=100)
    apart = fit(whole, pixels, channels=(2, 1, 0))
    assert apart.scales == (1 / 40, 0.0, 1 / 10)  # a constant channel becomes 0
    joint = fit(Recipe("percentile", low=0, high=100, joint=True), pixels, channels=(2, 0))
    assert joint.scales == (1 / 40, 1 / 40)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], Recipe()),
        (
            [{"name": "scale_range", "kwargs": {"axes": "xy", "min_percentile": 1.0,
              "max_percentile": 99.8, "mode": "per_sample"}}],
            Recipe("percentile", low=1.0, high=99.8, epsilon=1e-6),
        ),
        (
            [{"id": "ensure_dtype", "kwargs": {"dtype": "float32"}},
             {"id": "zero_mean_unit_variance", "kwargs": {"axes": ["channel", "y", "x"]}},
             {"id": "clip", "kwargs": {"min": -3, "max": 3}}],
            Recipe("standard", epsilon=1e-6, joint=True, clip=(-3.0, 3.0)),
        ),
        (
            [{"id": "scale_linear", "kwargs": {"gain": 0.5, "offset": -2.0}}],
            Recipe("fixed", offsets=(4.0,), scales=(0.5,)),
        ),
        (
            [{"name": "zero_mean_unit_variance", "kwargs": {"mode": "fixed", "mean": [1.0, 2.0],
              "std": [2.0, 4.0], "eps": 0.0}}],
            Recipe("fixed", offsets=(1.0, 2.0), scales=(0.5, 0.25)),
        ),
    ],
)  # fmt: skip
def test_preprocessing_of_packages_becomes_a_recipe(tmp_path, steps, expected):
    assert recipe_of_steps(steps, tmp_path) == expected


@pytest.mark.parametrize(
    "steps",
    [
        [{"id": "binarize", "kwargs": {"threshold": 3}}],
        [{"id": "scale_linear"}, {"id": "zero_mean_unit_variance"}],
        [{"id": "scale_range", "kwargs": {"reference_tensor": "other"}}],
    ],
)
def test_other_preprocessing_is_refused(tmp_path, steps):
    with pytest.raises(InputError, match="preprocessing that is not done here"):
        recipe_of_steps(steps, tmp_path)
