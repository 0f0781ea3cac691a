"""The rule of pyramids, against the definition in exact arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from parfocal.images.pyramid import halve, halve_labels

INTEGERS = ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"]
SHAPES = st.tuples(st.integers(1, 2), st.integers(1, 7), st.integers(1, 7))


def exact_mean_half_up(pixels):
    """Average by definition: Python's integers, odd ends repeated."""
    planes, height, width = pixels.shape
    out = np.empty((planes, -(-height // 2), -(-width // 2)), pixels.dtype)
    for p, y, x in np.ndindex(out.shape):
        rows = (2 * y, min(2 * y + 1, height - 1))
        columns = (2 * x, min(2 * x + 1, width - 1))
        total = sum(int(pixels[p, r, c]) for r in rows for c in columns)
        out[p, y, x] = (Fraction(total, 4) + Fraction(1, 2)).__floor__()
    return out


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_integers_are_averaged_exactly_and_halves_rounded_up(data):
    dtype = data.draw(st.sampled_from(INTEGERS))
    pixels = data.draw(hnp.arrays(dtype, SHAPES))
    np.testing.assert_array_equal(halve(pixels), exact_mean_half_up(pixels))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_extremes_do_not_overflow(dtype):
    for value in (np.iinfo(dtype).min, np.iinfo(dtype).max):
        out = halve(np.full((3, 5), value, dtype))
        assert out.dtype == dtype
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


def test_half_floats_are_averaged_wider_and_rounded_once():
    pixels = np.array([[1031, 1242], [1988, 1494]], np.float16)
    assert halve(pixels)[0, 0] == 1439  # of 1438.75; 1438 if the sums were rounded too


def test_float_sums_do_not_overflow():
    biggest = np.finfo(np.float64).max
    assert halve(np.full((2, 2), biggest))[0, 0] == biggest


def test_other_types_are_refused():
    with pytest.raises(TypeError, match="complex64"):
        halve(np.zeros((2, 2), np.complex64))


@settings(max_examples=60, deadline=None)
@given(hnp.arrays("uint32", SHAPES))
def test_labels_are_thinned_and_never_mixed(labels):
    out = halve_labels(labels)
    np.testing.assert_array_equal(out, labels[:, ::2, ::2])
    assert set(np.unique(out)) <= set(np.unique(labels))
