"""Scores of label images: known answers, agreement with brute force, no seams."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from memory_images import MemoryImage, five
from parfocal.analysis import scan
from parfocal.analysis.score import count_overlaps, require_labels, score_overlaps
from parfocal.core.scheduler import Threads
from parfocal.errors import InputError


def overlaps(truth, predicted, block=(1, 1, 1, 64, 64), threads=1):
    return count_overlaps(truth, predicted, block, Threads(threads), lambda done, total: None)


def score(truth, predicted):
    return score_overlaps(overlaps(five(truth, "u2"), five(predicted, "u2")))


def pairs_of_labels():
    shape = st.tuples(st.integers(1, 2), st.just(1), *[st.integers(1, 6)] * 3)
    return shape.flatmap(
        lambda size: st.tuples(
            *[npst.arrays(np.uint16, size, elements=st.integers(0, 3)) for _ in range(2)]
        )
    )


def brute_force(truth, predicted, least):
    """Return the greatest number of pairs with at least that overlap, over all pairings."""
    count = 0
    for one, other in zip(truth, predicted, strict=True):
        rows, columns = np.unique(one[one > 0]), np.unique(other[other > 0])
        good = {
            (row, column)
            for row, column in itertools.product(rows, columns)
            if ((one == row) & (other == column)).sum()
            >= least * ((one == row) | (other == column)).sum()
        }
        orders = itertools.permutations([*columns, *[0] * len(rows)], len(rows))
        count += max(
            sum(pair in good for pair in zip(rows, order, strict=True)) for order in orders
        )
    return count


@settings(max_examples=60)
@given(pairs_of_labels())
def test_matches_are_as_many_as_possible(pair):
    truth, predicted = pair
    n_truth, n_predicted, scores = score_overlaps(
        overlaps(MemoryImage(truth), MemoryImage(predicted))
    )
    assert n_truth == sum(len(np.unique(plane[plane > 0])) for plane in truth)
    assert n_predicted == sum(len(np.unique(plane[plane > 0])) for plane in predicted)
    for found in scores:
        hits = brute_force(truth, predicted, float(found.iou))
        assert found.true_positives == hits == len(found.matched_iou)
        assert found.false_positives == n_predicted - hits
        assert found.false_negatives == n_truth - hits


@settings(max_examples=60)
@given(pairs_of_labels(), st.tuples(*[st.integers(1, 6)] * 3), st.integers(1, 3))
def test_any_blocks_and_threads_count_the_same(pair, block, threads):
    truth, predicted = (MemoryImage(each) for each in pair)
    whole = overlaps(truth, predicted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "TARGET_PIXELS", 10)
        parts = overlaps(truth, predicted, (1, 1, *block), threads)
    for name in ("t", "truth", "predicted", "pixels"):
        assert getattr(parts, name).tolist() == getattr(whole, name).tolist()
    shared = np.logical_or(truth.pixels, predicted.pixels).sum()
    assert whole.pixels.sum() == shared


def test_known_scores():
    truth = [[1, 1, 1, 1, 0, 2, 2, 0, 3, 3]]
    predicted = [[9, 9, 9, 0, 0, 5, 5, 0, 0, 7]]
    n_truth, n_predicted, (half, three_quarters) = score(truth, predicted)
    assert (n_truth, n_predicted) == (3, 3)
    assert (half.true_positives, half.f1, half.mean_matched_iou) == (3, 1.0, 0.75)
    assert (three_quarters.true_positives, three_quarters.false_positives) == (2, 1)
    assert three_quarters.precision == three_quarters.recall == pytest.approx(2 / 3)
    assert three_quarters.mean_matched_iou == 0.875


def test_whole_numbers_may_be_stored_as_real_numbers():
    truth = five([[0, 4, 4, 5]], "f8")
    n_truth, _, (half, _) = score_overlaps(overlaps(truth, five([[0, 1, 1, 0]], "u1")))
    assert (n_truth, half.true_positives, half.false_negatives) == (2, 1, 1)


def test_two_halves_of_an_object_match_it_once():
    _, _, (half, _) = score([[1, 1, 0]], [[1, 2, 0]])
    assert (half.true_positives, half.false_positives, half.false_negatives) == (1, 1, 0)
    assert (half.precision, half.recall) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("truth", "predicted", "expected"),
    [
        ([[0, 0]], [[0, 0]], (None, None, None)),
        ([[1, 0]], [[0, 0]], (None, 0.0, 0.0)),
        ([[0, 0]], [[0, 2]], (0.0, None, 0.0)),
    ],
)
def test_without_objects(truth, predicted, expected):
    _, _, scores = score(truth, predicted)
    for found in scores:
        assert (found.precision, found.recall, found.f1) == expected
        assert found.mean_matched_iou is None


@pytest.mark.parametrize(
    ("truth", "predicted", "says"),
    [
        (five(np.zeros((3, 3), "u1")), five(np.zeros((3, 4), "u1")), "(1, 1, 1, 3, 4)"),
        (five(np.full((3, 3), 0.5), "f4"), five(np.zeros((3, 3), "u1")), "fractions"),
        (five(np.full((3, 3), np.nan), "f8"), five(np.zeros((3, 3), "u1")), "fractions"),
        (five(np.full((3, 3), 1e300), "f8"), five(np.zeros((3, 3), "u1")), "fractions"),
        (five(np.zeros((3, 3), "c8")), five(np.zeros((3, 3), "u1")), "complex64"),
        (five(np.zeros((3, 3), "bool")), five(np.zeros((3, 3), "u1")), "bool"),
        (five(np.full((3, 3), -1, "i2")), five(np.zeros((3, 3), "u1")), "negative"),
    ],
)
def test_what_cannot_be_scored_is_an_error(truth, predicted, says):
    with pytest.raises(InputError) as caught:
        overlaps(truth, predicted)
    assert says in str(caught.value)


def require(truth, dtype="u2", threads=1):
    require_labels(five(np.asarray(truth), dtype), (1, 1, 1, 64, 64), Threads(threads))


def discs_on(background, spacing=20):
    """Return 25 numbered discs on a background."""
    y, x = np.mgrid[:100, :100]
    numbers = 1 + y // spacing * 5 + x // spacing
    inside = (y % spacing - 9) ** 2 + (x % spacing - 9) ** 2 < 64
    return np.where(inside, numbers + background, background)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ["u2", "f4", "u8"])
def test_an_intensity_image_is_no_ground_truth(dtype, threads):
    rng = np.random.default_rng(3)
    image = np.where(discs_on(0) > 0, 900, 100) + rng.poisson(50, (100, 100))
    with pytest.raises(InputError, match=r"not a label image.*found .* of .* values"):
        require(image, dtype, threads)


def test_a_mask_of_many_objects_is_no_ground_truth():
    with pytest.raises(InputError, match=r"1 of 1 values.*number the objects of a mask first"):
        require(255 * (discs_on(0) > 0))


def test_labels_are_ground_truth_whether_they_touch_are_small_or_fill_the_image():
    require(discs_on(0))
    require(discs_on(1))
    require(np.kron(np.arange(1, 101).reshape(10, 10), np.ones((10, 10), int)))
    require(np.diag(np.arange(50)))
    require(np.zeros((5, 5)))


def test_an_object_in_two_halves_is_ground_truth():
    require([[1, 1, 0, 1, 1]])


def test_some_strewn_labels_among_whole_ones_are_ground_truth():
    labels = discs_on(0)
    for label in range(1, 13):
        places = np.argwhere(labels == label)
        labels[labels == label] = 0
        labels[tuple(places[::12].T)] = label
    require(labels)
    labels[labels == 13] = 0
    with pytest.raises(InputError, match="12 of 2"):
        require(np.where(labels > 23, 0, labels))


def test_blocks_may_cut_the_objects(monkeypatch):
    monkeypatch.setattr(scan, "TARGET_PIXELS", 50)
    require(discs_on(0))
