"""Fetch a part of an image: of what can be read in parts, since other files come as wholes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from parfocal.errors import ConfigurationError
from parfocal.models.manifest import Manifest
from parfocal.steps.sources.entry import entry_of
from parfocal.steps.sources.order import Order

if TYPE_CHECKING:
    from parfocal.images.cropping import Crop

__all__ = ["crop_zarr", "manifest_of_part", "part_path", "refuse_part", "write_zarr_part"]


def refuse_part(where: str) -> ConfigurationError:
    """Return the error for a source of which no part can be fetched."""
    return ConfigurationError(
        "A level or a region can be fetched of an OME-Zarr, and of an image on an OMERO server",
        where=where,
        expected="one of these",
        found="another kind of source",
        remedy="Leave out level, max_pixel_um and region, and fetch the image as a whole.",
    )


def crop_zarr(root: Path, order: Order) -> Crop:
    """Choose the part of an OME-Zarr of which only the metadata need to be there.

    Raises
    ------
    ConfigurationError
        If there is no such level, or the region reaches beyond it.
    InputError
        If the OME-Zarr is not valid.
    """
    from parfocal.images.zarr_parts import plan_zarr_crop

    part = order.part
    return plan_zarr_crop(root, part.level, part.max_pixel_um, part.region, order.text)


def part_path(name: str, order: Order) -> Path:
    """Return where a part goes: into the folder of originals, called `name` with its suffix."""
    stem = name.removesuffix(".zarr").removesuffix(".ome")
    return order.folder / f"{stem}.ome.zarr"


def manifest_of_part(crop: Crop, target: Path, order: Order) -> Manifest:
    """Return the manifest of a part that was written, and put on record which one it is."""
    order.context.details["part"] = crop.told().model_dump(mode="json")
    entry = entry_of(target, target.name, order.context)
    return Manifest(source=order.text, files=(entry,), primary=target.name, part=crop.told())


def write_zarr_part(root: Path, crop: Crop, name: str, order: Order) -> Manifest:
    """Write a part of an OME-Zarr into the folder of originals, and tell of it.

    Returns
    -------
    Manifest
        Of the OME-Zarr, which is called `name` with the suffix that belongs to it.
    """
    from parfocal.images.zarr_parts import write_zarr_crop

    target = part_path(name, order)
    write_zarr_crop(root, crop, target, order.context.threads)
    return manifest_of_part(crop, target, order)
