"""The outlines of the objects of a label image, band by band, as masks or polygons."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np

from parfocal.analysis.exact import Integers
from parfocal.analysis.groups import Grouping
from parfocal.analysis.label_blocks import find_runs
from parfocal.analysis.outline_masks import MaskPlane, draw_masks
from parfocal.analysis.outline_polygons import PolygonPlane, draw_polygons
from parfocal.analysis.outline_runs import OutlineRuns
from parfocal.core.blocks import Readable, Region, Shape
from parfocal.errors import InputError
from parfocal.models.annotation_entries import Mask, Polygon

__all__ = ["Outline", "iter_outlines"]

_BAND_PIXELS = 1 << 23
_MOST_PIXELS = 1 << 25
_BATCH_RUNS = 1 << 19


@dataclass(frozen=True)
class Outline:
    """One object at one time point.

    Attributes
    ----------
    t, label : int
        Which object.
    shapes : tuple of MaskPlane or PolygonPlane
        By Z. One mask a plane; one polygon for each connected part in a plane (pixels that touch
        at a corner are connected), in the order of their first rows.
    holes : int
        How many holes polygons do not show; 0 for masks, which show all.
    """

    t: int
    label: int
    shapes: tuple[MaskPlane, ...] | tuple[PolygonPlane, ...]
    holes: int = 0


def _no_progress(done: int, total: int) -> None:
    """Ignore progress."""


def iter_outlines(
    labels: Readable,
    block: Shape,
    shape: Mask | Polygon,
    progress: Callable[[int, int], None] = _no_progress,
) -> Iterator[Outline]:
    """Yield the outline of each object, and each object once.

    The objects of a time point come in the order of the last row that they reach, and then of
    their labels, whatever the size of blocks. Held in memory are one band of rows across one
    plane, and the objects that reach into the band; of all others no more than 16 bytes.

    Parameters
    ----------
    labels : Readable
        (T, 1, Z, Y, X) integer; 0 is background.
    block : (T, C, Z, Y, X)
        A block that is cheap to read.
    shape : Mask or Polygon
        What to draw.
    progress : callable
        Called as ``progress(done, total)`` in bands of planes.

    Raises
    ------
    InputError
        If the pixels are not labels, or a mask would be too large for OMERO.
    """
    _check(labels)
    times, _, depth, height, width = labels.shape5
    rows = _band_rows(block[3], height, width)
    bands = [slice(start, min(start + rows, height)) for start in range(0, height, rows)]
    passes = 1 if len(bands) == 1 else 2
    steps = _Steps(progress, passes * times * depth * len(bands))
    for t in range(times):
        last = _last_rows(labels, t, bands, steps) if passes == 2 else None
        waiting = OutlineRuns.none()
        for band in bands:
            planes = [_plane_runs(labels, t, z, band, steps) for z in range(depth)]
            ended, waiting = _ended(OutlineRuns.join([waiting, *planes]), last, band.stop)
            for runs in ended.batches(_BATCH_RUNS):
                yield from _draw(runs, t, shape)


def _check(labels: Readable) -> None:
    if labels.dtype.kind not in "ui" or labels.shape5[1] != 1:
        what = "The label image does not hold labels"
        found = f"{labels.dtype}, {labels.shape5[1]} channels"
        raise InputError(what, expected="integers in one channel", found=found)


def _band_rows(block_rows: int, height: int, width: int) -> int:
    """Return how many rows are read together: whole blocks, unless one row of them is too large."""
    if block_rows * width > _MOST_PIXELS:
        return min(height, max(1, _MOST_PIXELS // width))
    return min(height, block_rows * max(1, _BAND_PIXELS // (block_rows * width)))


@dataclass
class _Steps:
    """Counts bands of planes for the progress."""

    progress: Callable[[int, int], None]
    total: int
    done: int = 0

    def one_more(self) -> None:
        self.done += 1
        self.progress(self.done, self.total)


def _plane_runs(labels: Readable, t: int, z: int, band: slice, steps: _Steps) -> OutlineRuns:
    region: Region = (
        slice(t, t + 1),
        slice(0, 1),
        slice(z, z + 1),
        band,
        slice(0, labels.shape5[4]),
    )
    plane = labels.read(region)[0, 0]
    runs = find_runs(plane, region)
    steps.one_more()
    if runs.ids.size and runs.ids.min() < 0:  # of uint64, those above 2**63 - 1
        what = "A label is out of range"
        expected = "0 for background and labels up to 2**63 - 1"
        raise InputError(what, expected=expected, remedy="Number the objects from 1.")
    return OutlineRuns(runs.ids, runs.z, runs.y, runs.x, runs.x + runs.lengths)


def _last_rows(
    labels: Readable, t: int, bands: Sequence[slice], steps: _Steps
) -> tuple[Integers, Integers]:
    """Return the sorted labels of a time point, and the last row that each reaches."""
    ids, rows = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for band in bands:
        for z in range(labels.shape5[2]):
            runs = _plane_runs(labels, t, z, band, steps)
            if runs.ids.size:
                grouping = Grouping(np.concatenate([ids, runs.ids]))
                rows = grouping.reduce(np.maximum, np.concatenate([rows, runs.y]))
                ids = grouping.ids
    return ids, rows


def _ended(
    runs: OutlineRuns, last: tuple[Integers, Integers] | None, stop: int
) -> tuple[OutlineRuns, OutlineRuns]:
    """Divide runs into those of objects that end before the row `stop`, sorted, and the others."""
    if not runs.ids.size:
        return runs, runs
    if last is None:
        grouping = Grouping(runs.ids)
        last = grouping.ids, grouping.reduce(np.maximum, runs.y)
    ids, rows = last
    reached = rows[np.searchsorted(ids, runs.ids)]
    ended = reached < stop
    # Those of one plane stay in the order of their rows.
    order = np.lexsort((runs.z[ended], runs.ids[ended], reached[ended]))
    return runs.where(ended).where(order), runs.where(~ended)


def _draw(runs: OutlineRuns, t: int, shape: Mask | Polygon) -> Iterator[Outline]:
    """Draw objects whose runs follow each other."""
    owners = runs.ids[runs.pieces].tolist()
    if isinstance(shape, Mask):
        masks = zip(owners, draw_masks(runs), strict=True)
        for label, own in itertools.groupby(masks, key=itemgetter(0)):
            yield Outline(t, label, tuple(mask for _, mask in own))
        return
    polygons, holes = draw_polygons(runs, shape.tolerance_px)
    drawn = zip(owners, polygons, holes, strict=True)
    for label, group in itertools.groupby(drawn, key=itemgetter(0)):
        parts = list(group)
        shapes = tuple(polygon for _, plane, _ in parts for polygon in plane)
        yield Outline(t, label, shapes, sum(number for *_, number in parts))
