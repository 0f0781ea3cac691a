"""The rule of pyramids, against the definition in exact arithmetic."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from parfocal.images.pyramid import halve, halve_labels

INTEGERS = ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"]
SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 7))


def exact_mean_half_up(pixels, *, along_z=False):
    """Average by definition: Python's integers, odd ends repeated."""
    step = (2 if along_z else 1, 2, 2)
    shape = [-(-size // by) for size, by in zip(pixels.shape, step, strict=True)]
    out = np.empty(shape, pixels.dtype)
    for place in np.ndindex(out.shape):
        of = [
            [min(by * index + k, size - 1) for k in range(by)]
            for index, by, size in zip(place, step, pixels.shape, strict=True)
        ]
        values = [int(pixels[where]) for where in itertools.product(*of)]
        out[place] = (Fraction(sum(values), len(values)) + Fraction(1, 2)).__floor__()
    return out


@settings(max_examples=60)
@given(st.data())
def test_integers_are_averaged_exactly_and_halves_rounded_up(data):
    dtype = data.draw(st.sampled_from(INTEGERS))
    pixels = data.draw(hnp.arrays(dtype, SHAPES))
    np.testing.assert_array_equal(halve(pixels), exact_mean_half_up(pixels))
    np.testing.assert_array_equal(
        halve(pixels, along_z=True), exact_mean_half_up(pixels, along_z=True)
    )


@pytest.mark.parametrize("dtype", INTEGERS)
def test_extremes_do_not_overflow(dtype):
    for value in (np.iinfo(dtype).min, np.iinfo(dtype).max):
        for along_z in (False, True):
            out = halve(np.full((3, 3, 5), value, dtype), along_z=along_z)
            assert out.dtype == dtype
            assert out.shape == ((2 if along_z else 3), 2, 3)
            assert (out == value).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_large_planes_follow_the_same_rule_as_small_ones(dtype):
    pixels = np.random.default_rng(1).integers(0, 256, (513, 1031)).astype(dtype)
    padded = np.pad(pixels, [(0, 1), (0, 1)], mode="edge").astype(np.uint32)
    total = padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]
    np.testing.assert_array_equal(halve(pixels), (total + 2) // 4)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_keep_nan_where_any_of_the_four_is_nan(dtype):
    pixels = np.array([[1, 2, 5, 5], [3, 4, np.nan, 5]], dtype)
    out = halve(pixels)
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, np.array([[2.5, np.nan]], dtype))


def test_floats_along_z_are_rounded_once_and_a_last_plane_is_paired_with_itself():
    pixels = np.zeros((3, 2, 2), np.float16)
    pixels[0], pixels[1] = [[1031, 1242], [1988, 1494]], 1439
    pixels[2] = [[1, 2], [3, 4]]
    np.testing.assert_array_equal(halve(pixels, along_z=True).ravel(), [1439, 2.5])


def test_half_floats_are_averaged_wider_and_rounded_once():
    pixels = np.array([[1031, 1242], [1988, 1494]], np.float16)
    assert halve(pixels)[0, 0] == 1439  # of 1438.75; 1438 if the sums were rounded too


def test_float_sums_do_not_overflow():
    biggest = np.finfo(np.float64).max
    assert halve(np.full((2, 2), biggest))[0, 0] == biggest


def test_other_types_are_refused():
    with pytest.raises(TypeError, match="complex64"):
        halve(np.zeros((2, 2), np.complex64))


@settings(max_examples=60)
@given(hnp.arrays("uint32", SHAPES))
def test_labels_are_thinned_and_never_mixed(labels):
    out = halve_labels(labels)
    np.testing.assert_array_equal(out, labels[:, ::2, ::2])
    np.testing.assert_array_equal(halve_labels(labels, along_z=True), labels[::2, ::2, ::2])
