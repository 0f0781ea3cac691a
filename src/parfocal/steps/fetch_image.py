"""Step ``fetch-image``: have the originals of a source at hand, with a manifest of digests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from parfocal.core.publish import remove_tree, write_json
from parfocal.core.step import Context, Port, Step, exact
from parfocal.errors import ConfigurationError
from parfocal.models.base import Parameters
from parfocal.models.image_part import PixelRegion
from parfocal.models.manifest import MANIFEST_NAME, Manifest
from parfocal.models.sheet import Row
from parfocal.models.source import (
    BiaSource,
    HttpSource,
    IdrSource,
    LocalSource,
    OmeroSource,
    S3Source,
    parse_source,
)
from parfocal.models.strangers import refuse_local_source
from parfocal.steps import SUMMARIES
from parfocal.steps.sources.archives import fetch_bia, fetch_idr
from parfocal.steps.sources.local import fetch_local, state_of_local
from parfocal.steps.sources.omero import fetch_omero
from parfocal.steps.sources.order import Order, Part, PixelOrigin
from parfocal.steps.sources.remote import fetch_remote

__all__ = ["STEP", "FetchImageParams", "run"]

_FETCHERS: dict[type, Callable[[Any, Order], Manifest]] = {
    LocalSource: fetch_local,
    HttpSource: fetch_remote,
    S3Source: fetch_remote,
    IdrSource: fetch_idr,
    BiaSource: fetch_bia,
    OmeroSource: fetch_omero,
}
"""How each kind of source is fetched: ``fetcher(source, order)`` fills the folder of the order."""

_GONE_ON_WITH = (HttpSource, S3Source, IdrSource, BiaSource, OmeroSource)
"""Sources of which a fetcher takes up what an interrupted attempt left in the folder."""


class FetchImageParams(Parameters):
    """What to fetch."""

    source: str | None = Field(
        default=None,
        min_length=1,
        description="Path or URI of the image; only where no sample sheet says it.",
    )
    level: int | None = Field(
        default=None,
        ge=0,
        description="Resolution to fetch alone, of an OME-Zarr or of an image on an OMERO server; "
        "0 for the full one, null for all.",
    )
    max_pixel_um: float | None = Field(
        default=None,
        gt=0,
        description="In place of level: the coarsest one whose pixels are not larger than this.",
    )
    region: PixelRegion | None = Field(
        default=None,
        description="Part of such an image to fetch, [start, stop] along axes, in pixels of the "
        "level; null for the whole.",
    )
    pixels: PixelOrigin = Field(
        default="auto",
        description="Of images on OMERO servers: the original file, the raw pixels, or the file "
        "where it holds this image alone and can be read, else the pixels.",
    )
    attachments: bool = Field(
        default=False,
        description="Whether to fetch the files that are attached to an image on an OMERO server "
        "too, and its tables as Parquet.",
    )

    @model_validator(mode="after")
    def _one_level(self) -> Self:
        if self.level is not None and self.max_pixel_um is not None:
            msg = "level and max_pixel_um exclude each other"
            raise ValueError(msg)
        return self


def run(
    inputs: Mapping[str, Path],  # noqa: ARG001
    outputs: Mapping[str, Path],
    params: FetchImageParams,
    context: Context,
) -> None:
    """Write the folder of originals: local files stay in place, remote ones are downloaded.

    Raises
    ------
    ConfigurationError
        If there is no source, it is not valid or not one image, the parameter and the sample
        sheet name different ones, or a part is wanted of what comes as a whole; in Galaxy also
        if the source is a path.
    InputError
        If a local source is missing, may not be read, or is a folder but no OME-Zarr.
    RemoteError
        If a remote one cannot be downloaded.
    VerificationError
        If a download is not what the sample sheet announces.
    """
    text = _source(params, context.row)
    source = parse_source(text)
    folder = outputs["original"]
    part = Part(params.level, params.max_pixel_um, params.region)
    if part or not isinstance(source, _GONE_ON_WITH):
        remove_tree(folder)
    folder.mkdir(exist_ok=True)
    manifest = _fetcher(source)(
        source, Order(text, folder, part, context, params.pixels, params.attachments)
    )
    write_json(folder / MANIFEST_NAME, manifest.model_dump(exclude_none=True))
    context.details["bytes"] = sum(file.size_bytes for file in manifest.files)


def _fetcher(source: Any) -> Callable[[Any, Order], Manifest]:
    if type(source) in _FETCHERS:
        return _FETCHERS[type(source)]
    what = "Sources of this kind are not yet supported in this version"
    remedy = "Download the image first, and name its path."
    raise ConfigurationError(what, where=source.uri, remedy=remedy)


def _source(params: FetchImageParams, row: Row | None) -> str:
    stated = row.source if row else None
    if params.source and stated and params.source != stated:
        what = "The parameter 'source' and the sample sheet name different sources"
        where = f"image {row.image_id}" if row else None
        remedy = "Leave out the parameter: in a batch each image has the source of its row."
        found = repr(params.source)
        raise ConfigurationError(
            what, where=where, expected=repr(stated), found=found, remedy=remedy
        )
    text = params.source or stated
    if text is None:
        what = "There is no source to fetch"
        remedy = "Set the parameter 'source', or give a sample sheet."
        raise ConfigurationError(what, where="parameter source", remedy=remedy)
    refuse_local_source(text)
    return text


def _state(params: FetchImageParams, row: Row | None) -> str:
    """Say whether a local source changed; what lies elsewhere is taken to stay the same."""
    text = _source(params, row)
    source = parse_source(text)
    return state_of_local(source) if isinstance(source, LocalSource) else text


STEP = Step(
    name="fetch-image",
    version="2",
    summary=SUMMARIES["fetch-image"],
    params=FetchImageParams,
    inputs=(),
    outputs=(
        Port(
            "original",
            "folder",
            "originals/{source_key}",
            "Folder of the originals with their manifest.",
        ),
    ),
    run=run,
    exactness=exact(),
    state=_state,
    resumable=True,
)
