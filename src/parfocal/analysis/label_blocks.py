"""What one block says of the objects in it: exact sums over runs of equal labels."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.exact import Integers, limbs, square_limbs
from parfocal.analysis.groups import Grouping, Part
from parfocal.core.blocks import Readable, Region
from parfocal.errors import InputError

__all__ = ["Direction", "Runs", "block_part", "find_runs", "read_labels"]

Direction = tuple[int, int, int]
"""Steps along Z, Y, X."""

_LARGEST_TABLE = 1 << 18


@dataclass(frozen=True)
class Runs:
    """Pixels of one label that follow each other along X.

    Attributes
    ----------
    ids : (N,) int64
        Label of each run, never 0.
    lengths : (N,) int64
        Number of pixels.
    z, y, x : (N,) int64
        Where it starts, in the whole image.
    mask : (Z, Y, X) bool
        The pixels of all runs, in their order.
    """

    ids: Integers
    lengths: Integers
    z: Integers
    y: Integers
    x: Integers
    mask: NDArray[np.bool_]

    @property
    def starts(self) -> Integers:
        """Where each run starts among the pixels of `mask`."""
        starts: Integers = np.cumsum(self.lengths) - self.lengths
        return starts


def read_labels(labels: Readable, region: Region, *, below: int) -> NDArray[Any]:
    """Read `region` of one time point with a margin, 0 beyond the image.

    Parameters
    ----------
    labels : Readable
        The label image.
    region : Region
        The block.
    below : {0, 1}
        Whether there is a margin after the last plane. None is needed before the first.

    Returns
    -------
    (Z + below, Y + 2, X + 2) integer

    Raises
    ------
    InputError
        If a label is negative or needs more than 63 bits.
    """
    wanted, inner = [], []
    for part, size, margins in zip(
        region[2:], labels.shape5[2:], ((0, below), (1, 1), (1, 1)), strict=True
    ):
        start, stop = part.start - margins[0], part.stop + margins[1]
        wanted.append(slice(max(0, start), min(size, stop)))
        inner.append(slice(wanted[-1].start - start, wanted[-1].stop - start))
    z, y, x = wanted
    block = labels.read((region[0], slice(0, 1), z, y, x))[0, 0]
    narrow = block.dtype.kind == "u" and block.dtype.itemsize < 8
    if not narrow and (block.min() < 0 or block.max() > np.iinfo(np.int64).max):
        what = "A label is out of range"
        raise InputError(
            what,
            where=f"region {region}",
            expected="0 for background and labels up to 2**63 - 1",
            found=f"{block.min()} to {block.max()}",
            remedy="Number the objects from 1.",
        )
    depth, height, width = (part.stop - part.start for part in region[2:])
    padded = np.zeros((depth + below, height + 2, width + 2), block.dtype)
    padded[tuple(inner)] = block
    return padded


def find_runs(labels: NDArray[Any], region: Region) -> Runs:
    """Find the runs of a block.

    Parameters
    ----------
    labels : (Z, Y, X) integer
        The block.
    region : Region
        Where it lies.
    """
    change = np.empty(labels.shape, bool)
    change[..., 0] = True
    np.not_equal(labels[..., 1:], labels[..., :-1], out=change[..., 1:])
    starts = np.flatnonzero(change)
    lengths = np.diff(starts, append=labels.size)
    ids = labels.ravel()[starts].astype(np.int64)
    mask = labels != 0
    real = ids != 0
    starts, lengths, ids = starts[real], lengths[real], ids[real]
    z, y, x = np.unravel_index(starts, labels.shape)
    return Runs(ids, lengths, z + region[2].start, y + region[3].start, x + region[4].start, mask)


def block_part(
    image: Readable, labels: Readable, region: Region, directions: Sequence[Direction]
) -> Part:
    """Measure one block of one time point.

    Keys of the sums: ``("n",)`` pixels; ``(axis,)`` and ``(axis, axis)`` sums of coordinates and of
    their products; ``("cut", d)`` transitions along direction d; ``("sum", c, limb)``,
    ``("square", c, limb)``, ``("skipped", c)`` for each channel. Keys of the extremes:
    ``(axis,)`` and ``("value", c)``.
    """
    below = max(step[0] for step in directions)
    padded = read_labels(labels, region, below=below)
    block = np.ascontiguousarray(padded[: len(padded) - below, 1:-1, 1:-1])
    runs = find_runs(block, region)
    if runs.ids.size == 0:
        return Part(runs.ids, {}, {}, {})
    grouping = Grouping(runs.ids)
    sums, minima, maxima = _geometry(runs, grouping)
    sums.update(_transitions(padded, runs.mask, grouping.ids, directions))
    for channel in range(image.shape5[1]):
        one = (region[0], slice(channel, channel + 1), *region[2:])
        values = image.read(one)[0, 0][runs.mask]
        _intensity(values, channel, runs.starts, grouping, (sums, minima, maxima))
    return Part(grouping.ids, sums, minima, maxima)


Columns = dict[Hashable, Any]


def _geometry(runs: Runs, grouping: Grouping) -> tuple[Columns, Columns, Columns]:
    n, z, y, x = runs.lengths, runs.z, runs.y, runs.x
    along = n * x + n * (n - 1) // 2
    square = n * x * x + x * n * (n - 1) + n * (n - 1) * (2 * n - 1) // 6
    per_run = {
        ("n",): n,
        ("z",): n * z,
        ("y",): n * y,
        ("x",): along,
        ("z", "z"): n * z * z,
        ("z", "y"): n * z * y,
        ("z", "x"): along * z,
        ("y", "y"): n * y * y,
        ("y", "x"): along * y,
        ("x", "x"): square,
    }
    first = {("z",): z, ("y",): y, ("x",): x}
    last = {("z",): z, ("y",): y, ("x",): x + n - 1}
    return (
        {key: grouping.reduce(np.add, each) for key, each in per_run.items()},
        {key: grouping.reduce(np.minimum, each) for key, each in first.items()},
        {key: grouping.reduce(np.maximum, each) for key, each in last.items()},
    )


def _transitions(
    padded: NDArray[Any],
    mask: NDArray[np.bool_],
    ids: Integers,
    directions: Sequence[Direction],
) -> dict[Hashable, Integers]:
    """Count the pixels of each label whose next one in each direction is not of the label."""
    flat = padded.ravel()
    places = _edge_places(padded, mask)
    own = flat[places]
    rows = _rows(own.astype(np.int64), ids)
    _, height, width = padded.shape
    counts: dict[Hashable, Integers] = {}
    for number, (z, y, x) in enumerate(directions):
        neighbours = flat[(z * height + y) * width + x :].take(places, mode="wrap")
        leaving = np.bincount(rows, neighbours != own, ids.size)
        counts["cut", number] = leaving.astype(np.int64)  # whole numbers below 2**53
    return counts


def _edge_places(padded: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return where in `padded` the pixels of `mask` lie that touch another label, or none.

    They are found axis by axis: a pixel is within an object if a box around it is of one label.
    """
    along_x = padded[..., 1:] == padded[..., :-1]
    same = along_x[..., 1:] & along_x[..., :-1]
    along_y = padded[:, 1:, 1:-1] == padded[:, :-1, 1:-1]
    within = same[:, 1:-1] & same[:, :-2]
    within &= same[:, 2:]
    within &= along_y[:, 1:]
    within &= along_y[:, :-1]
    if len(padded) > len(mask):
        inside = padded[:, 1:-1, 1:-1]
        deep = inside[1:] == inside[:-1]
        deep &= within[1:]
        within = np.logical_and(within[:-1], deep, out=deep)
    edge = np.greater(mask, within, out=within)
    z, rest = np.divmod(np.flatnonzero(edge), mask.shape[1] * mask.shape[2])
    y, x = np.divmod(rest, mask.shape[2])
    places: NDArray[np.intp] = (z * padded.shape[1] + y + 1) * padded.shape[2] + x + 1
    return places


def _rows(labels: Integers, ids: Integers) -> NDArray[np.intp]:
    """Return where each of `labels` stands in the sorted `ids`, by a table where it is small."""
    if ids[-1] - ids[0] >= _LARGEST_TABLE:
        return np.searchsorted(ids, labels)
    table = np.zeros(ids[-1] - ids[0] + 1, np.intp)
    table[ids - ids[0]] = np.arange(ids.size)
    rows: NDArray[np.intp] = table[labels - ids[0]]
    return rows


def _intensity(
    values: NDArray[Any],
    channel: int,
    starts: Integers,
    grouping: Grouping,
    columns: tuple[Columns, Columns, Columns],
) -> None:
    """Add sums and extremes of one channel; pixels that are not finite are skipped."""
    sums, minima, maxima = columns
    low, high = values, values
    if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
        skipped = np.add.reduceat(~finite, starts, dtype=np.int64)
        sums["skipped", channel] = grouping.reduce(np.add, skipped)
        low, high = np.where(finite, values, np.inf), np.where(finite, values, -np.inf)
        values = np.where(finite, values, 0)
    minima["value", channel] = grouping.reduce(np.minimum, np.minimum.reduceat(low, starts))
    maxima["value", channel] = grouping.reduce(np.maximum, np.maximum.reduceat(high, starts))
    parts = limbs(values)
    for name, group in (("sum", parts), ("square", square_limbs(parts))):
        for position, limb in group.items():
            sums[name, channel, position] = grouping.reduce(np.add, np.add.reduceat(limb, starts))
