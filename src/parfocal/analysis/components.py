"""Connected components of a mask that is too large for memory.

Each block is labelled by itself; labels that touch across the faces between blocks are
joined. Which pixels form a component does not depend on the blocks, only the numbers do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Readable, Region, Writable
from parfocal.core.scheduler import Scheduler
from parfocal.errors import InputError

__all__ = ["Components", "label_components", "label_mask"]

MaskOf = Callable[[Region], NDArray[np.bool_]]
Labels = NDArray[np.uint32]

MOST_LABELS = 1 << 31
"""Half of what 32 bits can number; the other half is for objects."""


@dataclass(frozen=True)
class Components:
    """The components of one time point, numbered from 1.

    Attributes
    ----------
    roots : (labels + 1,) int64
        The component of each provisional label in the volume; 0 for 0.
    counts : (components + 1,) int64
        Number of pixels.
    lower, upper : (components + 1, 3) int64
        First pixel along Z, Y, X, and the one after the last.
    """

    roots: NDArray[np.int64]
    counts: NDArray[np.int64]
    lower: NDArray[np.int64]
    upper: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of components."""
        return len(self.counts) - 1


def label_mask(mask: NDArray[np.bool_]) -> tuple[Labels, int]:
    """Label the components of a mask in memory; pixels are connected by their faces.

    Parameters
    ----------
    mask : (Z, Y, X) or (Y, X) bool
        What is not background.

    Returns
    -------
    labels : uint32
        As the mask.
    count : int
        Number of components.
    """
    import cc3d

    labels, count = cc3d.connected_components(
        np.ascontiguousarray(mask),
        connectivity=6 if mask.ndim == 3 else 4,
        return_N=True,
        out_dtype=np.uint32,
        binary_image=True,
    )
    return labels, int(count)


@dataclass
class _Tables:
    """What has been found in the blocks so far."""

    counts: list[NDArray[np.int64]] = field(default_factory=list)
    lower: list[NDArray[np.int64]] = field(default_factory=list)
    upper: list[NDArray[np.int64]] = field(default_factory=list)
    pairs: list[NDArray[np.uint64]] = field(default_factory=list)
    labels: int = 0

    def add(self, labels: Labels, count: int, region: Region) -> Labels:
        """Enter the components of a block, and return it with its final provisional labels."""
        import cc3d

        if self.labels + count > MOST_LABELS:
            what = "The image falls into too many pieces"
            raise InputError(
                what,
                expected=f"at most {MOST_LABELS} components in the blocks of a time point",
                found="more",
                remedy="Smooth more, or raise the threshold.",
            )
        if count:
            found = cc3d.statistics(labels, no_slice_conversion=True)
            origin = np.array([part.start for part in region[2:]], np.int64)
            boxes = found["bounding_boxes"][1:].astype(np.int64).reshape(count, 3, 2)
            self.counts.append(found["voxel_counts"][1:].astype(np.int64))
            self.lower.append(boxes[:, :, 0] + origin)
            self.upper.append(boxes[:, :, 1] + origin + 1)
        np.add(labels, np.uint32(self.labels), out=labels, where=labels > 0)
        self.labels += count
        return labels

    def join(self, one: Labels, other: Labels) -> None:
        """Note which labels touch across a face."""
        both = (one > 0) & (other > 0)
        pairs = one[both].astype(np.uint64) << np.uint64(32) | other[both]
        if len(pairs):
            self.pairs.append(np.unique(pairs))

    def merged(self) -> Components:
        """Join what touches, and sum up."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        size = self.labels + 1
        pairs = np.concatenate([np.empty(0, np.uint64), *self.pairs])
        one = (pairs >> np.uint64(32)).astype(np.int64)
        other = (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)
        graph = coo_array((np.ones(len(pairs), bool), (one, other)), shape=(size, size))
        number, roots = connected_components(graph, directed=False)
        roots = roots.astype(np.int64)
        counts = np.zeros(number, np.int64)
        lower = np.full((number, 3), np.iinfo(np.int64).max)
        upper = np.zeros((number, 3), np.int64)
        if self.labels:
            np.add.at(counts, roots[1:], np.concatenate(self.counts))
            np.minimum.at(lower, roots[1:], np.concatenate(self.lower))
            np.maximum.at(upper, roots[1:], np.concatenate(self.upper))
        return Components(roots, counts, lower, upper)


def label_components(
    mask_of: MaskOf,
    volume: Writable,
    blocks: Iterable[Region],
    *,
    planar: bool,
    scheduler: Scheduler,
) -> Components:
    """Label the components of one channel of one time point.

    Parameters
    ----------
    mask_of : callable
        Returns the mask (Z, Y, X) of a block. It is called once a block, from several
        threads, before the block is written.
    volume : Writable
        Where the provisional labels (uint32) go; 0 is background.
    blocks : iterable of Region
        A grid in the order of `iter_blocks`.
    planar : bool
        Whether planes are labelled each by itself. Blocks must then have one plane.
    scheduler : Scheduler
        Where blocks are worked on.

    Returns
    -------
    Components
        What the provisional labels belong to.

    Raises
    ------
    InputError
        If there are more provisional labels than 32 bits can number.
    """
    tables = _Tables()
    last_column: Labels | None = None
    first: Region | None = None

    def work(region: Region) -> tuple[Region, Labels, int]:
        return region, *label_mask(mask_of(region))

    for region, labels, count in scheduler.map(work, blocks):
        first = first or region
        numbered = tables.add(labels, count, region)
        volume.write(region, numbered[None, None])
        starts = [part.start != origin.start for part, origin in zip(region, first, strict=True)]
        if starts[2] and not planar:
            tables.join(_face_before(volume, region, 2), numbered[0])
        if starts[3]:
            tables.join(_face_before(volume, region, 3), numbered[:, 0])
        if starts[4] and last_column is not None:
            tables.join(last_column, numbered[:, :, 0])
        last_column = numbered[:, :, -1].copy()
    return tables.merged()


def _face_before(volume: Readable, region: Region, axis: int) -> Labels:
    """Read the layer of pixels before `region` along Z (2) or Y (3), without that axis."""
    parts = list(region)
    start = region[axis].start
    parts[axis] = slice(start - 1, start)
    t, c, z, y, x = parts
    face: Labels = volume.read((t, c, z, y, x))[0, 0]
    return face[0] if axis == 2 else face[:, 0]
