"""Score a label image against ground truth: objects matched one to one by their overlap."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.block_grid import BlockGrid
from parfocal.analysis.exact import Integers
from parfocal.analysis.scan import plan_block
from parfocal.core.blocks import Readable, Region, Shape, whole
from parfocal.core.scheduler import Scheduler
from parfocal.errors import InputError

__all__ = [
    "IOU_THRESHOLDS",
    "Contingency",
    "Score",
    "count_overlaps",
    "require_labels",
    "score_overlaps",
]

IOU_THRESHOLDS = (Fraction(1, 2), Fraction(3, 4))
"""Overlaps, as intersection over union, from which a pair of objects counts as matched."""

_PENDING_ROWS = 1 << 16
_LARGEST_WHOLE = 1 << 53


@dataclass(frozen=True)
class Contingency:
    """How many pixels each pair of labels shares.

    Attributes
    ----------
    t, truth, predicted, pixels : (N,) int64
        Time point, labels of the pair (0 is background) and number of pixels. Each pair
        occurs once, in rising order.
    """

    t: Integers
    truth: Integers
    predicted: Integers
    pixels: Integers


@dataclass(frozen=True)
class Score:
    """Matches at one threshold.

    Attributes
    ----------
    iou : Fraction
        The least overlap of a match.
    true_positives, false_positives, false_negatives : int
        Matched objects, predicted ones without a match, and true ones without.
    matched_iou : tuple of float
        Overlap of each match.
    """

    iou: Fraction
    true_positives: int
    false_positives: int
    false_negatives: int
    matched_iou: tuple[float, ...]

    @property
    def precision(self) -> float | None:
        """Part of the predicted objects that are matched; None if there is none."""
        return _share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float | None:
        """Part of the true objects that are matched; None if there is none."""
        return _share(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; None if there is no object at all."""
        both = 2 * self.true_positives
        return _share(both, both + self.false_positives + self.false_negatives)

    @property
    def mean_matched_iou(self) -> float | None:
        """Mean overlap of the matches; None if there is none."""
        if not self.matched_iou:
            return None
        return math.fsum(self.matched_iou) / len(self.matched_iou)


def _share(part: int, total: int) -> float | None:
    return part / total if total else None


def count_overlaps(
    truth: Readable,
    predicted: Readable,
    block: Shape,
    scheduler: Scheduler,
    progress: Callable[[int, int], None],
) -> Contingency:
    """Count the pixels that each pair of labels shares, block by block.

    Parameters
    ----------
    truth, predicted : Readable
        Label images (T, 1, Z, Y, X) of the same shape.
    block : (T, C, Z, Y, X)
        A block that is cheap to read.
    scheduler : Scheduler
        Where blocks are worked on.
    progress : callable
        Called as ``progress(done, total)`` in blocks.

    Raises
    ------
    InputError
        If the shapes differ or one does not hold labels.
    """
    _check(truth, predicted)
    shape = predicted.shape5
    regions = BlockGrid(whole(shape), plan_block(block, shape))
    work = partial(_pairs, truth, predicted)
    joined = np.zeros((4, 0), np.int64)
    pending: list[Integers] = []
    waiting = 0
    for done, found in enumerate(scheduler.map(work, regions), start=1):
        pending.append(found)
        waiting += found.shape[1]
        if waiting > max(_PENDING_ROWS, joined.shape[1]):
            joined, pending, waiting = _join([joined, *pending]), [], 0
        progress(done, len(regions))
    return Contingency(*_join([joined, *pending]))


def _check(truth: Readable, predicted: Readable) -> None:
    if truth.shape5 != predicted.shape5:
        what = "The ground truth has not the shape of the label image"
        raise InputError(
            what,
            expected=f"TCZYX {predicted.shape5}",
            found=f"TCZYX {truth.shape5}",
            remedy="Give in the column ground_truth the labels of this image, pixel by pixel, in a "
            "file that says what its axes are.",
        )
    for name, labels in (("ground truth", truth), ("label image", predicted)):
        if labels.dtype.kind not in "uif":
            what = f"The {name} does not hold labels"
            raise InputError(what, expected="whole numbers", found=labels.dtype)


def require_labels(truth: Readable, block: Shape, scheduler: Scheduler) -> None:
    """Refuse ground truth whose values are intensities or classes, not labels of objects.

    The pixels of an object lie together; those of an intensity are strewn over the image.
    In each block, each label with two pixels or more is strewn when the largest part of it
    that is connected (by faces, edges or corners) is a single pixel or less than half of
    its pixels there. Ground truth is refused when more than half of the labels are strewn.

    Parameters
    ----------
    truth : Readable
        Whole numbers (T, 1, Z, Y, X).
    block : (T, C, Z, Y, X)
        A block that is cheap to read.
    scheduler : Scheduler
        Where blocks are worked on.

    Raises
    ------
    InputError
        If most labels are strewn.
    """
    shape = truth.shape5
    regions = BlockGrid(whole(shape), plan_block(block, shape))
    strewn, labels = 0, 0
    for counts in scheduler.map(partial(_count_strewn, truth), regions):
        strewn, labels = strewn + counts[0], labels + counts[1]
    if 2 * strewn > labels:
        what = "The ground truth is not a label image"
        raise InputError(
            what,
            expected="0 for background and one whole number for each object, whose pixels lie "
            "together",
            found=f"{strewn} of {labels} values whose pixels lie strewn, as in an intensity image",
            remedy="Give the labels in the column ground_truth, not the image itself; number the "
            "objects of a mask first.",
        )


def _count_strewn(truth: Readable, region: Region) -> tuple[int, int]:
    """Return how many labels of one block are strewn, and how many were judged."""
    import cc3d

    labels = _labels(truth, region)
    values, numbers = np.unique(labels, return_inverse=True)
    numbers = numbers.reshape(labels.shape) + int(values[0] != 0)
    if not numbers.any():
        return 0, 0
    parts = cc3d.connected_components(numbers.astype(np.uint32), connectivity=26).ravel()
    sizes = np.bincount(parts)
    owners = np.zeros(sizes.size, np.int64)
    owners[parts] = numbers.ravel()
    pixels = np.bincount(numbers.ravel())
    largest = np.zeros(pixels.size, np.int64)
    np.maximum.at(largest, owners, sizes)
    judged = pixels > 1
    judged[0] = False
    strewn = (largest == 1) | (2 * largest < pixels)
    return int((strewn & judged).sum()), int(judged.sum())


def _labels(image: Readable, region: Region) -> NDArray[Any]:
    """Read labels; those of ground truth are often stored as real numbers."""
    block: NDArray[Any] = image.read(region)[0, 0]
    if block.dtype.kind != "f":
        return block
    if not ((np.abs(block) < _LARGEST_WHOLE) & (np.trunc(block) == block)).all():
        what = "The ground truth does not hold labels"
        raise InputError(what, expected="whole numbers", found="fractions, or not finite")
    labels: Integers = block.astype(np.int64)
    return labels


def _pairs(truth: Readable, predicted: Readable, region: Region) -> Integers:
    """Return time, both labels and pixels (4, N) of one block, background pairs left out."""
    one, other = _labels(truth, region).ravel(), _labels(predicted, region).ravel()
    change = np.ones(one.size, bool)
    np.not_equal(one[1:], one[:-1], out=change[1:])
    change[1:] |= other[1:] != other[:-1]
    starts = np.flatnonzero(change)
    lengths = np.diff(starts, append=one.size)
    left, right = one[starts].astype(np.int64), other[starts].astype(np.int64)
    if min(left.min(), right.min()) < 0:
        what = "A label is out of range"
        raise InputError(what, expected="0 to 2**63 - 1", found="a negative or larger number")
    real = (left != 0) | (right != 0)
    times = np.full(int(real.sum()), region[0].start, np.int64)
    return _join([np.stack([times, left[real], right[real], lengths[real]])])


def _join(parts: list[Integers]) -> Integers:
    """Add up the pixels of equal pairs of columns (4, N), in rising order."""
    rows = np.concatenate(parts, axis=1)
    if rows.shape[1] == 0:
        return rows
    rows = rows[:, np.lexsort(rows[2::-1])]
    new = np.concatenate(([True], (rows[:3, 1:] != rows[:3, :-1]).any(axis=0)))
    starts = np.flatnonzero(new)
    return np.concatenate([rows[:3, starts], np.add.reduceat(rows[3:], starts, axis=1)])


def score_overlaps(overlaps: Contingency) -> tuple[int, int, list[Score]]:
    """Match objects one to one, as many as possible, at each of `IOU_THRESHOLDS`.

    Returns
    -------
    n_truth, n_predicted : int
        Number of objects; one label in two time points is two objects.
    scores : list of Score
        One for each threshold.
    """
    truths, truth, truth_size = _objects(overlaps.t, overlaps.truth, overlaps.pixels)
    predictions, predicted, predicted_size = _objects(
        overlaps.t, overlaps.predicted, overlaps.pixels
    )
    both = (overlaps.truth != 0) & (overlaps.predicted != 0)
    truth, predicted, shared = truth[both], predicted[both], overlaps.pixels[both]
    union = truth_size[truth] + predicted_size[predicted] - shared
    scores = []
    for iou in IOU_THRESHOLDS:
        enough = shared * iou.denominator >= union * iou.numerator
        rows, columns, ious = truth[enough], predicted[enough], (shared / union)[enough]
        matched = _match(rows, columns, ious, (truths, predictions))
        hits = len(matched)
        scores.append(Score(iou, hits, predictions - hits, truths - hits, matched))
    return truths, predictions, scores


def _objects(t: Integers, labels: Integers, pixels: Integers) -> tuple[int, Integers, Integers]:
    """Return how many objects there are, the number of each entry's, and their sizes.

    Entries of the background get a number too, which means nothing.
    """
    real = labels != 0
    keys, numbers = np.unique(np.stack([t[real], labels[real]]), axis=1, return_inverse=True)
    sizes = np.zeros(keys.shape[1], np.int64)
    np.add.at(sizes, numbers.ravel(), pixels[real])
    everywhere = np.zeros(labels.size, np.int64)
    everywhere[real] = numbers.ravel()
    return keys.shape[1], everywhere, sizes


def _match(
    rows: Integers, columns: Integers, ious: NDArray[np.float64], shape: tuple[int, int]
) -> tuple[float, ...]:
    """Return the overlaps of the largest matching.

    Above one half an object has one partner at most; at exactly one half it may have two,
    with the same overlap, so that the largest matching is also the best.
    """
    if rows.size == 0:
        return ()
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    graph = csr_array((ious, (rows, columns)), shape=shape)
    partners = maximum_bipartite_matching(graph, perm_type="column")
    chosen = columns == partners[rows]
    return tuple(float(iou) for iou in ious[chosen])
