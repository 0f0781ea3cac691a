"""Images in memory, for the tests of analysis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Region, Shape
from parfocal.images import ZarrOptions, write_ome_zarr
from parfocal.models.image import AXES, ImageMetadata

__all__ = ["MemoryImage", "five", "save"]


class MemoryImage:
    """An array (T, C, Z, Y, X) that is read like an image."""

    def __init__(self, pixels: NDArray[Any]) -> None:
        self.pixels = pixels

    @property
    def shape5(self) -> Shape:
        t, c, z, y, x = self.pixels.shape
        return t, c, z, y, x

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.pixels.dtype

    def read(self, region: Region) -> NDArray[Any]:
        assert all(
            0 <= part.start < part.stop <= size
            for part, size in zip(region, self.pixels.shape, strict=True)
        ), f"{region} lies outside of {self.pixels.shape}"
        return self.pixels[region]


def five(pixels: Any, dtype: str | None = None) -> MemoryImage:
    """Return an image of the last axes of TCZYX."""
    array = np.asarray(pixels, dtype)
    return MemoryImage(array.reshape((1,) * (5 - array.ndim) + array.shape))


def save(
    path: Path,
    pixels: NDArray[Any],
    axes: str,
    *,
    labels: bool = False,
    options: ZarrOptions | None = None,
    **sizes: Any,
) -> Path:
    """Write an OME-Zarr of `axes`, and return its path."""
    metadata = ImageMetadata(
        name=path.stem, axes=axes, shape=pixels.shape, dtype=pixels.dtype.name, **sizes
    )
    whole = pixels.reshape([metadata.size(axis) for axis in AXES])
    write_ome_zarr(path, metadata, MemoryImage(whole), options or ZarrOptions(), labels=labels)
    return path
