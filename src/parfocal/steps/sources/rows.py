"""Rows of the sample sheet for images that are not on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from parfocal.core.step import Context
from parfocal.errors import ConfigurationError
from parfocal.models.found_image import FoundImage
from parfocal.models.naming import image_id_of
from parfocal.models.sheet import Row
from parfocal.models.source import HttpSource, S3Source, Source, parse_source
from parfocal.steps.sources.inquiry import Inquiry
from parfocal.steps.sources.listers import LISTERS

if TYPE_CHECKING:
    from parfocal.remote.tree import RemoteImage

__all__ = ["rows_of_archive", "rows_of_url"]


def rows_of_archive(source: Source, inquiry: Inquiry) -> Iterator[Row]:
    """Return a row for each image that an archive, a bucket or a server has at a source.

    Raises
    ------
    ConfigurationError
        If sources of this kind cannot be listed.
    InputError, RemoteError
        If there is no such source, or the archive does not answer.
    """
    from parfocal.remote.listing import list_remote_images

    lister = LISTERS.get(type(source))
    if lister is None:
        what = "Sources of this kind are not yet supported in this version"
        raise ConfigurationError(what, where=source.uri, remedy="Name images by paths or URLs.")
    found = list(lister(source, inquiry))
    places = {image.source: place for image in found if (place := _place_of_zarr(image))}
    # One that is damaged must not end the listing of all others.
    listed = list_remote_images(list(places.values()), keep_damaged=True)
    inside = dict(zip(places, listed, strict=True))
    rows: list[Row] = []
    for image in found:
        images = inside.get(image.source)
        draft = Row(
            image_id=image_id_of(image.name, image.source, at_home=False),
            name=image.name,
            source=image.source,
            plate=image.plate,
            well=image.well,
            field=image.field,
            **image.columns,
        )
        rows += _rows_inside(draft, image.source, images)
    _tell_unknown(inside, inquiry.context)
    yield from rows


def _place_of_zarr(image: FoundImage) -> HttpSource | S3Source | None:
    """Return where the OME-Zarr of an image lies; None where it is something else."""
    place = parse_source(image.location or image.source)
    is_zarr = image.location or image.source.endswith(".zarr")
    return place if is_zarr and isinstance(place, HttpSource | S3Source) else None


def rows_of_url(draft: Row, source: HttpSource | S3Source, context: Context) -> Iterator[Row]:
    """Return a row for each image of the file or OME-Zarr that a draft of a row names.

    Raises
    ------
    InputError, RemoteError
        If the OME-Zarr is not valid, or the server does not answer.
    """
    from parfocal.remote.listing import list_remote_images

    (images,) = list_remote_images([source])
    _tell_unknown({source.uri: images}, context)
    yield from _rows_inside(draft, source.uri, images)


def _rows_inside(draft: Row, uri: str, images: Sequence[RemoteImage] | None) -> Iterator[Row]:
    """Yield a row for each image of an OME-Zarr; what the draft has in a column stays."""
    if images is None:
        yield draft
        return
    for image in images:
        known = {key: value for key, value in image.columns.items() if not draft.free.get(key)}
        if len(images) == 1:
            yield draft.model_copy(update=known)
            continue
        place = {
            "image_id": image_id_of(draft.image_id, draft.source, series=image.path),
            "name": f"{draft.name or parse_source(draft.source).name} [{image.path}]",
            "source": f"{uri}/{image.path}",
            "plate": image.plate or draft.plate,
            "well": image.well or draft.well,
            "field": image.field or draft.field,
        }
        yield draft.model_copy(update=known | place)


def _tell_unknown(found: Mapping[str, Sequence[RemoteImage] | None], context: Context) -> None:
    """Tell of images of OME-Zarrs whose sizes nobody knows."""
    unknown = [
        f"{uri}/{image.path}".rstrip("/")
        for uri, images in found.items()
        for image in images or ()
        if not image.columns
    ]
    context.warn_of("image(s) of OME-Zarrs have missing or damaged metadata", unknown)
