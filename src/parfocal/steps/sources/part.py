"""Fetch a part of an image: of an OME-Zarr only, since others have to be read as wholes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from parfocal.errors import ConfigurationError
from parfocal.steps.sources.order import Order

if TYPE_CHECKING:
    from parfocal.images.cropping import Crop

__all__ = ["refuse_part", "write_part"]


def refuse_part(where: str) -> ConfigurationError:
    """Return the error for a source of which no part can be fetched."""
    return ConfigurationError(
        "A level or a region can be fetched of an OME-Zarr only",
        where=where,
        expected="an OME-Zarr",
        found="another kind of source",
        remedy="Leave out level, max_pixel_um and region, and fetch the image as a whole.",
    )


def write_part(crop: Crop, name: str, order: Order) -> Path:
    """Write a part of an OME-Zarr into the folder of originals, and tell of it.

    Returns
    -------
    Path
        The OME-Zarr, called `name` with the suffix that belongs to it.
    """
    from parfocal.images.cropping import write_crop

    stem = name.removesuffix(".zarr").removesuffix(".ome")
    target = order.folder / f"{stem}.ome.zarr"
    write_crop(crop, target, order.context.threads)
    order.context.details["part"] = crop.told()
    return target
