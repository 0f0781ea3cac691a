"""Settings of segmentation, and a way to segment images in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memory_images import MemoryImage
from parfocal.analysis.objects import SizeLimits
from parfocal.analysis.segment import Segmentation, Settings, segment
from parfocal.analysis.watershed import SplitSettings
from parfocal.analysis.windows import Windows
from parfocal.core.blocks import Region, Shape, whole
from parfocal.core.scheduler import Threads

__all__ = ["AS_IT_IS", "PLANE", "VOLUME", "Volume", "make_volume", "run"]

PLANE = Settings(
    sigma=(0.0, 1.0, 1.0),
    threshold="li",
    dark=False,
    planar=True,
    fill_holes=True,
    split=SplitSettings("combined", 0.1, 0.5, True, (1.0, 1.0)),
    limits=SizeLimits(5, None),
    windows=Windows(1 << 30),
)
VOLUME = replace(
    PLANE,
    sigma=(0.5, 1.0, 1.0),
    planar=False,
    split=replace(PLANE.split, spacing=(2.0, 1.0, 1.0)),
)
AS_IT_IS = replace(
    VOLUME,
    sigma=(0.0, 0.0, 0.0),
    fill_holes=False,
    split=replace(VOLUME.split, seeds="none", edge=None),
    limits=SizeLimits(0, None),
)


class Volume(MemoryImage):
    """Scratch storage in memory."""

    def write(self, region: Region, block: NDArray[Any]) -> None:
        assert block.dtype == self.dtype
        self.pixels[region] = block

    def read(self, region: Region) -> NDArray[Any]:
        return super().read(region).copy()

    def close(self) -> None:
        self.pixels = self.pixels[:0]


def make_volume(shape: Shape, dtype: Any, _: Shape) -> Volume:
    """Return empty storage."""
    return Volume(np.zeros(shape, dtype))


def run(
    image: MemoryImage, chosen: Settings, *, channel: int = 0, threads: int = 1
) -> tuple[Segmentation, NDArray[Any]]:
    """Segment, and return the segmentation and its label image (T, 1, Z, Y, X)."""
    found = segment(
        image,
        channel,
        chosen,
        block5=(1, 1, 1, 4, 4),
        make_volume=make_volume,
        scheduler=Threads(threads),
        progress=lambda done, total: None,
    )
    return found, found.table.image(np.dtype(np.uint32)).read(whole(found.table.labels.shape5))
