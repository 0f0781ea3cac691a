from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from memory_images import MemoryImage, five
from parfocal.analysis import plane_ranks, stacks
from parfocal.analysis.projection import ProjectedSource, projected_dtype
from parfocal.analysis.stacks import plan_tile
from parfocal.core.blocks import iter_blocks, whole
from parfocal.core.tally import Tally
from parfocal.errors import InputError

INTEGERS = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8")
FLOATS = ("f2", "f4", "f8")
METHODS = ("max", "min", "mean", "sum", "std", "median")
AXES = {"T": 0, "Z": 2}


def project(image, method, axis="Z", planes=None, block=(1, 1, 1, 5, 4), *, as_float=False):
    size = image.shape5[AXES[axis]]
    planes = planes or slice(0, size)
    dtype = projected_dtype(image.dtype, method, planes.stop - planes.start, as_float=as_float)
    return ProjectedSource(image, axis, planes, method, dtype, block, Tally())


def pixels_of(*columns, dtype):
    """Project columns that lie along Z, side by side along X."""
    return five(np.array(columns, dtype).T[:, None, :])


def projected(image, method, **more):
    source = project(image, method, **more)
    return source.read(whole(source.shape5)).ravel().tolist()


@st.composite
def images(draw, kinds=INTEGERS + FLOATS):
    dtype = np.dtype(draw(st.sampled_from(kinds)))
    shape = draw(st.tuples(*[st.integers(1, n) for n in (3, 2, 6, 7, 8)]))
    if dtype.kind == "f":
        most = 100.0
        elements = st.floats(-most, most, width=dtype.itemsize * 8) | st.just(float("nan"))
    else:
        # Sums of up to 6 planes of 64 bits fit into 64 bits.
        low, high = (int(end) // 8 for end in (np.iinfo(dtype).min, np.iinfo(dtype).max))
        if dtype.itemsize < 8:
            low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        elements = st.integers(low, high)
    return MemoryImage(draw(arrays(dtype, shape, elements=elements)))


def expected_of(pixels, method, axis, *, as_float):
    """Compute with Python's integers, or with numpy in twice the bits."""
    count = pixels.shape[axis]
    if pixels.dtype.kind == "f" or method == "std":
        wide = pixels.astype(np.longdouble)
        return getattr(np, method)(wide, axis=axis, keepdims=True)
    exact = pixels.astype(object)
    if method == "median":
        ordered = np.sort(exact, axis=axis)
        middles = [ordered.take([n], axis=axis) for n in ((count - 1) // 2, count // 2)]
        total, count = middles[0] + middles[1], 2
    elif method == "mean":
        total = exact.sum(axis=axis, keepdims=True)
    else:
        return getattr(exact, method)(axis=axis, keepdims=True)
    return total / count if as_float else (2 * total + count) // (2 * count)


@given(
    image=images(),
    method=st.sampled_from(METHODS),
    axis=st.sampled_from("ZT"),
    as_float=st.booleans(),
)
@settings(max_examples=80)
def test_projections_are_those_of_numpy_and_of_exact_integers(image, method, axis, as_float):
    as_float = as_float and method in ("mean", "median")
    source = project(image, method, axis, as_float=as_float)
    result = source.read(whole(source.shape5))
    assert result.dtype == source.dtype
    assert result.shape == source.shape5
    expected = expected_of(image.pixels, method, AXES[axis], as_float=as_float)
    if result.dtype.kind == "f":
        tolerance = 4 * float(np.finfo(result.dtype).eps)
        scale = max(1.0, float(np.nanmax(np.abs(image.pixels.astype(float)), initial=0)))
        expected = expected.astype(np.float64)
        np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance * scale)
        assert source.tally.not_finite == np.isnan(expected).sum()
    else:
        assert (result.astype(object) == expected).all()


@given(
    image=images(),
    method=st.sampled_from(METHODS),
    axis=st.sampled_from("ZT"),
    block=st.tuples(*[st.integers(1, n) for n in (3, 2, 6, 7, 8)]),
    region=st.tuples(*[st.integers(1, n) for n in (3, 2, 6, 7, 8)]),
    budget=st.integers(1, 100),
    in_memory=st.booleans(),
)
@settings(max_examples=80)
def test_any_blocks_give_the_bits_of_the_whole(
    image, method, axis, block, region, budget, in_memory
):
    expected = project(image, method, axis, block=image.shape5)
    whole_image = expected.read(whole(expected.shape5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stacks, "BLOCK_PIXELS", budget)
        patch.setattr(stacks, "BLOCK_SIDE", 3)
        patch.setattr(plane_ranks, "MOST_BYTES", 1 << 26 if in_memory else 0)
        source = project(image, method, axis, block=block)
        for part in iter_blocks(whole(source.shape5), region):
            assert source.read(part).tobytes() == whole_image[part].tobytes()


def test_means_and_medians_are_rounded_half_up():
    columns = [(0, 1), (0, 3), (255, 254), (255, 255)]
    assert projected(pixels_of(*columns, dtype="u1"), "mean") == [1, 2, 255, 255]
    assert projected(pixels_of(*columns, dtype="u1"), "median") == [1, 2, 255, 255]
    columns = [(-1, 0), (-3, 0), (-2, -1), (-128, -128)]
    assert projected(pixels_of(*columns, dtype="i1"), "mean") == [0, -1, -1, -128]
    assert projected(pixels_of(*columns, dtype="i1"), "median") == [0, -1, -1, -128]
    assert projected(pixels_of((0, 1), dtype="u1"), "mean", as_float=True) == [0.5]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_the_ends_of_integers_lose_nothing(dtype):
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    image = pixels_of((high, high, high - 1), (low, low, low + 1), dtype=dtype)
    assert projected(image, "max") == [high, low + 1]
    assert projected(image, "min") == [high - 1, low]
    assert projected(image, "mean") == [high, low]
    assert projected(image, "median") == [high, low]
    assert projected(image, "std") == pytest.approx([2**0.5 / 3] * 2, rel=1e-6)


@pytest.mark.parametrize(
    ("dtype", "planes", "expected"),
    [
        ("u1", 3, "u4"),
        ("u2", 65537, "u4"),
        ("u2", 65538, "u8"),
        ("u4", 1, "u4"),
        ("u4", 2, "u8"),
        ("i1", 9, "i4"),
        ("i2", 65535, "i4"),
        ("i2", 65536, "i8"),
        ("i8", 2, "i8"),
        ("u8", 2, "u8"),
        ("f2", 2, "f8"),
        ("f4", 2, "f8"),
    ],
)
def test_sums_have_a_type_that_holds_them(dtype, planes, expected):
    assert projected_dtype(np.dtype(dtype), "sum", planes, as_float=False) == expected


@pytest.mark.parametrize(
    ("dtype", "fits", "too_much"),
    [
        ("u8", (2**64 - 2, 1), (2**64 - 1, 1)),
        ("i8", (2**63 - 2, 1), (2**63 - 1, 1)),
        ("i8", (-(2**63) + 1, -1), (-(2**63), -1)),
    ],
)
def test_a_sum_beyond_64_bits_is_an_error(dtype, fits, too_much):
    assert projected(pixels_of(fits, dtype=dtype), "sum") == [sum(fits)]
    with pytest.raises(InputError, match="does not fit into 64 bits"):
        projected(pixels_of(too_much, dtype=dtype), "sum")


@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
def test_a_column_of_one_value_does_not_deviate(dtype):
    assert projected(pixels_of((7,) * 5, dtype=dtype), "std") == [0]


def test_small_deviations_of_large_values_are_not_lost():
    offset = 2**62
    image = pixels_of([offset + n for n in (0, 1, 2, 3)], dtype="i8")
    assert projected(image, "std") == pytest.approx([1.25**0.5], rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_nan_is_nan_and_counted(method):
    image = pixels_of((1, np.nan, 2), (1, 2, 3), dtype="f4")
    source = project(image, method)
    assert np.isnan(source.read(whole(source.shape5))).ravel().tolist() == [True, False]
    assert source.tally.not_finite == 1


def test_infinite_pixels_stay_what_they_are():
    image = pixels_of((1, np.inf, 2), (np.inf, -np.inf, 1), dtype="f4")
    assert projected(image, "max") == [np.inf, np.inf]
    assert projected(image, "min") == [1, -np.inf]
    assert projected(image, "median") == [2, 1]
    assert np.isnan(projected(image, "mean")[1])


@pytest.mark.parametrize("method", METHODS)
def test_only_the_planes_that_are_asked_for_are_taken(method):
    pixels = np.random.default_rng(0).integers(0, 99, (1, 2, 6, 4, 5)).astype(np.uint16)
    part = projected(MemoryImage(pixels), method, planes=slice(2, 5))
    assert part == projected(MemoryImage(pixels[:, :, 2:5]), method)


@given(
    block=st.tuples(*[st.integers(1, n) for n in (300, 3, 300, 3000, 3000)]),
    shape=st.tuples(*[st.integers(1, n) for n in (999, 3, 999, 99999, 99999)]),
    axis=st.sampled_from((0, 2)),
)
def test_tiles_are_bounded(block, shape, axis):
    tile = plan_tile(block, shape, axis)
    assert np.prod(tile) <= stacks.BLOCK_PIXELS
    assert all(1 <= one <= size for one, size in zip(tile, shape, strict=True))
    assert {tile[n] for n in (0, 1, 2) if n != axis} == {1}


def test_tiles_are_whole_blocks_where_these_are_small():
    assert plan_tile((1, 1, 1, 512, 512), (1, 1, 99, 4096, 4096), 2) == (1, 1, 8, 512, 512)
    assert plan_tile((1, 1, 64, 64, 64), (1, 1, 999, 999, 999), 2) == (1, 1, 128, 128, 128)
