"""Whether objects look different where tiles meet: the seam score.

The tests are told in ``docs/explanation/segmentation.md``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

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
    def sizes(self) -> Integers:
        """Number of pixels (N,) of each object."""

    @property
    def lower(self) -> Integers:
        """First pixel (N, 3) along Z, Y, X."""

    @property
    def upper(self) -> Integers:
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
    near_sizes: list[Integers] = field(default_factory=list)
    other_sizes: list[Integers] = field(default_factory=list)


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
                _count_sides(counts, one, axis)
                _count_near(counts, one, axis)
    near, other = (
        np.concatenate([np.zeros(0, np.int64), *sizes])
        for sizes in (counts.near_sizes, counts.other_sizes)
    )
    chances = (
        # Where two objects touch, their sides go together: half of them count.
        _at_least(counts.flat // 2, counts.sides // 2, counts.flat_expected / 2),
        _unlike(len(near), counts.compared, counts.near_expected),
        _other_sizes(near, other),
    )
    return SeamScore(
        objects=sum(len(one.sizes) for one in found),
        flat=counts.flat,
        flat_expected=counts.flat_expected,
        near=len(near),
        near_expected=counts.near_expected,
        size_ratio=float(np.median(near) / np.median(other)) if len(near) and len(other) else None,
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


def _count_sides(counts: _Counts, one: TiledObjects, axis: int) -> None:
    """Count the sides of objects across one axis, those of the volume left out."""
    core, size = one.tiling.core[axis], one.tiling.shape[axis]
    sides = np.concatenate([one.lower[:, axis], one.upper[:, axis]])
    sides = sides[(sides > 0) & (sides < size)]
    counts.sides += len(sides)
    counts.flat += int((sides % core == 0).sum())
    counts.flat_expected += len(sides) * (one.tiling.grid[axis] - 1) / (size - 1)


def _count_near(counts: _Counts, one: TiledObjects, axis: int) -> None:
    """Count the objects near borders, and those beside them, which are compared with them."""
    core, last = one.tiling.core[axis], one.tiling.grid[axis] - 1
    extent = one.upper[:, axis] - one.lower[:, axis]
    radius = max(2, math.ceil(np.median(extent) / 2))
    reach = min(3 * radius, core // 2)
    if reach < 2 * radius:
        return
    centre = one.lower[:, axis] + one.upper[:, axis]  # all distances are doubled
    border = 2 * core * np.clip(np.rint(centre / (2 * core)), 1, last)
    distance = np.abs(centre - border)
    compared = distance < 2 * reach
    near = distance < 2 * radius
    odd = extent[compared] % 2
    counts.compared += int(compared.sum())
    counts.near_expected += float((_places(radius, odd) / _places(reach, odd)).sum())
    counts.near_sizes.append(one.sizes[near])
    counts.other_sizes.append(one.sizes[compared & ~near])


def _places(reach: int, odd: Integers) -> Integers:
    """Count the places of a centre within a distance; it lies between pixels or in one."""
    return 2 * reach - 1 + odd


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


def _other_sizes(near: Integers, other: Integers) -> float:
    """Return the probability that sizes are of one distribution: Mann and Whitney's, with ties.

    The normal approximation holds for FEWEST or more of each; with less nothing is told.
    """
    from scipy.special import ndtr

    n, m = len(near), len(other)
    if min(n, m) < FEWEST:
        return 1.0
    _, place, times = np.unique(
        np.concatenate([near, other]), return_inverse=True, return_counts=True
    )
    ranks = np.cumsum(times) - (times - 1) / 2
    excess = ranks[place[:n]].sum() - n * (n + m + 1) / 2
    ties = float((times.astype(float) * times * times - times).sum()) / ((n + m) * (n + m - 1))
    variance = n * m / 12 * (n + m + 1 - ties)
    if variance <= 0:
        return 1.0
    return float(2 * ndtr(-max(0.0, abs(excess) - 0.5) / math.sqrt(variance)))
