"""List what sources in object stores and archives hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from parfocal.models.found_image import FoundImage
from parfocal.models.source import BiaSource, IdrSource, OmeroSource, S3Source
from parfocal.steps.sources.inquiry import Inquiry
from parfocal.steps.sources.omero import list_omero_images

__all__ = ["LISTERS"]


def list_s3(source: S3Source, inquiry: Inquiry) -> list[FoundImage]:
    """Return the files and OME-Zarrs below a prefix; or what lies there itself."""
    from parfocal.images.candidates import is_image_name
    from parfocal.remote.bucket import list_keys
    from parfocal.remote.listing import is_remote_zarr

    if source.key and is_remote_zarr(source):
        return [FoundImage(source.uri, source.name, location=source.uri)]
    found, ignored = [], []
    for item in list_keys(source, recursive=inquiry.recursive):
        name = item.key.rpartition("/")[2]
        if not (item.is_zarr or is_image_name(name)):
            ignored.append(item.key)
        elif inquiry.wants(name):
            size = {} if item.size_bytes is None else {"size_bytes": str(item.size_bytes)}
            found.append(FoundImage(S3Source(source.bucket, item.key).uri, name, columns=size))
    inquiry.context.warn_of("file(s) that are not images were ignored", ignored)
    return found or ([FoundImage(source.uri, source.name)] if _is_file(source) else [])


def _is_file(source: S3Source) -> bool:
    return "." in source.name and bool(source.key)


def list_idr(source: IdrSource, inquiry: Inquiry) -> list[FoundImage]:
    """Return the images of a study, container or plate of the IDR."""
    from parfocal.remote import idr, idr_places

    if source.kind == "zarr":
        place = idr_places.find_zarr(source).url
        return [FoundImage(source.uri, source.name, location=place)]
    return idr.list_idr(source, inquiry.context, inquiry.wants)


def list_bia(source: BiaSource, inquiry: Inquiry) -> list[FoundImage]:
    """Return the images of a study of the BioImage Archive.

    Where no file fits, they are the OME-Zarrs that the archive made.
    """
    from parfocal.images.candidates import is_image_name
    from parfocal.remote.bia import list_study

    ignored: list[str] = []

    def is_wanted(path: str) -> bool:
        name = path.rpartition("/")[2]
        if not (name.endswith(".zarr") or is_image_name(name)):
            ignored.append(path)
            return False
        return inquiry.wants(name)

    files, zarrs = list_study(source, is_wanted)
    inquiry.context.warn_of("file(s) that are not images were ignored", ignored)
    if files and zarrs:
        inquiry.context.warn(
            f"{source.uri}: the archive has {len(zarrs)} OME-Zarrs too, made from files of the "
            f"study, such as {zarrs[0].source}: list those by their URLs"
        )
    return files or zarrs


LISTERS: dict[type, Callable[[Any, Inquiry], Iterable[FoundImage]]] = {
    S3Source: list_s3,
    IdrSource: list_idr,
    BiaSource: list_bia,
    OmeroSource: list_omero_images,
}
"""How each kind of source is expanded into images: ``lister(source, inquiry)``."""
