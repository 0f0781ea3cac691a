"""Find objects by a model that gives labels, and join those of overlapping tiles."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.models.loading import ModelHandle
from parfocal.analysis.models.predictor import refuse
from parfocal.analysis.models.tiles import Tiles, View
from parfocal.analysis.objects import SizeLimits
from parfocal.analysis.stitch import MakeVolume, Stitched, join_tiles
from parfocal.analysis.tile_labels import TileLabels, TileWork
from parfocal.analysis.tiling import Box, Tiling, sizes
from parfocal.core.blocks import Scratch, Shape, Writable
from parfocal.core.scheduler import Scheduler
from parfocal.models.model_options import NetworkModel

__all__ = ["LabelCounts", "find_labels"]


@dataclass
class LabelCounts:
    """What was found.

    Attributes
    ----------
    objects : int
        Number of objects, which are numbered by T and then by their first pixel in Z, Y, X.
    too_small, too_large : int
        How many were dropped.
    stitched : list of Stitched
        The objects of each volume.
    """

    objects: int = 0
    too_small: int = 0
    too_large: int = 0
    stitched: list[Stitched] = field(default_factory=list)

    def add(self, found: Stitched) -> None:
        """Count the objects of one more volume."""
        self.objects += found.objects
        self.stitched.append(found)


def find_labels(
    handle: ModelHandle,
    view: View,
    tiles: Tiles,
    target: Writable,
    limits: SizeLimits,
    *,
    make_volume: MakeVolume,
    scheduler: Scheduler,
    progress: Callable[[int, int], None],
    folder: Path | None,
) -> LabelCounts:
    """Write the label image.

    Parameters
    ----------
    handle : ModelHandle
        The model.
    view : View
        What it sees.
    tiles : Tiles
        How planes, or volumes, are divided.
    target : Writable
        (T, 1, Z, Y, X) unsigned integers.
    limits : SizeLimits
        Which objects are kept.
    make_volume : callable
        ``make_volume(shape5, dtype, block5)`` makes scratch storage.
    scheduler : Scheduler
        Where tiles are worked on.
    progress : callable
        Called as ``progress(done, total)`` in tiles.
    folder : Path or None
        Where rows of objects lie; see `Rows`.

    Raises
    ------
    InputError
        If the model does not take a tile, gives no labels, or there are more objects than the
        data type of `target` can number.
    """
    t, _, depth, y, x = target.shape5
    planar = handle.predictor().signature.dimensions == 2
    tiling = Tiling((1 if planar else depth, y, x), tiles.core, tiles.halo)
    counts = LabelCounts()
    places = [(time, z) for time in range(t) for z in range(depth if planar else 1)]

    def keep(pixels: NDArray[np.int64]) -> NDArray[np.bool_]:
        small = pixels < limits.least
        large = pixels > limits.most if limits.most is not None else np.zeros_like(small)
        counts.too_small += int(small.sum())
        counts.too_large += int(large.sum())
        kept: NDArray[np.bool_] = ~(small | large)
        return kept

    once = _Once(make_volume)
    # Of all planes at once: while those of one are joined, the next are seen already.
    items = ((time, z, tile) for time, z in places for tile in range(len(tiling)))
    with closing(scheduler.map(_Tile(handle, view, tiles, tiling), items)) as seen:
        told = _telling(seen, len(places) * len(tiling), progress)
        for time, z in places:
            found = join_tiles(
                itertools.islice(told, len(tiling)),
                tiling,
                _Write(target, time, z, counts.objects),
                make_volume=once,
                scheduler=scheduler,
                min_iou=handle.options.min_iou,
                keep=keep,
                folder=folder,
            )
            counts.add(found)
    return counts


def _telling(
    seen: Iterable[TileLabels], total: int, progress: Callable[[int, int], None]
) -> Iterator[TileLabels]:
    for done, found in enumerate(seen, 1):
        progress(done, total)
        yield found


@dataclass(frozen=True)
class _Tile:
    """Called with a time point, a first plane and a tile, it returns what the model sees there."""

    handle: ModelHandle
    view: View
    tiles: Tiles
    tiling: Tiling

    def __call__(self, item: tuple[int, int, int]) -> TileLabels:
        time, first, tile = item
        infer = _Infer(self.handle, self.view, self.tiles, time, first)
        return TileWork(infer, self.tiling)(tile)


class _Once:
    """Makes scratch storage for the first volume, and hands it out again for those after it."""

    def __init__(self, make_volume: MakeVolume) -> None:
        self._make_volume = make_volume
        self._made: dict[tuple[Any, ...], Scratch] = {}

    def __call__(self, shape: Shape, dtype: Any, block: Shape) -> Scratch:
        key = (shape, np.dtype(dtype), block)
        if key not in self._made:
            self._made[key] = self._make_volume(shape, dtype, block)
        return self._made[key]


@dataclass(frozen=True)
class _Write:
    """Called with a box and its labels, it stores them beyond those of the volumes before."""

    target: Writable
    time: int
    first: int
    before: int

    def __call__(self, box: Box, labels: NDArray[np.int64]) -> None:
        most = np.iinfo(self.target.dtype).max
        if labels.max() + self.before > most:
            msg = "There are more objects than labels"
            raise refuse(msg, f"at most {most}", int(labels.max()) + self.before)
        z, y, x = box
        z = slice(z.start + self.first, z.stop + self.first)
        numbers = np.where(labels > 0, labels + self.before, 0).astype(self.target.dtype)
        region = (slice(self.time, self.time + 1), slice(0, 1), z, y, x)
        self.target.write(region, numbers[None, None])


@dataclass(frozen=True)
class _Infer:
    """Called with a box, it returns the labels there."""

    handle: ModelHandle
    view: View
    tiles: Tiles
    time: int
    first: int

    def __call__(self, box: Box) -> NDArray[np.integer[Any]]:
        predictor = self.handle.predictor()
        size, before = sizes(box), [0, 0, 0]
        seen = size
        if predictor.signature.padded:
            seen = self.tiles.tile
            before = [self._before(box, axis) for axis in range(3)]
        start = [part.start - more for part, more in zip(box, before, strict=True)]
        start[0] += self.first
        output = predictor.predict(self.view.read(self.time, start, seen))
        options = self.handle.options
        channel = options.foreground_channel if isinstance(options, NetworkModel) else 0
        if channel >= len(output):
            what = "The model's output has no such channel"
            raise refuse(what, f"less than {len(output)}", channel, "Set foreground_channel.")
        z, y, x = (slice(more, more + length) for more, length in zip(before, size, strict=True))
        return _whole_numbers(output[channel, z, y, x])

    def _before(self, box: Box, axis: int) -> int:
        """Return the margin before the image, so that all tiles lie alike to the model's grid."""
        room = self.tiles.tile[axis] - sizes(box)[axis]
        return (
            self.tiles.halo[axis] if box[axis].start == 0 and room >= self.tiles.halo[axis] else 0
        )


def _whole_numbers(output: NDArray[Any]) -> NDArray[np.integer[Any]]:
    """Return labels as integers.

    Raises
    ------
    InputError
        If they are fractions, negative, or not finite.
    """
    if output.dtype.kind in "ui" and output.dtype.itemsize < 8:
        labels: NDArray[np.integer[Any]] = output.astype(np.int64)
    else:
        with np.errstate(invalid="ignore"):
            labels = output.astype(np.int64)
        if not np.array_equal(labels, output):
            what = "The model's output are no labels"
            raise refuse(what, "whole numbers", "fractions", "Set output to probability.")
    if labels.size and labels.min() < 0:
        what = "The model's output are no labels"
        raise refuse(what, "whole numbers from 0", int(labels.min()), "Set output to probability.")
    return labels
