"""Whether objects look different where tiles meet: the seam score.

The tests are told in ``docs/explanation/segmentation.md``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.scratch_rows import Column, parts
from parfocal.analysis.tiling import Tiling

__all__ = ["SIGNIFICANT", "SeamScore", "TiledObjects", "score_seams", "score_volumes"]

SIGNIFICANT = 0.001
"""Below this probability a seam is told in a warning."""

MOST = 32
"""Volumes that are tested at most."""

FEWEST = 10
"""Objects below which sizes are not compared."""

Integers = NDArray[np.int64]


class TiledObjects(Protocol):
    """The objects of one volume, or of several of the same size, and its tiles."""

    @property
    def tiling(self) -> Tiling:
        """The tiles."""

    @property
    def sizes(self) -> Integers | Column:
        """Number of pixels (N,) of each object."""

    @property
    def lower(self) -> Integers | Column:
        """First pixel (N, 3) along Z, Y, X."""

    @property
    def upper(self) -> Integers | Column:
        """The one (N, 3) after the last."""


@dataclass(frozen=True)
class SeamScore:
    """How objects at the borders between tiles differ from others.

    Attributes
    ----------
    objects : int
        Number of objects.
    flat, flat_expected : int and float
        How many sides of objects lie exactly at a border, where a cut would put them, and how
        many would by chance.
    near, near_expected : int and float
        How many objects lie within a radius of a border, of those within three radii, and how
        many would by chance.
    size_ratio : float or None
        Their median size over that of the others within three radii; None where there are none.
    p_flat, p_near, p_size : float
        Probability of as many sides, of such a number of objects, and of such a difference of
        sizes, if there were no seams.
    p : float
        The same for the least likely of the three, by Bonferroni.
    volumes : int
        How many time points or planes were tested, each by itself; probabilities are then those of
        the least likely one, and `p` holds for all of them.
    """

    objects: int
    flat: int
    flat_expected: float
    near: int
    near_expected: float
    size_ratio: float | None
    p_flat: float
    p_near: float
    p_size: float
    p: float
    volumes: int = 1

    @property
    def significant(self) -> bool:
        """Whether there are seams."""
        return self.p < SIGNIFICANT

    def details(self) -> dict[str, Any]:
        """Return what the record tells."""
        rounded = {
            name: float(f"{value:.6g}") if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }
        return rounded | {"significant": self.significant}


@dataclass
class _Counts:
    """What is compared, over all volumes and axes."""

    sides: int = 0
    flat: int = 0
    flat_expected: float = 0.0
    compared: int = 0
    near_expected: float = 0.0
    near_sizes: Counter[int] = field(default_factory=Counter)
    other_sizes: Counter[int] = field(default_factory=Counter)


def score_seams(found: Sequence[TiledObjects]) -> SeamScore:
    """Compare objects at the borders between tiles with others.

    Parameters
    ----------
    found : sequence of TiledObjects
        The objects of all volumes.
    """
    counts = _Counts()
    for one in found:
        for axis, borders in enumerate(one.tiling.grid):
            if borders > 1 and len(one.sizes):
                extents = _count_sides(counts, one, axis)
                _count_near(counts, one, axis, math.ceil(_median(extents) / 2))
    near, other = counts.near_sizes, counts.other_sizes
    chances = (
        # Where two objects touch, their sides go together: half of them count.
        _at_least(counts.flat // 2, counts.sides // 2, counts.flat_expected / 2),
        _unlike(near.total(), counts.compared, counts.near_expected),
        _other_sizes(near, other),
    )
    return SeamScore(
        objects=sum(len(one.sizes) for one in found),
        flat=counts.flat,
        flat_expected=counts.flat_expected,
        near=near.total(),
        near_expected=counts.near_expected,
        size_ratio=_median(near) / _median(other) if near and other else None,
        p_flat=chances[0],
        p_near=chances[1],
        p_size=chances[2],
        p=min(1.0, len(chances) * min(chances)),
    )


def score_volumes(volumes: Sequence[Sequence[TiledObjects]]) -> SeamScore:
    """Score time points or planes each by itself, and join what was found.

    Objects of neighbouring time points are the same ones as a rule, so that they must not be
    counted as if they had nothing to do with each other. The least probability is multiplied by
    the number of volumes (Bonferroni), which is right however they depend on each other.

    Parameters
    ----------
    volumes : sequence of sequence of TiledObjects
        The objects of each volume. Of many, `MOST` are taken that lie evenly between all.
    """
    chosen = np.unique(np.linspace(0, len(volumes) - 1, min(MOST, len(volumes))).astype(int))
    scores = [score_seams(volumes[number]) for number in chosen]
    if not scores:
        return score_seams([])
    least = min(scores, key=lambda score: score.p)
    return replace(
        least,
        objects=sum(len(one.sizes) for volume in volumes for one in volume),
        flat=sum(score.flat for score in scores),
        flat_expected=math.fsum(score.flat_expected for score in scores),
        near=sum(score.near for score in scores),
        near_expected=math.fsum(score.near_expected for score in scores),
        p=min(1.0, len(scores) * least.p),
        volumes=len(scores),
    )


def _pieces(one: TiledObjects, axis: int) -> Iterator[tuple[Integers, Integers, Integers]]:
    """Yield the sizes of some objects, and their first and last pixels along an axis."""
    for part in parts(len(one.sizes)):
        yield one.sizes[part], one.lower[part][:, axis], one.upper[part][:, axis]


def _count(values: Integers) -> dict[int, int]:
    """Count how often each value occurs."""
    names, times = np.unique(values, return_counts=True)
    return dict(zip(names.tolist(), times.tolist(), strict=True))


def _median(times: Counter[int]) -> float:
    """Return the median of values that occur so often."""
    values = sorted(times)
    ends = np.cumsum([times[value] for value in values])
    last = int(ends[-1]) - 1
    low, high = np.searchsorted(ends, (last // 2, (last + 1) // 2), side="right")
    return float(values[low] + values[high]) / 2


def _count_sides(counts: _Counts, one: TiledObjects, axis: int) -> Counter[int]:
    """Count the sides of objects across one axis, those of the volume left out, and extents."""
    core, size = one.tiling.core[axis], one.tiling.shape[axis]
    extents, number = Counter[int](), 0
    for _, lower, upper in _pieces(one, axis):
        sides = np.concatenate([lower, upper])
        sides = sides[(sides > 0) & (sides < size)]
        number += len(sides)
        counts.flat += int((sides % core == 0).sum())
        extents.update(_count(upper - lower))
    counts.sides += number
    counts.flat_expected += number * (one.tiling.grid[axis] - 1) / (size - 1)
    return extents


def _count_near(counts: _Counts, one: TiledObjects, axis: int, radius: int) -> None:
    """Count the objects near borders, and those beside them, which are compared with them."""
    core, last = one.tiling.core[axis], one.tiling.grid[axis] - 1
    radius = max(2, radius)
    reach = min(3 * radius, core // 2)
    if reach < 2 * radius:
        return
    number = odd = 0
    for sizes, lower, upper in _pieces(one, axis):
        centre = lower + upper  # all distances are doubled
        border = 2 * core * np.clip(np.rint(centre / (2 * core)), 1, last)
        distance = np.abs(centre - border)
        compared = distance < 2 * reach
        near = distance < 2 * radius
        number += int(compared.sum())
        odd += int((centre[compared] % 2).sum())
        counts.near_sizes.update(_count(sizes[near]))
        counts.other_sizes.update(_count(sizes[compared & ~near]))
    counts.compared += number
    for of_kind, parity in ((number - odd, 0), (odd, 1)):  # a centre lies between pixels, or in one
        counts.near_expected += of_kind * (2 * radius - 1 + parity) / (2 * reach - 1 + parity)


def _at_least(number: int, trials: int, expected: float) -> float:
    """Return the binomial probability of at least so many."""
    from scipy.special import bdtrc

    if number == 0 or trials == 0:
        return 1.0
    return float(bdtrc(number - 1, trials, min(1.0, expected / trials)))


def _unlike(number: int, trials: int, expected: float) -> float:
    """Return the binomial probability of a number that is as far from what is expected."""
    if trials == 0:
        return 1.0
    fewer = _at_least(trials - number, trials, trials - expected)
    return min(1.0, 2 * min(fewer, _at_least(number, trials, expected)))


def _other_sizes(near: Iterable[int], other: Iterable[int]) -> float:
    """Return the probability that sizes are of one distribution: Mann and Whitney's, with ties.

    The normal approximation holds for FEWEST or more of each; with less nothing is told.

    Parameters
    ----------
    near, other : iterable or Counter of int
        The sizes, or how often each occurs.
    """
    from scipy.special import ndtr

    ones, others = Counter(near), Counter(other)
    n, m = ones.total(), others.total()
    if min(n, m) < FEWEST:
        return 1.0
    sizes = sorted(ones | others)
    of_one = np.array([ones[size] for size in sizes])
    times = of_one + [others[size] for size in sizes]
    ranks = np.cumsum(times) - (times - 1) / 2
    excess = (of_one * ranks).sum() - n * (n + m + 1) / 2
    ties = float((times.astype(float) * times * times - times).sum()) / ((n + m) * (n + m - 1))
    variance = n * m / 12 * (n + m + 1 - ties)
    if variance <= 0:
        return 1.0
    return float(2 * ndtr(-max(0.0, abs(excess) - 0.5) / math.sqrt(variance)))
