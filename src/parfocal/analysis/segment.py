"""Segment one channel of an image of any size: the same objects for any division into blocks.

The way through the image is told in ``docs/explanation/segmentation.md``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.block_grid import BlockGrid
from parfocal.analysis.channels import OneChannel
from parfocal.analysis.chunk_cache import ChunkCache
from parfocal.analysis.component_labels import ComponentTable
from parfocal.analysis.components import BlockMask, Components, label_components, number_block
from parfocal.analysis.cutting import ComponentSource
from parfocal.analysis.filters import Gaussian, Triple
from parfocal.analysis.levels import LEVELS, Scale, find_scale, read_levels
from parfocal.analysis.masks import AnyMask, Filled, Inside, Mask, Outside, ValueMask, enclosed
from parfocal.analysis.noise import detection_limit, measure_noise
from parfocal.analysis.object_boxes import BoxTable
from parfocal.analysis.objects import ObjectTable, SizeLimits, split_components
from parfocal.analysis.scan import Telling
from parfocal.analysis.stitch import MakeVolume
from parfocal.analysis.thick_blocks import plan_thick
from parfocal.analysis.thresholds import GLOBAL_THRESHOLDS, median_level
from parfocal.analysis.watershed import SplitSettings
from parfocal.analysis.windows import Windows
from parfocal.core.blocks import Readable, Region, Shape, Writable, whole
from parfocal.core.scheduler import Scheduler

__all__ = ["LocalMean", "Segmentation", "Settings", "segment"]

SPLITTING = 4
"""How many passes over the image dividing its components is worth, to tell progress."""


@dataclass(frozen=True)
class LocalMean:
    """A threshold that follows the brightness around each pixel.

    Attributes
    ----------
    sigma : (Z, Y, X)
        Standard deviations in pixels of the Gaussian mean around a pixel.
    offset : float
        By how much a pixel must exceed it, in units of the image.
    """

    sigma: Triple
    offset: float


@dataclass(frozen=True)
class Settings:
    """How to segment.

    Attributes
    ----------
    sigma : (Z, Y, X)
        Standard deviations in pixels of the smoothing; 0 for none.
    threshold : str, float or LocalMean
        Name of a global threshold, or a pixel value, or a local one.
    dark : bool
        Whether the objects are darker than the background.
    planar : bool
        Whether planes are segmented each by itself.
    fill_holes : bool
        Whether background that an object encloses belongs to it.
    split : SplitSettings
        How components are divided into objects.
    limits : SizeLimits
        Which objects are kept.
    windows : Windows
        Which components are divided in windows.
    """

    sigma: Triple
    threshold: str | float | LocalMean
    dark: bool
    planar: bool
    fill_holes: bool
    split: SplitSettings
    limits: SizeLimits
    windows: Windows


@dataclass(frozen=True)
class Segmentation:
    """The objects of one channel.

    Attributes
    ----------
    table : ObjectTable or ComponentTable
        The objects, and the source of the label image.
    threshold : float or None
        The threshold in units of the image; None for a local one.
    in_noise : float or None
        What the method gave, if it lay within the noise of the background and was raised.
    constant : bool
        Whether all finite pixels have the same value, so that there are no objects.
    not_finite : int
        Number of pixels that are NaN or infinite.
    coarse : float or None
        The step by which brightness was rounded, where that is coarse beside the threshold.
    """

    table: ObjectTable | ComponentTable
    threshold: float | None
    in_noise: float | None
    constant: bool
    not_finite: int
    coarse: float | None = None


def segment(
    source: Readable,
    channel: int,
    settings: Settings,
    *,
    block5: Shape,
    make_volume: MakeVolume,
    scheduler: Scheduler,
    progress: Callable[[int, int], None],
    folder: Path | None = None,
) -> Segmentation:
    """Segment one channel.

    Parameters
    ----------
    source : Readable
        The image.
    channel : int
        Which channel.
    settings : Settings
        How.
    block5 : (T, C, Z, Y, X)
        The block of `source` that is cheap to read.
    make_volume : callable
        Makes scratch volumes; what they hold is read back several times.
    scheduler : Scheduler
        Where blocks are worked on.
    progress : callable
        Called as ``progress(done, total)``.
    folder : Path, optional
        Where rows of objects lie; see `Rows`.

    Returns
    -------
    Segmentation
        The objects, numbered by T and then by their first pixel in the order Z, Y, X.
    """
    image = OneChannel(source, channel)
    block = plan_thick(block5, image.shape5, planar=settings.planar)
    regions = BlockGrid(whole(image.shape5), block)

    def volume(dtype: Any) -> Writable:
        return make_volume(image.shape5, dtype, block)

    labels = volume(np.uint32)
    telling = Telling(progress, _count_passes(settings) * len(regions))
    work = _Work(settings, make_volume, scheduler, telling, folder)
    scale = find_scale(image, work.telling.over(regions), dark=settings.dark, scheduler=scheduler)
    if scale is None:
        return _segment_constant(image, labels, regions, block, work)
    # Smoothing looks beyond the borders of blocks, into chunks of their neighbours.
    near = ChunkCache(image, (1, 1, *block5[2:])) if any(settings.sigma) else image
    mask, given = _threshold(near, regions, scale, work, volume)
    table = _find_objects(mask, labels, regions, block, work)
    if isinstance(mask, ValueMask):
        return Segmentation(table, mask.value, None, constant=False, not_finite=0)
    if isinstance(settings.threshold, LocalMean):
        return Segmentation(table, None, None, constant=False, not_finite=scale.not_finite)
    below = scale.to_value(given) if given < mask.threshold else None
    value, step = scale.to_value(mask.threshold), scale.step_at(mask.threshold)
    return Segmentation(table, value, below, False, scale.not_finite, step)


def _segment_constant(
    image: Readable, labels: Writable, regions: BlockGrid, block: Shape, work: _Work
) -> Segmentation:
    """Segment pixels that all have one value: beyond a given threshold they are all foreground."""
    not_finite = _count_not_finite(image, regions)
    settings, chosen = work.settings, work.settings.threshold
    if isinstance(chosen, float):
        mask = ValueMask(image, chosen, settings.dark)
        table = _find_objects(mask, labels, regions, block, work)
        if len(table):
            return Segmentation(table, chosen, None, constant=False, not_finite=not_finite)
    none = ObjectTable(labels, work.boxes(labels.shape5, block))
    return Segmentation(none, None, None, constant=True, not_finite=not_finite)


def _divides(settings: Settings) -> bool:
    """Tell whether components are anything but objects as they are."""
    return settings.split.seeds != "none" or settings.split.edge is not None


def _find_objects(
    mask: AnyMask, labels: Writable, regions: BlockGrid, block: Shape, work: _Work
) -> ObjectTable | ComponentTable:
    """Find the objects of all time points."""

    def wide(dtype: Any) -> Writable:
        return work.make_volume(labels.shape5, dtype, block)

    # Where a worker may die and its work be done again, nothing overwrites what it was made of.
    once = work.scheduler.local
    times = [regions.at(time) for time in range(labels.shape5[0])]
    if not isinstance(mask, ValueMask) and _divides(work.settings):
        divided = ObjectTable(labels, work.boxes(labels.shape5, block))
        pieces = labels if once else wide(np.uint32)
        for time, here in enumerate(times):
            components = _label(mask, pieces, labels, here, work)
            earlier = itertools.chain.from_iterable(times[:time])
            divided.make_room(components, work.settings.limits, wide, earlier)
            numbers = _Settle(mask, pieces, divided.labels)
            background = _settle(numbers, components, here, work)
            place = (time, background, work.settings.planar, block[4])
            cut_from = ComponentSource(divided.labels, mask.levels, *place)
            _divide(divided, components, cut_from, len(here), work)
        return divided
    try:
        narrow = wide(np.uint16)
        return _number(mask, narrow, narrow if once else labels, times, block, work)
    except OverflowError:  # seldom: in noise
        pieces = labels if once else wide(np.uint32)
        return _number(mask, pieces, labels, times, block, work)


def _number(
    mask: AnyMask,
    labels: Writable,
    outside: Writable,
    times: list[BlockGrid],
    block: Shape,
    work: _Work,
) -> ComponentTable:
    """Give the components of all time points their numbers."""
    table = ComponentTable(labels, block, work.boxes(labels.shape5, block))
    for here in times:
        table.add(_label(mask, labels, outside, here, work), work.settings.limits)
    return table


def _divide(
    table: ObjectTable, components: Components, cut_from: ComponentSource, blocks: int, work: _Work
) -> None:
    """Divide the components of one time point, which has so many blocks, into objects."""
    settings = work.settings
    shares = split_components(
        table,
        components,
        cut_from,
        settings.split,
        settings.limits,
        settings.windows,
        make_volume=work.make_volume,
        scheduler=work.scheduler,
    )
    for share in shares:
        work.telling.advance(share * SPLITTING * blocks)


@dataclass(frozen=True)
class _Work:
    """What all passes over the image have in common."""

    settings: Settings
    make_volume: MakeVolume
    scheduler: Scheduler
    telling: Telling
    folder: Path | None

    def boxes(self, shape: Shape, block: Shape) -> BoxTable:
        """Return an empty table of the objects of an image of this shape."""
        return BoxTable(shape, block, planar=self.settings.planar, folder=self.folder)


def _count_passes(settings: Settings) -> int:
    """Count how often the image is gone through; dividing components is so many passes' work."""
    passes = 3 + settings.fill_holes + isinstance(settings.threshold, str)
    return passes + (1 + SPLITTING if _divides(settings) else 0)


def _count_not_finite(image: Readable, regions: BlockGrid) -> int:
    if image.dtype.kind != "f":
        return 0
    return sum(int((~np.isfinite(image.read(region))).sum()) for region in regions)


def _threshold(
    image: Readable,
    regions: BlockGrid,
    scale: Scale,
    work: _Work,
    make_volume: Callable[[Any], Writable],
) -> tuple[AnyMask, int]:
    """Return the mask, and the threshold of the method before it was raised beyond noise."""
    settings, chosen = work.settings, work.settings.threshold
    plain = not _divides(settings) and not any(settings.sigma) and image.dtype.kind != "f"
    if plain and isinstance(chosen, float):
        return ValueMask(image, chosen, settings.dark), 0
    filters = [Gaussian(settings.sigma)]
    volumes = [make_volume(np.uint16)]
    if isinstance(chosen, LocalMean):
        filters.append(Gaussian(chosen.sigma))
        volumes.append(make_volume(np.uint16))

    smooth = _Smooth(image, scale, tuple(filters), tuple(volumes))
    counts = np.zeros(LEVELS, np.int64)
    for part in work.scheduler.map(smooth, work.telling.over(regions)):
        counts += part
    if isinstance(chosen, LocalMean):
        return Mask(volumes[0], volumes[1], 0, scale.to_step(chosen.offset)), 0
    if not isinstance(chosen, str):
        given = scale.to_level(chosen, image.dtype)
        return Mask(volumes[0], None, given, 0), given
    given = GLOBAL_THRESHOLDS[chosen](counts)
    again = work.telling.over(regions)
    noise = measure_noise(volumes[0], again, given, settings.sigma[2], work.scheduler)
    return Mask(volumes[0], None, detection_limit(counts, given, noise), 0), given


@dataclass(frozen=True)
class _Smooth:
    """Writes the levels of a block, once for each filter, and counts those of the first."""

    image: Readable
    scale: Scale
    filters: tuple[Gaussian, ...]
    volumes: tuple[Writable, ...]

    def __call__(self, region: Region) -> NDArray[np.int64]:
        blocks = read_levels(self.image, region, self.scale, self.filters)
        for volume, block in zip(self.volumes, blocks, strict=True):
            volume.write(region, block[None, None])
        return _histogram(blocks[0])


def _histogram(levels: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Count levels plane by plane, to keep intermediate arrays small."""
    counts = np.zeros(LEVELS, np.int64)
    for plane in levels:
        counts += np.bincount(plane.ravel(), minlength=LEVELS)
    return counts


def _label(
    mask: AnyMask, labels: Writable, outside: Writable, regions: BlockGrid, work: _Work
) -> Components:
    """Label the components of one time point block by block, in `outside` those of the rest."""
    planar = work.settings.planar
    label = partial(label_components, planar=planar, scheduler=work.scheduler, folder=work.folder)
    inside: Iterable[BlockMask] = (Inside(mask, region) for region in work.telling.over(regions))
    if work.settings.fill_holes:
        rest = (Outside(mask, region) for region in work.telling.over(regions))
        found = label(rest, outside)
        holes = enclosed(found, labels.shape5, planar=planar)
        inside = (
            Filled(mask, region, outside, holes[table])
            for region, table in zip(work.telling.over(regions), found.tables(), strict=True)
        )
    return label(inside, labels)


def _settle(settle: _Settle, components: Components, regions: BlockGrid, work: _Work) -> int:
    """Replace labels of blocks by numbers of components, and find the level of their background."""
    counts = np.zeros(LEVELS, np.int64)
    numbered = zip(work.telling.over(regions), components.tables(), strict=True)
    for part in work.scheduler.map(settle, numbered):
        counts += part
    return median_level(counts) if counts[1:].any() else 1


@dataclass(frozen=True)
class _Settle:
    """Numbers the components of a block, and counts the levels that are not in the mask."""

    mask: Mask
    labels: Readable
    target: Writable

    def __call__(self, item: tuple[Region, NDArray[np.int64]]) -> NDArray[np.int64]:
        region, table = item
        number_block(self.labels, self.target, region, table)
        levels = self.mask.levels.read(region)[0, 0]
        return _histogram(np.where(self.mask.read(region), np.uint16(0), levels))
