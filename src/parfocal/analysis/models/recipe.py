"""How the channels of an image are normalised for a model: alike in all tiles.

Statistics are of the whole channel over all time points, exact, and independent of blocks:
percentiles are values of pixels, means are sums of integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.block_grid import BlockGrid
from parfocal.analysis.exact import Integers, limbs, ratio, root_ratio, square_limbs, total_of
from parfocal.analysis.ranks import RankSearch, first_digits, order_keys
from parfocal.core.blocks import Readable, Region, Shape, whole
from parfocal.core.scheduler import Scheduler
from parfocal.models.model_options import LearnedModel

__all__ = ["Affine", "Recipe", "fit_recipe", "recipe_by_name"]


@dataclass(frozen=True)
class Recipe:
    """What to do with the channels.

    Attributes
    ----------
    method : str
        ``percentile``: low becomes 0 and high 1. ``standard``: mean 0 and standard deviation 1.
        ``fixed``: by `offsets` and `scales`. ``none``: nothing.
    low, high : float
        Percentiles.
    epsilon : float
        Is added to what is divided by.
    joint : bool
        Whether all channels are one population.
    offsets, scales : tuple of float
        ``(value - offset) * scale``, one for all channels or one a channel.
    clip : (low, high), optional
        Range of what comes out.
    """

    method: Literal["none", "percentile", "standard", "fixed"] = "none"
    low: float = 0.0
    high: float = 100.0
    epsilon: float = 0.0
    joint: bool = False
    offsets: tuple[float, ...] = (0.0,)
    scales: tuple[float, ...] = (1.0,)
    clip: tuple[float, float] | None = None


def recipe_by_name(
    name: Literal["percentile", "standard", "none"], options: LearnedModel
) -> Recipe:
    """Return the recipe that the user chose."""
    return Recipe(name, low=options.low_percentile, high=options.high_percentile)


@dataclass(frozen=True)
class Affine:
    """The recipe for one image.

    Attributes
    ----------
    offsets, scales : tuple of float
        One a channel.
    clip : (low, high), optional
        Range of what comes out.
    not_finite : int
        Number of pixels without a value, as far as it was looked for; they become 0.
    """

    offsets: tuple[float, ...]
    scales: tuple[float, ...]
    clip: tuple[float, float] | None = None
    not_finite: int = 0

    def apply(self, block: NDArray[Any]) -> NDArray[np.float32]:
        """Normalise a block (C, Z, Y, X)."""
        result = np.empty(block.shape, np.float32)
        for target, channel, offset, scale in zip(
            result, block, self.offsets, self.scales, strict=True
        ):
            values = (channel.astype(np.float64) - offset) * scale
            target[...] = values if self.clip is None else np.clip(values, *self.clip)
        if block.dtype.kind == "f":
            result[~np.isfinite(block)] = 0
        return result


@dataclass
class _Part:
    """Sums over some pixels."""

    histogram: Integers
    count: int = 0
    skipped: int = 0
    values: dict[int, int] = field(default_factory=dict)
    squares: dict[int, int] = field(default_factory=dict)

    def add(self, other: _Part) -> None:
        """Join `other` to this part."""
        self.histogram = self.histogram + other.histogram
        self.count += other.count
        self.skipped += other.skipped
        for own, more in ((self.values, other.values), (self.squares, other.squares)):
            for position, limb in more.items():
                own[position] = own.get(position, 0) + limb

    @property
    def mean(self) -> float:
        """Mean, rounded once."""
        total, exponent = total_of(self.values)
        return ratio(total, max(1, self.count), exponent)

    @property
    def deviation(self) -> float:
        """Standard deviation, rounded once."""
        total, exponent = total_of(self.values)
        squares, fine = total_of(self.squares)
        grid = min(2 * exponent, fine)
        one = (squares << (fine - grid)) * self.count
        two = (total * total) << (2 * exponent - grid)
        return root_ratio(one - two, max(1, self.count**2), grid)


def _usable(source: Readable, region: Region) -> NDArray[Any]:
    pixels = source.read(region).ravel()
    pixels = pixels.view(np.uint8) if pixels.dtype.kind == "b" else pixels
    return pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels


def _empty(dtype: np.dtype[Any]) -> _Part:
    return _Part(np.zeros(1 << min(16, 8 * dtype.itemsize), np.int64))


@dataclass(frozen=True)
class _Sums:
    """Called with a region, it returns the sums over its pixels."""

    source: Readable
    powers: bool

    def __call__(self, region: Region) -> _Part:
        pixels = _usable(self.source, region)
        total = int(np.prod([part.stop - part.start for part in region]))
        part = _Part(first_digits(order_keys(pixels)), len(pixels), total - len(pixels))
        if self.powers:
            own = limbs(pixels)
            part.values = {position: int(limb.sum()) for position, limb in own.items()}
            squares = square_limbs(own)
            part.squares = {position: int(limb.sum()) for position, limb in squares.items()}
        return part


@dataclass(frozen=True)
class _Digits:
    """Called with a region, it returns the histograms of the next digit."""

    source: Readable
    search: RankSearch

    def __call__(self, region: Region) -> dict[int, Integers]:
        return self.search.count(order_keys(_usable(self.source, region)))


def fit_recipe(
    recipe: Recipe,
    source: Readable,
    channels: Sequence[int],
    *,
    block: Shape,
    scheduler: Scheduler,
) -> Affine:
    """Measure an image as far as a recipe needs it.

    Parameters
    ----------
    recipe : Recipe
        What to do.
    source : Readable
        The image.
    channels : sequence of int
        Which channels, in the order that the model sees them.
    block : (T, C, Z, Y, X)
        Blocks of one channel with at most about two million pixels.
    scheduler : Scheduler
        Where blocks are worked on.

    Returns
    -------
    Affine
        With one offset and scale for each of `channels`; a constant channel becomes 0.
    """
    groups = [tuple(channels)] if recipe.joint else [(channel,) for channel in channels]
    fitted = recipe.method in ("percentile", "standard")
    offsets, scales, skipped = [], [], 0
    if not fitted:
        many = len(channels)
        offsets = list(recipe.offsets) * (many if len(recipe.offsets) == 1 else 1)
        scales = list(recipe.scales) * (many if len(recipe.scales) == 1 else 1)
    if fitted or source.dtype.kind == "f":
        for group in groups:
            regions = [_regions(source.shape5, channel, block) for channel in group]
            part = _empty(source.dtype)
            work = _Sums(source, recipe.method == "standard")
            for found in scheduler.map(work, chain.from_iterable(regions)):
                part.add(found)
            skipped += part.skipped
            if fitted:
                offset, width = _offset_and_width(recipe, source, part, regions, scheduler)
                offsets += [offset] * len(group)
                width += recipe.epsilon
                scales += [1 / width if width else 0.0] * len(group)
    return Affine(tuple(offsets), tuple(scales), recipe.clip, skipped)


def _regions(shape: Shape, channel: int, block: Shape) -> BlockGrid:
    t, _, z, y, x = whole(shape)
    return BlockGrid((t, slice(channel, channel + 1), z, y, x), block)


def _offset_and_width(
    recipe: Recipe,
    source: Readable,
    part: _Part,
    regions: Sequence[BlockGrid],
    scheduler: Scheduler,
) -> tuple[float, float]:
    """Return what becomes 0, and the distance from it to what becomes 1."""
    if part.count == 0:
        return 0.0, 0.0
    if recipe.method == "standard":
        return part.mean, part.deviation
    fractions = [max(percentile, 1e-9) / 100 for percentile in (recipe.low, recipe.high)]
    search = RankSearch(np.dtype(source.dtype), part.histogram, fractions)
    while not search.done:
        sums: dict[int, Integers] = {}
        for found in scheduler.map(_Digits(source, search), chain.from_iterable(regions)):
            for begin, histogram in found.items():
                sums[begin] = sums[begin] + histogram if begin in sums else histogram
        search.narrow(sums)
    low, high = search.values()
    return float(low), float(high) - float(low)
