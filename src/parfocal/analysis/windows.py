"""Components that are too large for memory, divided in overlapping windows of their box."""

from __future__ import annotations

import bisect
import math
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.components import Components
from parfocal.analysis.cutting import ComponentSource
from parfocal.analysis.stitch import Keep, MakeVolume, Stitched, Write, stitch
from parfocal.analysis.tiling import Box, Tiling, sizes
from parfocal.analysis.watershed import SplitSettings, split_component
from parfocal.core.blocks import Scratch, Shape
from parfocal.core.scheduler import Scheduler, Threads

__all__ = ["Windows", "divide_in_windows", "needed_bytes", "plan_windows"]

PIXEL_BYTES = 65
"""What dividing a component needs for each of its pixels, measured."""

BOX_BYTES = 13
"""What it needs for each pixel of its box: a mask, and where the nearest pixel outside lies."""

OVERLAP = 6
"""A window looks into each neighbour by this part of its side."""


@dataclass(frozen=True)
class Windows:
    """When and how components are divided in windows.

    Attributes
    ----------
    memory : int
        Bytes that dividing one component, or one window, may need.
    reach : (Z, Y, X) or None
        Largest extent of an object in pixels, if it is known.
    """

    memory: int
    reach: tuple[int, int, int] | None = None


def needed_bytes(components: Components) -> NDArray[np.int64]:
    """Estimate the memory that dividing each component whole needs.

    Returns
    -------
    (components + 1,) int64
        Bytes; 0 for the background.
    """
    spans = np.maximum(components.upper[:] - components.lower[:], 0) + 2  # with its margin
    boxes = np.prod(spans.astype(np.float64), axis=1)
    needed: NDArray[np.int64] = PIXEL_BYTES * components.counts[:] + (BOX_BYTES * boxes).astype(
        np.int64
    )
    needed[0] = 0
    return needed


def plan_windows(shape: tuple[int, int, int], windows: Windows) -> Tiling:
    """Divide a box so that a window that is filled by objects needs no more memory than allowed.

    Windows have the same side along each axis that is longer, and look a sixth of it into their
    neighbours, or less where no object is that large.

    Parameters
    ----------
    shape : (Z, Y, X)
        Size of the box.
    windows : Windows
        The memory, and the size of objects.
    """
    most = windows.memory // (PIXEL_BYTES + BOX_BYTES)
    sides = range(1, max(shape) + 1)
    fitting = bisect.bisect_right(
        sides, most, key=lambda side: math.prod(min(side, size) for size in shape)
    )
    side = max(fitting, 3)
    cores, halos = [], []
    for axis, size in enumerate(shape):
        halo = side // OVERLAP
        if windows.reach is not None:
            halo = min(halo, windows.reach[axis])
        count = 1 if size <= side else -(-size // (side - 2 * halo))
        cores.append(-(-size // count))
        halos.append(halo if count > 1 else 0)
    return Tiling(shape, (cores[0], cores[1], cores[2]), (halos[0], halos[1], halos[2]))


@dataclass(frozen=True)
class _Window:
    """Called with a window of a component's box, it returns the objects there."""

    source: ComponentSource
    number: int
    box: Box
    settings: SplitSettings

    def __call__(self, window: Box) -> NDArray[np.int32]:
        cut = self.source.cut(self.number, _within(self.box, window))
        labels = np.zeros(sizes(window), np.int32)
        if len(cut.voxels):
            found = split_component(cut.voxels, cut.levels, self.source.background, self.settings)
            for part in cut.parts:
                target = labels[0] if len(cut.voxels.shape) == 2 else labels
                target[cut.voxels.indices(part)] = found[part]
        return labels


def _within(box: Box, window: Box) -> Box:
    """Return where a window of a box lies in the image."""
    z, y, x = (
        slice(part.start + origin.start, part.stop + origin.start)
        for part, origin in zip(window, box, strict=True)
    )
    return z, y, x


def divide_in_windows(
    source: ComponentSource,
    number: int,
    box: Box,
    settings: SplitSettings,
    windows: Windows,
    write: Write,
    *,
    keep: Keep,
    make_volume: MakeVolume,
    scheduler: Scheduler,
    folder: Path | None,
) -> Stitched:
    """Divide a component in windows.

    In this process windows are worked on one after the other, since each may need all memory
    that is allowed; elsewhere one a worker.

    Parameters
    ----------
    source : ComponentSource
        Where it is cut out of.
    number : int
        Which component.
    box : Box
        Its bounding box with a margin.
    settings : SplitSettings
        How to divide.
    windows : Windows
        How large windows may be.
    write : callable
        ``write(box, objects)`` stores the numbers of objects, from 1, for those pixels of a box
        (Z, Y, X) of the image that belong to the component.
    keep : callable
        ``keep(sizes)`` tells by their numbers of pixels (N,) which objects are kept.
    make_volume : callable
        Makes scratch volumes, which are given back as soon as the component is divided.
    scheduler : Scheduler
        Where windows are worked on.
    folder : Path or None
        Where rows of objects lie; see `Rows`.

    Returns
    -------
    Stitched
        The objects that are kept; their places are those in the box.
    """
    tiling = plan_windows(sizes(box), windows)

    def put(window: Box, labels: NDArray[np.int64]) -> None:
        write(_within(box, window), labels)

    with ExitStack() as stack:

        def make(shape: Shape, dtype: Any, block: Shape) -> Scratch:
            return stack.enter_context(closing(make_volume(shape, dtype, block)))

        return stitch(
            _Window(source, number, box, settings),
            tiling,
            put,
            make_volume=make,
            scheduler=Threads(1) if scheduler.local else scheduler,
            keep=keep,
            folder=folder,
        )
