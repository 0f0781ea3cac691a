"""Which pixels of an image belong to objects, read block by block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Readable, Region

__all__ = ["Filled", "Inside", "Mask", "Outside"]


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


@dataclass(frozen=True)
class Inside:
    """The mask of a block."""

    mask: Mask
    region: Region

    def read(self) -> NDArray[np.bool_]:
        """Return the mask (Z, Y, X)."""
        return self.mask.read(self.region)


@dataclass(frozen=True)
class Outside:
    """All that is not in the mask of a block."""

    mask: Mask
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

    mask: Mask
    region: Region
    labels: Readable
    enclosed: NDArray[np.bool_]

    def read(self) -> NDArray[np.bool_]:
        """Return the mask (Z, Y, X)."""
        holes = self.enclosed[self.labels.read(self.region)[0, 0]]
        valid = self.mask.levels.read(self.region)[0, 0] > 0
        filled: NDArray[np.bool_] = self.mask.read(self.region) | (holes & valid)
        return filled
