"""A part of an image in memory, for work on blocks whose surroundings overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Region, Shape

__all__ = ["Held"]


@dataclass(frozen=True)
class Held:
    """A region of an image, which may be read as the image within it.

    Parameters
    ----------
    pixels : (T, C, Z, Y, X) array
        The region.
    region : Region
        Where it lies.
    shape5 : (T, C, Z, Y, X)
        Size of the image.
    """

    pixels: NDArray[Any]
    region: Region
    shape5: Shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the image."""
        return self.pixels.dtype

    def read(self, region: Region) -> NDArray[Any]:
        """Return a view of the pixels of `region`, which lies within that of this one."""
        t, c, z, y, x = (
            slice(part.start - whole.start, part.stop - whole.start)
            for part, whole in zip(region, self.region, strict=True)
        )
        view: NDArray[Any] = self.pixels[t, c, z, y, x]
        return view
