"""Assess focus, saturation, background, noise and intensities of planes and channels."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.block_grid import BlockGrid
from parfocal.analysis.elementary import logarithm
from parfocal.analysis.exact import Integers, ratio, total_of
from parfocal.analysis.plane_parts import PlanePart, plane_part, tile_size, usable
from parfocal.analysis.ranks import RankSearch, order_keys
from parfocal.core.blocks import Readable, Region, Shape, expand, iter_blocks, whole
from parfocal.core.scheduler import Scheduler, Threads
from parfocal.errors import InputError

__all__ = ["Survey", "assess_image"]

Metrics = dict[str, Any]

_FRACTIONS = (0.01, 0.10, 0.25, 0.50, 0.75, 0.99)
_ALIGNMENT = 128
_TARGET_PIXELS = 1 << 20


def _no_progress(done: int, total: int) -> None:
    """Ignore progress."""


@dataclass(frozen=True)
class Survey:
    """What to assess, and how.

    Parameters
    ----------
    image : Readable
        Pixels (T, C, Z, Y, X) of any real type.
    channels : tuple of str
        Name of each channel.
    block : tuple of int
        A block (T, C, Z, Y, X) that is cheap to read.
    saturation : float, optional
        Pixels of at least this value are saturated; by default the greatest value of an
        integer type, while real numbers have no such value.
    scheduler : Scheduler
        Where blocks are worked on.
    progress : callable
        Called as ``progress(done, total)`` in planes.
    """

    image: Readable
    channels: tuple[str, ...]
    block: Shape
    saturation: float | None = None
    scheduler: Scheduler = field(default_factory=Threads)
    progress: Callable[[int, int], None] = _no_progress

    @property
    def limit(self) -> float | int | None:
        """From which value a pixel is saturated."""
        if self.saturation is None and self.image.dtype.kind in "ui":
            return int(np.iinfo(self.image.dtype).max)
        # As float64, which no comparison narrows to the type of the pixels.
        return None if self.saturation is None else np.float64(self.saturation)


def assess_image(survey: Survey) -> tuple[list[Metrics], list[Metrics], list[int]]:
    """Assess each plane and each channel.

    All sums are exact and percentiles are values of pixels, so that the numbers are the same
    bits for any `block` and any number of threads.

    Returns
    -------
    planes : list of dict
        In the order of t, c, z; what cannot be computed is None. See
        docs/reference/measurements.md for each metric.
    channels : list of dict
        The same of each channel: noise is the median over its planes, focus the greatest;
        all else is of all its pixels.
    skipped : list of int
        Number of pixels of each channel that are not finite and left out.

    Raises
    ------
    InputError
        If the pixels are not real numbers of up to 64 bits.
    """
    dtype = survey.image.dtype
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        what = "The quality of this type of pixels cannot be assessed"
        expected = "integers or real numbers of up to 64 bits"
        raise InputError(what, expected=expected, found=dtype)
    shape = survey.image.shape5
    planes: list[Metrics] = []
    channels: list[Metrics] = []
    skipped: list[int] = []
    done = 0
    for c, name in enumerate(survey.channels):
        total = _empty_part(dtype)
        own: list[Metrics] = []
        for t, z, part in _plane_parts(survey, c):
            place = {"t": t, "c": c, "z": z, "channel": name}
            region = (_one(t), _one(c), _one(z), slice(0, shape[3]), slice(0, shape[4]))
            own.append(place | _plane_metrics(survey, region, part))
            total.add(part)
            done += 1
            survey.progress(done, shape[0] * shape[1] * shape[2])
        planes += own
        channels.append({"c": c, "channel": name} | _channel_metrics(survey, c, total, own))
        skipped.append(total.sums["skipped"])
    planes.sort(key=lambda plane: (plane["t"], plane["c"], plane["z"]))
    return planes, channels, skipped


def _one(index: int) -> slice:
    return slice(index, index + 1)


def _empty_part(dtype: np.dtype[Any]) -> PlanePart:
    return PlanePart({"n": 0, "skipped": 0}, np.zeros(1 << min(16, 8 * dtype.itemsize), np.int64))


def _plan(survey: Survey) -> Shape:
    """Return blocks whose sides in the plane are multiples of the tiles or the whole side."""
    height, width = survey.image.shape5[3:]
    z, y, x = survey.block[2:]
    y, x = (-(-side // _ALIGNMENT) * _ALIGNMENT for side in (y, x))
    while x < width and 2 * y * x <= _TARGET_PIXELS:
        x *= 2
    while y < height and 2 * y * x <= _TARGET_PIXELS:
        y *= 2
    while y > _ALIGNMENT and y * x > _TARGET_PIXELS:
        y = -(-y // (2 * _ALIGNMENT)) * _ALIGNMENT
    while x > _ALIGNMENT and y * x > _TARGET_PIXELS:
        x = -(-x // (2 * _ALIGNMENT)) * _ALIGNMENT
    return 1, 1, max(1, min(z, 4 * _TARGET_PIXELS // (y * x))), y, x


def _read(image: Readable, region: Region) -> NDArray[Any]:
    """Read the planes (Z, Y, X) of one channel; booleans as 0 and 1."""
    planes: NDArray[Any] = image.read(region)[0, 0]
    return planes.view(np.uint8) if planes.dtype.kind == "b" else planes


@dataclass(frozen=True)
class _AssessBlock:
    """Assesses a block, plane by plane."""

    image: Readable
    tile: int
    limit: float | int | None

    def __call__(self, region: Region) -> list[PlanePart]:
        outer, inner = expand(region, (0, 0, 0, 1, 1), self.image.shape5)
        planes = _read(self.image, outer)
        return [plane_part(plane, inner[3:], self.tile, self.limit) for plane in planes]


def _plane_parts(survey: Survey, c: int) -> Iterator[tuple[int, int, PlanePart]]:
    shape = survey.image.shape5
    block = _plan(survey)
    work = _AssessBlock(survey.image, tile_size(*shape[3:]), survey.limit)
    t, _, z, y, x = whole(shape)
    regions = BlockGrid((t, _one(c), z, y, x), block)
    found = zip(regions, survey.scheduler.map(work, regions), strict=True)
    for (times, _, slab), blocks in groupby(found, key=lambda one: one[0][:3]):
        parts = [_empty_part(survey.image.dtype) for _ in range(slab.stop - slab.start)]
        for _, pieces in blocks:
            for part, piece in zip(parts, pieces, strict=True):
                part.add(piece)
        for number, part in enumerate(parts):
            yield times.start, slab.start + number, part


def _percentiles(survey: Survey, region: Region, part: PlanePart) -> list[float | int | None]:
    """Return the values at `_FRACTIONS`; wide types are read again for each 16 bits more."""
    if part.sums["n"] == 0:
        return [None] * len(_FRACTIONS)
    search = RankSearch(survey.image.dtype, part.histogram, _FRACTIONS)
    work = partial(_count_digits, survey.image, search)
    while not search.done:
        sums: dict[int, Integers] = {}
        for found in survey.scheduler.map(work, iter_blocks(region, _plan(survey))):
            for begin, histogram in found.items():
                sums[begin] = sums[begin] + histogram if begin in sums else histogram
        search.narrow(sums)
    return list(search.values())


def _count_digits(image: Readable, search: RankSearch, piece: Region) -> dict[int, Integers]:
    """Count the digits of the pixels of a block that `search` asks for."""
    return search.count(order_keys(usable(_read(image, piece))))


def _value_metrics(survey: Survey, region: Region, part: PlanePart) -> Metrics:
    """Return what depends on the values of pixels alone."""
    n = part.sums["n"]
    p01, background, p25, p50, p75, p99 = _percentiles(survey, region, part)
    low, high = part.extremes or (None, None)
    total, exponent = total_of(part.limbs_of("value"))
    saturated = part.sums.get("saturated")
    return {
        "saturated_fraction": saturated / n if saturated is not None and n else None,
        "background": background,
        "minimum": low,
        "p01": p01,
        "p25": p25,
        "p50": p50,
        "p75": p75,
        "p99": p99,
        "maximum": high,
        "mean": _finite(ratio(total, n, exponent)) if n else None,
    }


def _plane_metrics(survey: Survey, region: Region, part: PlanePart) -> Metrics:
    values = _value_metrics(survey, region, part)
    focus = {
        "focus_laplacian_variance": _laplacian_variance(part),
        "focus_power_slope": _power_slope(part),
    }
    return _ordered(focus, values, _noise(part))


def _channel_metrics(survey: Survey, c: int, part: PlanePart, planes: list[Metrics]) -> Metrics:
    t, _, z, y, x = (slice(0, size) for size in survey.image.shape5)
    values = _value_metrics(survey, (t, _one(c), z, y, x), part)
    focus = {}
    for name in ("focus_laplacian_variance", "focus_power_slope"):
        known = [plane[name] for plane in planes if plane[name] is not None]
        focus[name] = max(known, default=None)
    noises = [plane["noise"] for plane in planes if plane["noise"] is not None]
    return _ordered(focus, values, statistics.median(noises) if noises else None)


def _ordered(focus: Metrics, values: Metrics, noise: float | None) -> Metrics:
    saturated, background = values.pop("saturated_fraction"), values.pop("background")
    signal = None
    if noise and background is not None:
        signal = _finite((values["p99"] - background) / noise)
    return focus | {
        "saturated_fraction": saturated,
        "background": background,
        "noise": noise,
        "signal_to_noise": signal,
        **values,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _laplacian_variance(part: PlanePart) -> float | None:
    n = part.sums.get("laplacian_n", 0)
    if n == 0:
        return None
    one, exponent = total_of(part.limbs_of("laplacian"))
    two, _ = total_of(part.limbs_of("laplacian_square"))
    return _finite(ratio(two * n - one * one, n * n, 2 * exponent))


def _noise(part: PlanePart) -> float | None:
    n = part.sums.get("laplacian_n", 0)
    if n == 0:
        return None
    total, exponent = total_of(part.limbs_of("noise"))
    return _finite(math.sqrt(math.pi / 2) / 6 * ratio(total, n, exponent))


def _power_slope(part: PlanePart) -> float | None:
    """Return the slope of log power over log frequency; None for a constant plane."""
    limbs: dict[int, dict[int, int]] = {}
    for key, value in part.sums.items():
        if isinstance(key, tuple) and key[0] == "power":
            limbs.setdefault(key[1], {})[key[2]] = value
    if not limbs or part.extremes[0] == part.extremes[1]:
        return None
    powers = []
    for ring in sorted(limbs):
        total, exponent = total_of(limbs[ring])
        powers.append((logarithm(ring), ratio(total, 1, exponent)))
    if not all(0 < power < math.inf for _, power in powers):
        return None
    logs = [logarithm(power) for _, power in powers]
    return statistics.linear_regression([ring for ring, _ in powers], logs).slope
