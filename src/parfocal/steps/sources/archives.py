"""Sources in the IDR and the BioImage Archive: found out where they are, then downloaded."""

from __future__ import annotations

import dataclasses
import os
import shutil
from typing import TYPE_CHECKING

from parfocal.errors import ConfigurationError, InputError
from parfocal.models.manifest import Manifest
from parfocal.models.omero_server import parse_omero_server
from parfocal.models.source import BiaSource, HttpSource, IdrSource, OmeroSource
from parfocal.steps.sources.omero import fetch_omero
from parfocal.steps.sources.order import Order
from parfocal.steps.sources.remote import fetch_remote

if TYPE_CHECKING:
    from parfocal.remote.idr_places import IdrPlaces

__all__ = ["OMERO", "OMERO_VARIABLE", "fetch_bia", "fetch_idr"]

OMERO_VARIABLE = "PARFOCAL_IDR_OMERO_URL"

OMERO = "omero+wss://idr.openmicroscopy.org/omero-ws"
"""The server of the IDR, unless `OMERO_VARIABLE` names another."""

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
    """Download an image of the IDR: its OME-Zarr, else its original file, else its pixels.

    Raises
    ------
    ConfigurationError
        If it is not one image.
    InputError
        If the IDR has it not, or neither OME-Zarr nor file of it is published and omero-py is
        not installed.
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
    return _fetch_from_server(source, places, order)


def _fetch_from_server(source: IdrSource, places: IdrPlaces, order: Order) -> Manifest:
    """Read the pixels from the OMERO server of the IDR, where all may log in."""
    from parfocal.omero.credentials import Credentials
    from parfocal.omero.loading import load_omero

    try:
        load_omero()
    except InputError as error:
        remedy = "Install omero-py, to read its pixels: pip install 'parfocal[omero]'."
        raise _unpublished(source, places, remedy) from error
    server = parse_omero_server(os.environ.get(OMERO_VARIABLE) or OMERO)
    image = OmeroSource(server, "image", int(source.id))
    order.context.details["resolved"] = image.uri
    order.context.warn(f"{source.uri} is published nowhere, and read from {server.uri}")
    if order.pixels == "auto":
        order = dataclasses.replace(order, pixels="raw")
    return fetch_omero(image, order, Credentials("public", "public", "the IDR"))


def _unpublished(source: IdrSource, places: IdrPlaces, remedy: str) -> InputError:
    what = "The image is published neither as OME-Zarr nor as a file of its own"
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
