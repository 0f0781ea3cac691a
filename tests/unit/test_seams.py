from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import binomtest, mannwhitneyu

from parfocal.analysis import seams
from parfocal.analysis.seams import score_seams, score_volumes
from parfocal.analysis.stitch import Stitched, Tiling


def stitched(labels, tiling):
    """Return the objects of a label image."""
    boxes = np.array(
        [[(part.start, part.stop) for part in box] for box in ndimage.find_objects(labels)]
    ).reshape(-1, 3, 2)
    sizes = np.bincount(labels.ravel())[1:]
    return Stitched(
        tiling,
        sizes,
        boxes[..., 0],
        boxes[..., 0],
        boxes[..., 1],
        merged=0,
        ambiguous=0,
        contested=0,
    )


def discs(side, number, rng, *, clustered=False):
    """Return a label image (1, Y, X) of discs at random places."""
    labels = np.zeros((1, side, side), np.int64)
    y, x = np.indices((13, 13)) - 6
    heaps = rng.uniform(20, side - 20, (8, 2))
    for label in range(1, number + 1):
        place = rng.uniform(10, side - 10, 2)
        if clustered:
            place = np.clip(heaps[rng.integers(8)] + rng.normal(0, 25, 2), 10, side - 10)
        cy, cx = np.rint(place).astype(int)
        disc = y**2 + x**2 <= rng.uniform(3, 6) ** 2
        window = labels[0, cy - 6 : cy + 7, cx - 6 : cx + 7]
        window[disc & (window == 0)] = label
    return renumber(labels)


def renumber(labels):
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


def cut(labels, core):
    """Cut all objects at a grid."""
    y, x = np.indices(labels.shape[1:]) // core
    return renumber(np.where(labels > 0, labels * 10**4 + y * 100 + x, 0))


TILING = Tiling((1, 400, 400), (1, 100, 100), (0, 16, 16))


def test_objects_that_are_cut_at_borders_are_told():
    labels = discs(400, 450, np.random.default_rng(0))
    whole, pieces = (score_seams([stitched(one, TILING)]) for one in (labels, cut(labels, 100)))
    assert pieces.p < 0.001
    assert pieces.significant
    assert max(pieces.p_flat, pieces.p_near, pieces.p_size) < 0.001
    assert pieces.flat > 5 * pieces.flat_expected
    assert pieces.size_ratio < 0.8
    assert whole.p > 0.05
    assert not whole.significant


def test_each_test_sees_what_is_its_own():
    labels = discs(400, 450, np.random.default_rng(1))
    one = stitched(labels, TILING)
    centre = (one.lower + one.upper) / 2
    distance = np.abs(centre[:, 1:] - 100 * np.clip(np.rint(centre[:, 1:] / 100), 1, 3)).min(1)
    fewer = renumber(np.where(np.isin(labels, 1 + np.flatnonzero(distance < 4)), 0, labels))
    score = score_seams([stitched(fewer, TILING)])
    assert score.p_near < 0.001
    assert score.near < score.near_expected


@pytest.mark.parametrize("clustered", [False, True])
def test_false_alarms_are_rare(clustered):
    rng = np.random.default_rng(2)
    scores = [
        score_seams([stitched(discs(400, 250, rng, clustered=clustered), TILING)])
        for _ in range(25)
    ]
    assert sum(score.p < 0.05 for score in scores) <= 5
    assert not any(score.significant for score in scores)


def test_volumes_are_taken_together():
    rng = np.random.default_rng(3)
    several = [stitched(cut(discs(400, 60, rng), 100), TILING) for _ in range(6)]
    alone, together = score_seams(several[:1]), score_seams(several)
    assert together.p < alone.p
    assert together.objects == sum(one.objects for one in several)


def test_the_same_objects_at_many_times_are_no_further_evidence():
    rng = np.random.default_rng(5)
    whole = stitched(discs(400, 250, rng), TILING)
    pieces = stitched(cut(discs(400, 250, rng), 100), TILING)
    alone, often = score_volumes([[whole]]), score_volumes([[whole]] * 20)
    assert alone == score_seams([whole])
    assert (often.p, often.volumes) == (min(1, 20 * alone.p), 20)
    assert (often.objects, often.near) == (20 * alone.objects, 20 * alone.near)
    one_of_them = score_volumes([[whole]] * 5 + [[pieces]])
    assert one_of_them.p == 6 * score_seams([pieces]).p
    assert one_of_them.significant


def test_of_very_many_volumes_some_are_tested():
    some = stitched(cut(discs(400, 60, np.random.default_rng(6)), 100), TILING)
    score = score_volumes([[some]] * 1000)
    assert score.volumes == seams.MOST
    assert score.objects == 1000 * len(some.sizes)
    assert score_volumes([]).p == 1


@pytest.mark.parametrize("tiling", [TILING, Tiling((1, 400, 400), (1, 400, 400), (0, 0, 0))])
def test_without_objects_or_borders_nothing_is_told(tiling):
    empty = stitched(np.zeros((1, 400, 400), np.int64), tiling)
    assert score_seams([empty]).p == score_seams([]).p == 1
    assert score_seams([]).size_ratio is None
    one = Tiling((1, 400, 400), (1, 400, 400), (0, 0, 0))
    assert score_seams([stitched(discs(400, 90, np.random.default_rng(0)), one)]).p == 1


def test_probabilities_are_those_of_scipy():
    rng = np.random.default_rng(4)
    near, other = rng.integers(0, 20, 30), rng.integers(3, 25, 50)
    expected = mannwhitneyu(near, other, method="asymptotic").pvalue
    assert seams._other_sizes(near, other) == pytest.approx(expected, rel=1e-9)
    assert seams._at_least(9, 40, 4.0) == pytest.approx(
        binomtest(9, 40, 0.1, alternative="greater").pvalue
    )


def test_details_are_plain():
    details = score_seams([stitched(discs(400, 90, np.random.default_rng(0)), TILING)]).details()
    assert details["significant"] is False
    assert {type(value) for value in details.values()} <= {int, float, bool}
