"""Measure the objects of a label image, block by block, with the same result for any blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from parfocal.analysis.block_grid import BlockGrid
from parfocal.analysis.chunk_cache import ChunkCache
from parfocal.analysis.columns import channel_keys
from parfocal.analysis.exact import MAX_BLOCK_PIXELS
from parfocal.analysis.groups import Part, Totals
from parfocal.analysis.label_blocks import Direction, block_part
from parfocal.analysis.object_rows import Spacing, geometry_columns, intensity_columns
from parfocal.analysis.scan import plan_block
from parfocal.analysis.shape import DIRECTIONS_2D, DIRECTIONS_3D
from parfocal.core.blocks import Readable, Region, Shape, whole
from parfocal.core.scheduler import Scheduler, Threads
from parfocal.errors import InputError

__all__ = ["Objects", "Task", "check_labels", "measure_objects"]

Arrays = dict[str, NDArray[Any]]

LEAST_PLANES = 2
_LONGEST_SIDE = 1 << 20


def _no_progress(done: int, total: int) -> None:
    """Ignore progress."""


@dataclass(frozen=True)
class Task:
    """What to measure, and how.

    Parameters
    ----------
    image : Readable
        Intensities (T, C, Z, Y, X), any real type.
    labels : Readable
        Labels (T, 1, Z, Y, X), integer, 0 for background.
    channels : tuple of str
        Name of each channel of `image`.
    spacing_um : tuple of float or None
        Distance of pixels along Z, Y, X in micrometres; None where unknown.
    block : tuple of int
        A block (T, C, Z, Y, X) that is cheap to read.
    scheduler : Scheduler
        Where blocks are worked on.
    progress : callable
        Called as ``progress(done, total)`` in blocks.
    """

    image: Readable
    labels: Readable
    channels: tuple[str, ...]
    spacing_um: Spacing
    block: Shape
    scheduler: Scheduler = field(default_factory=Threads)
    progress: Callable[[int, int], None] = _no_progress

    @property
    def dimensions(self) -> int:
        """3 where the labels have several planes, else 2."""
        return 3 if self.labels.shape5[2] > 1 else 2


@dataclass(frozen=True)
class Objects:
    """The objects of one time point.

    Attributes
    ----------
    t : int
        Index of the time point.
    columns : dict of str to (N,) array
        By the names of `object_columns`, without image_id, label_name and t; NaN is null.
        Rows are in the order of labels.
    skipped : tuple of int
        Number of pixels of objects in each channel that are not finite.
    """

    t: int
    columns: Arrays
    skipped: tuple[int, ...]


def check_labels(image: Readable, labels: Readable) -> None:
    """Check that `labels` are the labels of an image like `image`.

    Raises
    ------
    InputError
        If their sizes differ, labels are not integers, or intensities not real numbers.
    """
    expected = (image.shape5[0], 1, *image.shape5[2:])
    if labels.shape5 != expected:
        what = "The label image has not the shape of the image"
        remedy = "Give the label image that was made from this image."
        raise InputError(
            what, expected=f"TCZYX {expected}", found=f"TCZYX {labels.shape5}", remedy=remedy
        )
    if labels.dtype.kind not in "ui":
        what = "The label image does not hold labels"
        raise InputError(what, expected="integers", found=labels.dtype)
    if image.dtype.kind not in "buif" or image.dtype.itemsize > 8:
        what = "The intensities cannot be measured"
        expected_type = "integers or real numbers of up to 64 bits"
        raise InputError(what, expected=expected_type, found=image.dtype)
    if max(labels.shape5[2:]) > _LONGEST_SIDE:
        what = "The image is too long for exact sums of coordinates"
        raise InputError(what, expected=f"sides up to {_LONGEST_SIDE} px", found=labels.shape5)


def measure_objects(task: Task) -> Iterator[Objects]:
    """Measure the objects of each time point.

    Sums are exact and each result is rounded from them in one way, so that the numbers are
    the same bits for any `block` and any number of threads.

    Yields
    ------
    Objects
        One a time point, in order.

    Raises
    ------
    InputError
        See `check_labels`; also if a label is negative.
    """
    check_labels(task.image, task.labels)
    shape = task.labels.shape5
    block = _plan(task.block, shape)
    directions = DIRECTIONS_2D if task.dimensions == 2 else DIRECTIONS_3D

    # Blocks look one pixel beyond their borders, into chunks of their neighbours.
    labels = ChunkCache(task.labels, task.block)
    work = _MeasureBlock(task.image, labels, directions)
    regions = BlockGrid(whole((shape[0], 1, *shape[2:])), block)
    done = 0
    for t in range(shape[0]):
        totals = Totals()
        for part in task.scheduler.map(work, regions.at(t)):
            totals.add(part)
            done += 1
            task.progress(done, len(regions))
        totals.settle()
        yield Objects(t, *_columns(task, totals))


def _plan(preferred: Shape, shape: Shape) -> Shape:
    """Choose blocks of several planes, since the plane after the last is read with each."""
    z, y, x = preferred[2:]
    return plan_block((1, 1, max(z, LEAST_PLANES), y, x), shape, pixels=MAX_BLOCK_PIXELS)


@dataclass(frozen=True)
class _MeasureBlock:
    """Measures a block."""

    image: Readable
    labels: Readable
    directions: Sequence[Direction]

    def __call__(self, region: Region) -> Part:
        return block_part(self.image, self.labels, region, self.directions)


def _columns(task: Task, totals: Totals) -> tuple[Arrays, tuple[int, ...]]:
    columns = {"label": totals.ids, **geometry_columns(totals, task.spacing_um, task.labels.shape5)}
    skipped = []
    for channel, key in enumerate(channel_keys(task.channels)):
        named = intensity_columns(totals, channel, task.image.dtype)
        columns.update({f"intensity_{kind}_{key}": values for kind, values in named.items()})
        skipped.append(sum(totals.exact(("skipped", channel))))
    return columns, tuple(skipped)
