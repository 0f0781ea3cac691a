"""Parts of an OME-Zarr, of which only the metadata and the chunks of the part need to be there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from parfocal.images.cropping import Crop, Level, plan_crop, write_crop
from parfocal.images.ngff import read_axes, read_scales, read_translations
from parfocal.images.opening import open_image
from parfocal.images.readers.ome_zarr import read_attributes
from parfocal.models.image_part import PixelRegion
from parfocal.models.zarr_options import ZarrOptions

__all__ = ["plan_zarr_crop", "write_zarr_crop"]


def plan_zarr_crop(
    root: Path,
    level: int | None,
    max_pixel_um: float | None,
    region: PixelRegion | None,
    where: str,
) -> Crop:
    """Choose level and region of the OME-Zarr of one image, as `plan_crop` does.

    Raises
    ------
    ConfigurationError
        As `plan_crop`.
    InputError
        If the OME-Zarr is not valid.
    """
    with open_image(root) as image:
        multiscale = read_attributes(root)["ome"]["multiscales"][0]
        levels = [
            Level(image.level(number).shape5, *_sizes_and_origin(multiscale, number, root))
            for number in range(image.levels)
        ]
        return plan_crop(image.metadata, levels, level, max_pixel_um, region, where)


def _sizes_and_origin(
    multiscale: Mapping[str, Any], level: int, root: Path
) -> tuple[dict[str, float], dict[str, float]]:
    """Return size and place of the first pixel of a level, along the axes that say them."""
    axes, units = read_axes(multiscale, root)
    only = {**multiscale, "datasets": [multiscale["datasets"][level]]}
    return read_scales(only, axes, units, []), read_translations(only, axes, units)


def write_zarr_crop(root: Path, crop: Crop, target: Path, threads: int) -> None:
    """Write a part of an OME-Zarr, whose pixels are there now, with a pyramid of its own.

    Raises
    ------
    InputError, StorageError
        If a chunk is damaged, or the disk does not take the result.
    """
    with open_image(root) as image:
        options = ZarrOptions(halve_z=image.halves_z)
        write_crop(crop, image.level(crop.level), target, options, threads=threads)
