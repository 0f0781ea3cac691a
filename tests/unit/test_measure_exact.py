"""Exact sums, exact order statistics, sums per label."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from parfocal.analysis.columns import channel_keys
from parfocal.analysis.exact import limbs, ratio, root_ratio, square_limbs, total_of
from parfocal.analysis.groups import Grouping, Part, Totals
from parfocal.analysis.ranks import RankSearch, first_digits, key_value, order_keys
from parfocal.analysis.scan import plan_block
from parfocal.core.scheduler import Threads

TYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]


@st.composite
def values(draw, min_size=1):
    dtype = np.dtype(draw(st.sampled_from(TYPES)))
    elements = None
    if dtype.kind == "f":
        elements = st.floats(width=8 * dtype.itemsize, allow_nan=False, allow_infinity=False)
    return draw(npst.arrays(dtype, st.integers(min_size, 30), elements=elements))


def fraction(parts):
    total, exponent = total_of({position: int(limb.sum()) for position, limb in parts.items()})
    return total * Fraction(2) ** exponent


@given(values())
def test_limbs_and_their_squares_add_up_exactly(numbers):
    parts = limbs(numbers)
    exact = [Fraction(number.item()) for number in numbers]
    assert fraction(parts) == sum(exact)
    assert all(np.abs(limb).max() < 1 << 20 for limb in parts.values())
    squares = square_limbs(parts)
    assert fraction(squares) == sum(number**2 for number in exact)
    assert all(np.abs(limb).max() < 1 << 42 for limb in squares.values())


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**20), st.integers(-80, 80))
def test_ratios_are_rounded_once(numerator, denominator, exponent):
    exact = Fraction(numerator, denominator) * Fraction(2) ** exponent
    assert ratio(numerator, denominator, exponent) == float(exact)


def test_ratios_beyond_the_range_are_infinite():
    assert ratio(-1, 1, 2000) == -math.inf
    assert root_ratio(1, 1, 4000) == math.inf
    assert root_ratio(9 << 3000, 4, -3000) == 1.5


@given(values(), st.lists(st.floats(0.001, 1), min_size=1, max_size=5))
def test_order_statistics_are_those_of_numpy(numbers, fractions):
    search = RankSearch(numbers.dtype, first_digits(order_keys(numbers)), fractions)
    half = len(numbers) // 2
    while not search.done:
        parts = [search.count(order_keys(part)) for part in (numbers[:half], numbers[half:])]
        search.narrow({begin: parts[0][begin] + parts[1][begin] for begin in parts[0]})
    ordered = sorted(numbers.tolist())
    expected = [ordered[math.ceil(each * len(ordered)) - 1] for each in fractions]
    assert search.values() == expected


@given(values())
def test_keys_lead_back_to_values(numbers):
    found = [key_value(int(key), numbers.dtype) for key in order_keys(numbers)]
    assert found == numbers.tolist()


@settings(max_examples=50)
@given(
    st.lists(
        st.dictionaries(st.integers(1, 5), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=9
    ),
    st.booleans(),
)
def test_totals_of_labels_are_exact(blocks, settle):
    totals = Totals()
    numbers = {}
    for turn, block in enumerate(blocks):
        ids = sorted(block)
        column = np.array([block[label] for label in ids], np.int64)
        # A block need not know each sum: here they take turns.
        sums = {f"sum {turn % 2}": column}
        totals.add(Part(np.array(ids, np.int64), sums, {"low": column}, {"high": column}))
        if settle:
            totals.settle()
        for label in ids:
            numbers.setdefault(label, []).append(block[label])
    totals.settle()
    labels = sorted(numbers)
    assert totals.ids.tolist() == labels
    both = totals.exact("sum 0") + totals.exact("sum 1")
    assert both.tolist() == [sum(numbers[label]) for label in labels]
    if labels:
        assert totals.minima["low"].tolist() == [min(numbers[label]) for label in labels]
        assert totals.maxima["high"].tolist() == [max(numbers[label]) for label in labels]


def test_grouping_reduces_each_id():
    grouping = Grouping(np.array([3, 1, 3, 1, 2]))
    assert grouping.ids.tolist() == [1, 2, 3]
    assert grouping.reduce(np.add, np.array([1, 2, 4, 8, 16])).tolist() == [10, 16, 5]


@given(st.tuples(*[st.integers(1, 4000)] * 5), st.tuples(*[st.integers(1, 3000)] * 5))
def test_blocks_are_of_one_plane_stack_and_not_large(preferred, shape):
    block = plan_block(preferred, shape)
    assert block[:2] == (1, 1)
    assert math.prod(block) <= 1 << 20
    assert all(1 <= size <= whole for size, whole in zip(block[2:], shape[2:], strict=True))


@pytest.mark.parametrize("threads", [1, 2])
def test_scanning_keeps_order_and_raises(threads):
    assert list(Threads(threads).map(lambda item: item * 2, range(20))) == list(range(0, 40, 2))

    def fail(item):
        if item == 3:
            msg = "three"
            raise ValueError(msg)
        return item

    with pytest.raises(ValueError, match="three"):
        list(Threads(threads).map(fail, range(20)))


def test_channel_keys_are_unique_words():
    assert channel_keys(["DAPI", "a b/c", "DAPI", "\t", "Hö-1.5"]) == [
        "DAPI",
        "a_b_c",
        "DAPI_2",
        "channel_3",
        "Hö-1.5",
    ]
