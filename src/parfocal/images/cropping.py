"""Write a region of one level of an OME-Zarr as an OME-Zarr of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Readable, Region, Shape, region_shape
from parfocal.errors import ConfigurationError
from parfocal.images.image import Image
from parfocal.images.ngff import read_axes, read_scales, read_translations
from parfocal.images.opening import open_image
from parfocal.images.readers.ome_zarr import read_attributes
from parfocal.images.writers.ome_zarr import write_ome_zarr
from parfocal.models.image import AXES, ImageMetadata
from parfocal.models.image_part import PixelRegion
from parfocal.models.zarr_options import ZarrOptions

__all__ = ["Crop", "plan_crop", "write_crop"]


@dataclass(frozen=True)
class Crop:
    """A part of an image.

    Attributes
    ----------
    root : Path
        The OME-Zarr, of which only the metadata need to be there.
    level : int
        The resolution, 0 for the full one.
    region : Region
        In pixels of that level (T, C, Z, Y, X).
    metadata : ImageMetadata
        Of the part.
    origin : mapping of str to float
        Where its first pixel lies along each axis, in µm or s where the axis has a unit.
    """

    root: Path
    level: int
    region: Region
    metadata: ImageMetadata
    origin: Mapping[str, float]

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """Start and stop along each axis that the arrays have."""
        pairs = zip(AXES, self.region, strict=True)
        return [(part.start, part.stop) for axis, part in pairs if axis in self.metadata.axes]

    def told(self) -> dict[str, Any]:
        """Return level and region for records."""
        spans = dict(zip(self.metadata.axes.lower(), map(list, self.bounds), strict=True))
        return {"level": self.level, "region": spans}


class _View:
    """A region of something readable, as if it were all there is."""

    def __init__(self, source: Readable, region: Region) -> None:
        self._source = source
        self._starts = [part.start for part in region]
        self.shape5: Shape = region_shape(region)
        self.dtype: np.dtype[Any] = source.dtype

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X)."""
        t, c, z, y, x = (
            slice(part.start + start, part.stop + start)
            for part, start in zip(region, self._starts, strict=True)
        )
        return self._source.read((t, c, z, y, x))


def plan_crop(
    root: Path,
    level: int | None,
    max_pixel_um: float | None,
    region: PixelRegion | None,
    where: str,
) -> Crop:
    """Choose level and region of an OME-Zarr, of which only the metadata need to be there.

    Parameters
    ----------
    root : Path
        The OME-Zarr of one image.
    level : int, optional
        The resolution, 0 for the full one.
    max_pixel_um : float, optional
        In place of `level`: the coarsest level whose pixels are not larger along Y and X.
    region : PixelRegion, optional
        In pixels of the level; the whole of it by default.
    where : str
        What to call the OME-Zarr in errors.

    Raises
    ------
    ConfigurationError
        If there is no such level, or the region reaches beyond it.
    InputError
        If the OME-Zarr is not valid.
    """
    with open_image(root) as image:
        multiscale = read_attributes(root)["ome"]["multiscales"][0]
        sizes = [_sizes(multiscale, number, root) for number in range(image.levels)]
        chosen = level or 0
        if max_pixel_um is not None:
            chosen = _level_of_pixel_size(sizes, max_pixel_um, where)
        if chosen >= image.levels:
            what = "The image has no such level"
            expected = f"0 to {image.levels - 1}"
            raise ConfigurationError(what, where=where, expected=expected, found=chosen)
        part = _region(image.level(chosen).shape5, region, where)
        metadata = _metadata(image, part, sizes[chosen])
        origin = _origin(multiscale, chosen, part, sizes[chosen], root)
    return Crop(root, chosen, part, metadata, origin)


def _sizes(multiscale: Mapping[str, Any], level: int, root: Path) -> dict[str, float]:
    """Return the size of a pixel of a level along the axes with a unit."""
    axes, units = read_axes(multiscale, root)
    return read_scales(_only(multiscale, level), axes, units, [])


def _only(multiscale: Mapping[str, Any], level: int) -> dict[str, Any]:
    return {**multiscale, "datasets": [multiscale["datasets"][level]]}


def _level_of_pixel_size(sizes: list[dict[str, float]], max_pixel_um: float, where: str) -> int:
    widths = [max(size["Y"], size["X"]) for size in sizes if "Y" in size and "X" in size]
    if len(widths) != len(sizes):
        what = "The image does not state the size of its pixels"
        remedy = "Choose by 'level' rather than by 'max_pixel_um'."
        raise ConfigurationError(what, where=where, remedy=remedy)
    fine = [level for level, width in enumerate(widths) if width <= max_pixel_um * (1 + 1e-9)]
    if not fine:
        what = "No level of the image has pixels as small"
        expected, found = f"at most {max_pixel_um:g} µm", f"{min(widths):g} µm"
        remedy = "Set 'max_pixel_um' to that, or choose by 'level'."
        raise ConfigurationError(what, where=where, expected=expected, found=found, remedy=remedy)
    return max(fine, key=lambda level: widths[level])


def _region(shape: Shape, region: PixelRegion | None, where: str) -> Region:
    wanted = region.parts() if region else {}
    parts = []
    for axis, size in zip(AXES, shape, strict=True):
        start, stop = wanted.get(axis, (0, size))
        if stop > size:
            what = f"The region reaches beyond the level along {axis}"
            found = f"{start} to {stop}"
            raise ConfigurationError(what, where=where, expected=f"0 to {size}", found=found)
        parts.append(slice(start, stop))
    t, c, z, y, x = parts
    return t, c, z, y, x


def _metadata(image: Image, part: Region, sizes: Mapping[str, float]) -> ImageMetadata:
    metadata = image.metadata
    shape = dict(zip(AXES, region_shape(part), strict=True))
    channels = metadata.channels[part[1]]
    return metadata.model_copy(
        update={
            "shape": tuple(shape[axis] for axis in metadata.axes),
            "z_um": sizes.get("Z"),
            "y_um": sizes.get("Y"),
            "x_um": sizes.get("X"),
            "time_increment_s": sizes.get("T"),
            "channels": channels,
            "rgb": metadata.rgb and shape["C"] == metadata.size("C"),
        }
    )


def _origin(
    multiscale: Mapping[str, Any],
    level: int,
    part: Region,
    sizes: Mapping[str, float],
    root: Path,
) -> dict[str, float]:
    axes, units = read_axes(multiscale, root)
    moved = read_translations(_only(multiscale, level), axes, units)
    starts = dict(zip(AXES, (span.start for span in part), strict=True))
    return {axis: moved[axis] + starts[axis] * sizes.get(axis, 1.0) for axis in axes}


def write_crop(
    crop: Crop, target: Path, threads: int, progress: Callable[[int, int], None] | None = None
) -> None:
    """Write a part of an image, whose pixels are there now, with a pyramid of its own.

    Raises
    ------
    InputError, StorageError
        If a chunk is damaged, or the disk does not take the result.
    """
    with open_image(crop.root) as image:
        write_ome_zarr(
            target,
            crop.metadata,
            _View(image.level(crop.level), crop.region),
            ZarrOptions(halve_z=image.halves_z),
            attributes={"parfocal": {"part": crop.told()}},
            threads=threads,
            progress=progress,
        )
    _move(target / "zarr.json", crop)


def _move(path: Path, crop: Crop) -> None:
    """Add where the part begins to the translation of each level."""
    document = json.loads(path.read_text(encoding="utf-8"))
    start = [crop.origin[axis] for axis in crop.metadata.axes]
    if not any(start):
        return
    for dataset in document["attributes"]["ome"]["multiscales"][0]["datasets"]:
        scale, *rest = dataset["coordinateTransformations"]
        inner = rest[0]["translation"] if rest else [0.0] * len(start)
        moved = [a + b for a, b in zip(start, inner, strict=True)]
        dataset["coordinateTransformations"] = [
            scale,
            {"type": "translation", "translation": moved},
        ]
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
