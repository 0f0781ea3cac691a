"""Which pixels of an image belong to objects, read block by block."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.components import Components
from parfocal.core.blocks import Readable, Region, Shape, region_shape

__all__ = ["AnyMask", "Filled", "Inside", "Mask", "Outside", "ValueMask", "enclosed"]


@dataclass(frozen=True)
class Mask:
    """The pixels above the threshold.

    Attributes
    ----------
    levels : Readable
        Brightness; 0 is a pixel without a value.
    local : Readable or None
        The mean around each pixel.
    threshold : int
        The last level that does not belong to objects.
    offset : int
        By how much a pixel must exceed the mean.
    """

    levels: Readable
    local: Readable | None
    threshold: int
    offset: int

    def read(self, region: Region) -> NDArray[np.bool_]:
        """Return the mask (Z, Y, X) of a region."""
        levels = self.levels.read(region)[0, 0]
        mask: NDArray[np.bool_] = levels > self.threshold
        if self.local is not None:
            around = self.local.read(region)[0, 0].astype(np.int64)
            mask &= levels > around + self.offset
        return mask

    def valid(self, region: Region) -> NDArray[np.bool_]:
        """Return which pixels (Z, Y, X) of a region have a value."""
        has_value: NDArray[np.bool_] = self.levels.read(region)[0, 0] > 0
        return has_value


@dataclass(frozen=True)
class ValueMask:
    """The pixels beyond a value of an image that is not smoothed.

    No level stands for several values here, whatever the range of the image. Pixels without a
    finite value are in no mask.

    Attributes
    ----------
    image : Readable
        The image.
    value : float
        What they are beyond.
    dark : bool
        Whether they are darker.
    """

    image: Readable
    value: float
    dark: bool

    def read(self, region: Region) -> NDArray[np.bool_]:
        """Return the mask (Z, Y, X) of a region."""
        pixels = self.image.read(region)[0, 0]
        if pixels.dtype.kind == "f":
            beyond = pixels < self.value if self.dark else pixels > self.value
            return np.asarray(beyond & np.isfinite(pixels))
        # Compared with integers, since floats do not hold those of 64 bits.
        mask: NDArray[np.bool_] = (
            pixels < math.ceil(self.value) if self.dark else pixels > math.floor(self.value)
        )
        return mask

    def valid(self, region: Region) -> NDArray[np.bool_]:
        """Return which pixels (Z, Y, X) of a region have a finite value."""
        if self.image.dtype.kind == "f":
            return np.asarray(np.isfinite(self.image.read(region)[0, 0]))
        return np.ones(region_shape(region)[2:], bool)


AnyMask = Mask | ValueMask


@dataclass(frozen=True)
class Inside:
    """The mask of a block."""

    mask: AnyMask
    region: Region

    def read(self) -> NDArray[np.bool_]:
        """Return the mask (Z, Y, X)."""
        return self.mask.read(self.region)


@dataclass(frozen=True)
class Outside:
    """All that is not in the mask of a block."""

    mask: AnyMask
    region: Region

    def read(self) -> NDArray[np.bool_]:
        """Return the mask (Z, Y, X)."""
        return ~self.mask.read(self.region)


@dataclass(frozen=True)
class Filled:
    """The mask of a block, and its holes.

    Attributes
    ----------
    mask : Mask
        The mask.
    region : Region
        Where the block lies.
    labels : Readable
        Labels of what is not in the mask, as `label_components` wrote them.
    enclosed : (labels + 1,) bool
        Which of them are holes.
    """

    mask: AnyMask
    region: Region
    labels: Readable
    enclosed: NDArray[np.bool_]

    def read(self) -> NDArray[np.bool_]:
        """Return the mask (Z, Y, X)."""
        holes = self.enclosed[self.labels.read(self.region)[0, 0]]
        holes &= self.mask.valid(self.region)
        filled: NDArray[np.bool_] = self.mask.read(self.region) | holes
        return filled


def enclosed(found: Components, shape: Shape, *, planar: bool) -> NDArray[np.bool_]:
    """Tell for each component of the background whether it is a hole.

    Parameters
    ----------
    found : Components
        Those of what is not in the mask.
    shape : (T, C, Z, Y, X)
        Size of the image.
    planar : bool
        Whether components are planes.

    Returns
    -------
    (components + 1,) bool
        Whether it does not reach the border of the image; False for 0.
    """
    axes = slice(1, 3) if planar else slice(0, 3)
    ends = np.array(shape[2:])
    if not planar and shape[2] == 1:
        axes = slice(1, 3)
    within = np.zeros(len(found) + 1, bool)
    for before, some in found.pieces():
        off_start = np.all(some.lower[1:][:, axes] > 0, axis=1)
        off_end = np.all(some.upper[1:][:, axes] < ends[axes], axis=1)
        within[before + 1 : before + 1 + len(some)] = off_start & off_end
    return within
