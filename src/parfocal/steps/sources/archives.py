"""Sources in the IDR and the BioImage Archive: found out where they are, then downloaded."""

from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING

from parfocal.errors import ConfigurationError, InputError
from parfocal.models.manifest import Manifest
from parfocal.models.source import BiaSource, HttpSource, IdrSource
from parfocal.steps.sources.order import Order
from parfocal.steps.sources.remote import fetch_remote

if TYPE_CHECKING:
    from parfocal.remote.idr_places import IdrPlaces

__all__ = ["fetch_bia", "fetch_idr"]

_LIST = "Let 'parfocal list-images' write a row for each image in it."


def fetch_bia(source: BiaSource, order: Order) -> Manifest:
    """Download a file or an OME-Zarr of a study of the BioImage Archive.

    Raises
    ------
    ConfigurationError
        If it is a whole study.
    InputError, RemoteError, VerificationError
        As `fetch_remote`.
    """
    from parfocal.remote.bia import locate

    if not source.path:
        what = "A source must be one image, not a study"
        raise ConfigurationError(what, where=order.text, remedy=_LIST)
    return _download(locate(source), order)


def fetch_idr(source: IdrSource, order: Order) -> Manifest:
    """Download an image of the IDR: its OME-Zarr, or else its original file.

    Raises
    ------
    ConfigurationError
        If it is not one image.
    InputError
        If the IDR has it not, or neither OME-Zarr nor file of it is published.
    RemoteError, VerificationError
        As `fetch_remote`.
    """
    from parfocal.remote.idr_places import find_places, find_zarr

    if source.kind == "zarr":
        return _download(find_zarr(source), order)
    if source.kind != "image":
        what = f"A source must be one image, not a {source.kind}"
        raise ConfigurationError(what, where=order.text, remedy=_LIST)
    places = find_places(source)
    if places.zarr:
        return _download(places.zarr, order)
    if places.file and not order.part:
        manifest = _download(places.file, order)
        count = _count_images(manifest, order)
        if count == 1:
            return manifest
        _empty(order)
        told = f"{places.file.url} holds {count} images"
        places = dataclasses.replace(places, tried=(*places.tried, told))
    raise _unpublished(source, places)


def _unpublished(source: IdrSource, places: IdrPlaces) -> InputError:
    what = "The image is published neither as OME-Zarr nor as a file of its own"
    remedy = "List the file by its URL, and choose the image by its series."
    found = "; ".join(places.tried) or "nothing"
    return InputError(what, where=source.uri, found=found, remedy=remedy)


def _download(source: HttpSource, order: Order) -> Manifest:
    order.context.details["resolved"] = source.url
    return fetch_remote(source, order)


def _count_images(manifest: Manifest, order: Order) -> int:
    from parfocal.images import list_images

    return len(list_images(manifest.primary_path(order.folder)))


def _empty(order: Order) -> None:
    shutil.rmtree(order.folder)
    order.folder.mkdir()
