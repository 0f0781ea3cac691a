"""Rows of the sample sheet for images that are not on this machine."""

from __future__ import annotations

from collections.abc import Iterator

from parfocal.errors import ConfigurationError
from parfocal.models.naming import image_id_of
from parfocal.models.sheet import Row
from parfocal.models.source import HttpSource, S3Source, Source, parse_source
from parfocal.steps.sources.inquiry import Inquiry
from parfocal.steps.sources.listers import LISTERS

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
    lister = LISTERS.get(type(source))
    if lister is None:
        what = "Sources of this kind are not yet supported in this version"
        raise ConfigurationError(what, where=source.uri, remedy="Name images by paths or URLs.")
    for image in lister(source, inquiry):
        draft = Row(
            image_id=image_id_of(image.name, image.source, at_home=False),
            name=image.name,
            source=image.source,
            plate=image.plate,
            well=image.well,
            field=image.field,
            **image.columns,
        )
        place = parse_source(image.source)
        if isinstance(place, HttpSource | S3Source) and image.source.endswith(".zarr"):
            yield from rows_of_url(draft, place)
        else:
            yield draft


def rows_of_url(draft: Row, source: HttpSource | S3Source) -> Iterator[Row]:
    """Return a row for each image of the file or OME-Zarr that a draft of a row names.

    Raises
    ------
    InputError, RemoteError
        If the OME-Zarr is not valid, or the server does not answer.
    """
    from parfocal.remote.fetch import list_remote_images

    images = list_remote_images(source)
    if images is None or len(images) == 1:
        yield draft
        return
    for image in images:
        yield draft.model_copy(
            update={
                "image_id": image_id_of(draft.image_id, draft.source, series=image.path),
                "name": f"{draft.name or source.name} [{image.path}]",
                "source": f"{source.uri}/{image.path}",
                "plate": image.plate or draft.plate,
                "well": image.well or draft.well,
                "field": image.field or draft.field,
            }
        )
