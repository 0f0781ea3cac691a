"""Sizes of images before they are converted, as far as their sources tell without their pixels."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from parfocal.engine.file_state import file_state
from parfocal.errors import InputError, ParfocalError
from parfocal.models.image import ImageMetadata
from parfocal.models.resources import ImageSize
from parfocal.models.sheet import Row
from parfocal.models.source import LocalSource, parse_source

__all__ = ["read_sizes", "size_of", "source_states"]

logger = logging.getLogger(__name__)

_PIXEL_TYPES = frozenset(
    [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
    + [f"float{bits}" for bits in (16, 32, 64)]
)


def source_states(rows: Sequence[Row], results: Path) -> dict[str, str]:
    """Return for each image a text that differs when its size may do so.

    Parameters
    ----------
    rows : sequence of Row
        The images.
    results : Path
        The results folder, in which a remote image may have been converted.
    """
    return {row.image_id: _state(row, _place(row, results)) for row in rows}


def _state(row: Row, place: str | None) -> str:
    if place is None:
        told = _told_size(row)
        return f"{row.series} {told.shape} {told.dtype}" if told else f"{row.series} none"
    return f"{row.series} {file_state(place)}"


def read_sizes(rows: Iterable[Row], results: Path) -> dict[str, ImageSize]:
    """Return the sizes of images.

    Those of files that only Bio-Formats knows are not known, since it starts slowly. Those of
    remote images are, before they are converted, what the columns ``size_t`` to ``size_x`` and
    ``dtype`` of the sample sheet say, as ``list-images`` fills them in.

    Parameters
    ----------
    rows, results
        As for `source_states`.
    """
    by_place: dict[str, list[Row]] = {}
    found: dict[str, ImageSize] = {}
    for row in rows:
        place = _place(row, results)
        if place:
            by_place.setdefault(place, []).append(row)
        elif told := _told_size(row):
            found[row.image_id] = told
    for place, here in by_place.items():
        try:
            images = _images_of(Path(place))
        except InputError as error:
            logger.debug("The size of %s is not known: %s", place, error)
            continue
        for row in here:
            metadata = images.get(row.series) or (images.get("") if len(images) == 1 else None)
            if metadata is None and len(images) == 1:
                metadata = next(iter(images.values()))
            if metadata is not None:
                found[row.image_id] = size_of(metadata)
    return found


def size_of(metadata: ImageMetadata) -> ImageSize:
    """Return the size of an image by its metadata."""
    pixel_um = (metadata.z_um, metadata.y_um, metadata.x_um)
    return ImageSize(shape=metadata.shape5, dtype=metadata.dtype, pixel_um=pixel_um)


def _place(row: Row, results: Path) -> str | None:
    """Return where the metadata of an image can be read, None where it is far away."""
    try:
        source = parse_source(row.source)
    except ParfocalError:
        return None
    if isinstance(source, LocalSource):
        return str(source.path)
    converted = results / "images" / row.image_id / "image.ome.zarr"
    return str(converted) if converted.exists() else None


def _told_size(row: Row) -> ImageSize | None:
    """Return what the sample sheet says of the size of a remote image, if it is complete."""
    sizes = [row.free.get(f"size_{axis}", "") for axis in "tczyx"]
    dtype = row.free.get("dtype", "")
    if dtype not in _PIXEL_TYPES or not all(size.isdecimal() and int(size) for size in sizes):
        return None
    t, c, z, y, x = (int(size) for size in sizes)
    return ImageSize(shape=(t, c, z, y, x), dtype=dtype)


def _images_of(path: Path) -> Mapping[str, ImageMetadata]:
    from parfocal.images.opening import format_of, list_images

    if format_of(path) is None:
        return {}
    images = list_images(path)
    return {image.series: image.metadata for image in images if image.refused is None}
