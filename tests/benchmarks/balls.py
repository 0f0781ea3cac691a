"""A generated volume of balls, made where it is read, so that it may be of any size."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Region, Shape, region_shape
from parfocal.images import write_ome_zarr
from parfocal.models.image import ImageMetadata

SPACE = 32
"""One ball in so many voxels along each axis, at a random place; some touch or overlap."""
RADII = (5, 14)


class Balls:
    """A volume (T1, C1, Z, Y, X): 250 in balls and 0 around them; with noise, 30 to 70 more."""

    def __init__(self, shape: tuple[int, int, int], dtype: str, *, noise: bool = False) -> None:
        self.shape5: Shape = (1, 1, *shape)
        self.dtype = np.dtype(dtype)
        self._noise = noise

    @cached_property
    def _balls(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Centres (N, 3) and radii (N,)."""
        rng = np.random.default_rng(0)
        count = max(1, int(np.prod(self.shape5, dtype=np.int64)) // SPACE**3)
        centres = rng.uniform(0, 1, (count, 3)) * self.shape5[2:]
        return centres, rng.uniform(*RADII, count)

    def read(self, region: Region) -> NDArray[Any]:
        """Return `region`, painted disc by disc."""
        out = np.zeros(region_shape(region), self.dtype)
        centres, radii = self._balls
        lower = np.array([part.start for part in region[2:]])
        upper = np.array([part.stop for part in region[2:]])
        reach = radii[:, None]
        near = np.all((centres + reach >= lower) & (centres - reach < upper), axis=1)
        for centre, radius in zip(centres[near] - lower, radii[near], strict=True):
            z, y, x = centre
            for plane in range(max(0, int(z - radius)), min(len(out[0, 0]), int(z + radius) + 1)):
                if (square := radius**2 - (plane - z) ** 2) > 0:
                    disc = round(square**0.5)
                    cv2.circle(out[0, 0, plane], (round(x), round(y)), disc, 250, -1)
        if self._noise:
            rng = np.random.default_rng([part.start for part in region])
            out += rng.integers(30, 70, out.shape, self.dtype)
        return out


def write_balls(
    path: Path, shape: tuple[int, int, int], dtype: str, *, noise: bool = False
) -> None:
    """Write the volume with voxels of 0.4 micrometres along Z, and of 0.2 along Y and X."""
    source = Balls(shape, dtype, noise=noise)
    metadata = ImageMetadata(
        name="balls", axes="ZYX", shape=shape, dtype=dtype, z_um=0.4, y_um=0.2, x_um=0.2
    )
    write_ome_zarr(path, metadata, source, threads=2)
