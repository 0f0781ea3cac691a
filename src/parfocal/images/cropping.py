"""Choose a level of an image and a region of it, and write that as an OME-Zarr of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Readable, Region, Shape, region_shape
from parfocal.errors import ConfigurationError
from parfocal.images.writers.ome_zarr import write_ome_zarr
from parfocal.models.image import AXES, ImageMetadata
from parfocal.models.image_part import FetchedPart, PixelRegion
from parfocal.models.zarr_options import ZarrOptions

__all__ = ["Crop", "Level", "plan_crop", "write_crop"]


@dataclass(frozen=True)
class Level:
    """A resolution of an image.

    Attributes
    ----------
    shape5 : tuple of int
        Size along T, C, Z, Y, X.
    sizes : mapping of str to float
        Size of a pixel along the axes where it is known, in µm or s, by their capital letters.
    origin : mapping of str to float
        Where the first pixel lies, in the same units; 0 along axes that are not in it.
    """

    shape5: Shape
    sizes: Mapping[str, float]
    origin: Mapping[str, float]


@dataclass(frozen=True)
class Crop:
    """A part of an image.

    Attributes
    ----------
    level : int
        The resolution, 0 for the full one.
    region : Region
        In pixels of that level (T, C, Z, Y, X).
    metadata : ImageMetadata
        Of the part.
    origin : mapping of str to float
        Where its first pixel lies along each axis, in µm or s where the axis has a unit.
    """

    level: int
    region: Region
    metadata: ImageMetadata
    origin: Mapping[str, float]

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """Start and stop along each axis that the arrays have."""
        pairs = zip(AXES, self.region, strict=True)
        return [(part.start, part.stop) for axis, part in pairs if axis in self.metadata.axes]

    def told(self) -> FetchedPart:
        """Return level and region for records."""
        spans = dict(zip(self.metadata.axes.lower(), self.bounds, strict=True))
        return FetchedPart(level=self.level, region=spans)


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
    metadata: ImageMetadata,
    levels: Sequence[Level],
    level: int | None,
    max_pixel_um: float | None,
    region: PixelRegion | None,
    where: str,
) -> Crop:
    """Choose level and region of an image.

    Parameters
    ----------
    metadata : ImageMetadata
        Of the whole image.
    levels : sequence of Level
        Its resolutions, the full one first.
    level : int, optional
        The resolution, 0 for the full one.
    max_pixel_um : float, optional
        In place of `level`: the coarsest level whose pixels are not larger along Y and X.
    region : PixelRegion, optional
        In pixels of the level; the whole of it by default.
    where : str
        What to call the image in errors.

    Raises
    ------
    ConfigurationError
        If there is no such level, or the region reaches beyond it.
    """
    number = level or 0
    if max_pixel_um is not None:
        number = _level_of_pixel_size(levels, max_pixel_um, where)
    if number >= len(levels):
        what = "The image has no such level"
        expected = f"0 to {len(levels) - 1}" if len(levels) > 1 else "0, which is the only one"
        raise ConfigurationError(what, where=where, expected=expected, found=number)
    chosen = levels[number]
    part = _region(chosen.shape5, region, where)
    starts = {axis: span.start for axis, span in zip(AXES, part, strict=True)}
    origin = {
        axis: chosen.origin.get(axis, 0.0) + starts[axis] * chosen.sizes.get(axis, 1.0)
        for axis in metadata.axes
    }
    return Crop(number, part, _metadata(metadata, part, chosen.sizes), origin)


def _level_of_pixel_size(levels: Sequence[Level], max_pixel_um: float, where: str) -> int:
    sizes = [level.sizes for level in levels]
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


def _metadata(metadata: ImageMetadata, part: Region, sizes: Mapping[str, float]) -> ImageMetadata:
    shape = dict(zip(AXES, region_shape(part), strict=True))
    return metadata.model_copy(
        update={
            "shape": tuple(shape[axis] for axis in metadata.axes),
            "z_um": sizes.get("Z"),
            "y_um": sizes.get("Y"),
            "x_um": sizes.get("X"),
            "time_increment_s": sizes.get("T"),
            "channels": metadata.channels[part[1]],
            "rgb": metadata.rgb and shape["C"] == metadata.size("C"),
        }
    )


def write_crop(
    crop: Crop,
    level: Readable,
    target: Path,
    options: ZarrOptions | None = None,
    *,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a part of an image with a pyramid of its own.

    Parameters
    ----------
    crop : Crop
        The part.
    level : Readable
        The pixels of its level.
    target : Path
        The OME-Zarr to make.
    options : ZarrOptions, optional
        How it is written.
    threads : int
        How many threads read, average and compress.
    progress : callable, optional
        Called as ``progress(done, total)``.

    Raises
    ------
    InputError, RemoteError, StorageError
        If pixels cannot be read, or the disk does not take the result.
    """
    write_ome_zarr(
        target,
        crop.metadata,
        _View(level, crop.region),
        options,
        attributes={"parfocal": {"part": crop.told().model_dump(mode="json")}},
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
