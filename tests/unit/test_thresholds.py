from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import filters

from parfocal.analysis.thresholds import GLOBAL_THRESHOLDS, median_level, otsu

METHODS = sorted(GLOBAL_THRESHOLDS)


def counts_of(levels):
    return np.bincount(np.asarray(levels).ravel(), minlength=65536)


def two_classes(seed=0):
    rng = np.random.default_rng(seed)
    levels = np.concatenate([rng.normal(1000, 120, 9000), rng.normal(4000, 400, 1500)])
    return np.clip(np.rint(levels), 1, 65535).astype(np.int64)


@pytest.mark.parametrize("method", METHODS)
def test_two_classes_are_told_apart(method):
    assert 1100 < GLOBAL_THRESHOLDS[method](counts_of(two_classes())) < 3400


def test_otsu_has_the_largest_variance_between_classes():
    levels = two_classes()
    threshold = otsu(counts_of(levels))

    def between(t):
        low, high = levels[levels <= t], levels[levels > t]
        return len(low) * len(high) * (low.mean() - high.mean()) ** 2

    best = max(between(t) for t in np.unique(levels)[:-1])
    assert between(threshold) == pytest.approx(best)


def test_li_agrees_with_scikit_image():
    levels = two_classes()
    expected = filters.threshold_li(levels.astype(float), tolerance=0.5)
    assert abs(GLOBAL_THRESHOLDS["li"](counts_of(levels)) - expected) <= 2


def test_isodata_is_halfway_between_the_means():
    levels = two_classes()
    t = GLOBAL_THRESHOLDS["isodata"](counts_of(levels))
    assert abs((levels[levels <= t].mean() + levels[levels > t].mean()) / 2 - t) <= 1


def test_triangle_agrees_with_scikit_image_to_a_class():
    levels = two_classes()
    width = np.ptp(levels) / 256
    expected = filters.threshold_triangle(levels.astype(float))
    assert abs(GLOBAL_THRESHOLDS["triangle"](counts_of(levels)) - expected) <= 2 * width


def test_triangle_of_a_dark_tail_is_the_mirrored_one():
    levels = two_classes()
    up = GLOBAL_THRESHOLDS["triangle"](counts_of(levels))
    down = GLOBAL_THRESHOLDS["triangle"](counts_of(60000 - levels))
    assert abs((60000 - down) - up) <= 2 * np.ptp(levels) / 256


@pytest.mark.parametrize("method", METHODS)
@given(levels=st.lists(st.integers(1, 65535), min_size=2, max_size=40))
def test_the_brightest_is_above_and_the_darkest_below(method, levels):
    threshold = GLOBAL_THRESHOLDS[method](counts_of(levels))
    if min(levels) == max(levels):
        assert threshold == levels[0]
    else:
        assert min(levels) <= threshold < max(levels)


@pytest.mark.parametrize("method", METHODS)
def test_pixels_without_value_do_not_count(method):
    levels = two_classes()
    counts = counts_of(levels)
    expected = GLOBAL_THRESHOLDS[method](counts)
    counts[0] += 10**9
    assert GLOBAL_THRESHOLDS[method](counts) == expected


@given(st.lists(st.integers(1, 65535), min_size=1, max_size=40))
def test_median_is_the_lower_one(levels):
    assert median_level(counts_of(levels)) == sorted(levels)[(len(levels) - 1) // 2]
