"""Convert an image of any readable format to OME-Zarr or OME-TIFF, and certify the conversion."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field

from parfocal.core.step import Context, Port, Step, exact
from parfocal.errors import ConfigurationError, InputError, VerificationError
from parfocal.models.number_text import number_as_text
from parfocal.models.zarr_options import ZarrOptions
from parfocal.steps import SUMMARIES

if TYPE_CHECKING:
    from parfocal.images import Image, ImageEntry
    from parfocal.images.proof.certificate import Certificate, Certificates
    from parfocal.models.image import ImageMetadata
    from parfocal.models.tiff_options import TiffOptions

__all__ = ["STEP", "ConvertImageParams", "conclude", "run"]

logger = getLogger(__name__)

_DAMAGED = "Take it from a backup, or convert again."
_UNEXPECTED = "Do not use it, and report it with the source: this should not happen."
_TORN = "What an interrupted conversion left was damaged, and is removed: run it again."
_SUFFIXES = {"ome.zarr": (".zarr",), "ome.tiff": (".ome.tiff", ".ome.tif")}
_OME_XML = "METADATA.ome.xml"


class ConvertImageParams(ZarrOptions):
    """Which image to convert, and how to write it."""

    format: Literal["ome.zarr", "ome.tiff"] = Field(
        default="ome.zarr",
        description="What to write; ngff, codec, shard_mib and halve_z are for OME-Zarr only.",
    )
    tiff_codec: Literal["deflate", "zstd", "none"] = Field(
        default="deflate", description="Compression of the tiles of an OME-TIFF, all lossless."
    )
    labels: bool = Field(
        default=False, description="Whether pixels are labels, which are never averaged."
    )
    series: Annotated[str, BeforeValidator(number_as_text), Field(min_length=1)] | None = Field(
        default=None, description="Which image of the source; the sheet's column comes first."
    )
    all_series: bool = Field(
        default=False,
        description="Whether to write all images of the source into one collection.",
    )
    axes: Annotated[str, Field(pattern="^[TCZYX]{2,5}$")] | None = Field(
        default=None,
        description="What the axes longer than 1 are, in their order, such as TZYX; only where "
        "the file does not say.",
    )
    reader: Annotated[str, Field(pattern="^[a-z0-9_]+$")] | None = Field(
        default=None,
        description="Reader to use, such as bioformats; the one for the format if not given.",
    )
    second_reader: Annotated[str, Field(pattern="^[a-z0-9_]+$")] | None = Field(
        default=None,
        description="Reader that proves the conversion; the best that is installed if not given, "
        "and none for no proof.",
    )


def run(
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    params: ConvertImageParams,
    context: Context,
) -> None:
    """Write the result, compare it with the source, and write the certificate.

    Raises
    ------
    InputError
        If the source cannot be read, holds several images and none is stated, or the format
        cannot hold it.
    StorageError
        If the disk does not take the result.
    VerificationError
        If the result differs from the source.
    """
    from parfocal.images.opening import list_images
    from parfocal.models.manifest import meant_series, primary_path

    source, target = primary_path(inputs["source"]), outputs["image"]
    _check_name(target, params)
    stated = (context.row.series if context.row else "") or params.series
    series = stated or ("" if params.all_series else meant_series(inputs["source"]))
    if params.all_series and series:
        what = "One image and all images are asked for at once"
        remedy = "Leave out series, or all_series."
        raise ConfigurationError(what, where=source, found=f"series {series}", remedy=remedy)
    for name in _without_effect(params):
        context.warn(f"{name} is set, but has no effect on {_written(params)}")
    entries = list_images(source, axes=params.axes, reader=params.reader)
    if params.all_series:
        _convert_all(source, target, entries, params, context)
    else:
        _convert_one(source, target, series, params, context)
    certificate = _prove(inputs["source"], target, series, entries, params, context)
    remedy = _TORN if "resumed_shards" in context.details else _UNEXPECTED
    conclude(certificate, source, context, remedy=remedy)
    context.digests[target] = certificate.result_digest
    outputs["certificate"].write_text(certificate.as_text(), encoding="utf-8")


def _check_name(target: Path, params: ConvertImageParams) -> None:
    suffixes = _SUFFIXES[params.format]
    if not target.name.lower().endswith(suffixes):
        what = "The name of the image does not fit its format"
        other = next(name for name in _SUFFIXES if name != params.format)
        remedy = f"Name it so, or set format={other}."
        expected = f"a name that ends in {' or '.join(suffixes)} for format {params.format}"
        raise ConfigurationError(
            what, where="--image", expected=expected, found=target.name, remedy=remedy
        )


def _without_effect(params: ConvertImageParams) -> list[str]:
    """Return the parameters that differ from their defaults and say nothing of this format."""
    if params.format == "ome.tiff":
        names = ["ngff", "codec", "shard_mib", "halve_z"]
    else:
        names = ["tiff_codec", *(["shard_mib"] if params.ngff == "0.4" else [])]
    fields = ConvertImageParams.model_fields
    return [name for name in names if getattr(params, name) != fields[name].default]


def _written(params: ConvertImageParams) -> str:
    return "an OME-TIFF" if params.format == "ome.tiff" else f"an OME-Zarr {params.ngff}"


def _convert_one(
    source: Path, target: Path, series: str, params: ConvertImageParams, context: Context
) -> None:
    """Write one image."""
    from parfocal import images
    from parfocal.images.writers.ome_tiff import write_ome_tiff

    with _open(source, series, params, context) as image:
        _check_pixels(image.metadata, source, params)
        metadata = image.metadata
        context.details |= {"reader": image.reader, "shape": list(metadata.shape5)}
        context.details |= {"axes": metadata.axes, "dtype": metadata.dtype}
        if params.format == "ome.tiff":
            written = write_ome_tiff(
                target,
                [(metadata, image)],
                _tiff_options(params),
                labels=params.labels,
                original_metadata=image.original_metadata,
                threads=context.threads,
                progress=context.progress,
            )
            _tell_narrowed([metadata], written, context)
            return
        made = images.write_ome_zarr(
            target,
            metadata,
            image,
            params,
            labels=params.labels,
            original_metadata=_with_ome_xml(image),
            threads=context.threads,
            scheduler=context.distributed,
            progress=context.progress,
            resume=True,
        )
        context.details["recompressed"] = made.recompressed
        if made.kept:
            context.details["resumed_shards"] = made.kept


def _convert_all(
    source: Path,
    target: Path,
    entries: list[ImageEntry],
    params: ConvertImageParams,
    context: Context,
) -> None:
    """Write all images of a source into one collection."""
    from parfocal.images.writers.collection import write_collection
    from parfocal.images.writers.ome_plate import ome_plate
    from parfocal.images.writers.ome_tiff import write_ome_tiff

    for entry in entries:
        _check_pixels(entry.metadata, source, params)
    context.details |= {"images": len(entries)}
    texts: dict[str, bytes] = {}  # grows as images are opened, and is written at the end

    def open_one(series: str) -> Image:
        image = _open(source, series, params, context)
        _add_originals(texts, names.index(series), image)
        return image

    names = [entry.series for entry in entries]
    if params.format == "ome.zarr":
        write_collection(
            target,
            entries,
            open_one,
            params,
            labels=params.labels,
            original_metadata=texts,
            threads=context.threads,
            scheduler=context.distributed,
            progress=context.progress,
            resume=True,
        )
        return
    with ExitStack() as opened:
        images = [opened.enter_context(open_one(series)) for series in names]
        written = write_ome_tiff(
            target,
            [(image.metadata, image) for image in images],
            _tiff_options(params),
            labels=params.labels,
            original_metadata=texts,
            plate=ome_plate(entries),
            threads=context.threads,
            progress=context.progress,
        )
    _tell_narrowed([image.metadata for image in images], written, context)


def _open(source: Path, series: str, params: ConvertImageParams, context: Context) -> Image:
    """Open an image, and put on record what its reader warns of."""
    from parfocal.images import open_image

    image = open_image(
        source, series, axes=params.axes, threads=context.threads, reader=params.reader
    )
    for warning in image.warnings:
        if warning not in context.warnings:
            context.warn(warning)
    context.details["reader"] = image.reader
    return image


def _check_pixels(metadata: ImageMetadata, source: Path, params: ConvertImageParams) -> None:
    """Refuse what the result cannot hold, before any work is done."""
    if params.labels and metadata.dtype.startswith("float"):
        what = "Labels are whole numbers"
        remedy = "Leave out labels, or save the labels as integers."
        raise InputError(what, where=source, found=metadata.dtype, remedy=remedy)
    if params.format == "ome.tiff":
        from parfocal.images.writers.ome_tiff import check_ome_tiff

        _tiff_options(params)
        check_ome_tiff(metadata, source, labels=params.labels)


def _tiff_options(params: ConvertImageParams) -> TiffOptions:
    from parfocal.models.tiff_options import TiffOptions

    if params.chunk_px % 16:
        what = "The tiles of a TIFF have sides that are multiples of 16"
        remedy = "Set chunk_px to one, such as 512."
        raise ConfigurationError(what, where="chunk_px", found=params.chunk_px, remedy=remedy)
    return TiffOptions(codec=params.tiff_codec, level=params.level, tile_px=params.chunk_px)


def _with_ome_xml(image: Image) -> dict[str, bytes]:
    """Return the texts of an image, with an OME-XML if there is none among them."""
    from parfocal.images.writers.ome_xml import ome_xml

    texts = dict(image.original_metadata)
    texts.setdefault(_OME_XML, ome_xml([image.metadata], tiff=False))
    return texts


def _add_originals(texts: dict[str, bytes], number: int, image: Image) -> None:
    """Add the texts of an image; those of a name that is there get the image's number."""
    for name, content in image.original_metadata.items():
        if texts.setdefault(name, content) != content:
            texts[f"{number}.{name}"] = content


def _tell_narrowed(
    before: list[ImageMetadata], after: list[ImageMetadata], context: Context
) -> None:
    """Put on record that labels of 64 bits are stored in 32, where all of them fit."""
    narrowed = sorted(
        {one.dtype for one, other in zip(before, after, strict=False) if one != other}
    )
    if narrowed:
        context.details["narrowed_from"] = narrowed
        context.warn(f"Labels of {', '.join(narrowed)} are stored as uint32, into which all fit")


def _prove(
    given: Path,
    target: Path,
    series: str,
    entries: list[ImageEntry],
    params: ConvertImageParams,
    context: Context,
) -> Certificate | Certificates:
    """Read source and result again, and compare them."""
    from parfocal.images.proof.collection import verify_collection
    from parfocal.images.proof.verification import ProofOptions, verify_image
    from parfocal.models.manifest import fetched_part, primary_path

    source = primary_path(given)
    options = ProofOptions(
        series=series,
        axes=params.axes,
        labels=params.labels,
        reader=params.reader,
        second_reader=params.second_reader,
        threads=context.threads,
        fetched=fetched_part(given),
    )
    if params.all_series:
        return verify_collection(source, target, options, entries=entries)
    return verify_image(source, target, options, entries=entries)


def conclude(
    certificate: Certificate | Certificates,
    where: Path,
    context: Context,
    *,
    remedy: str = _DAMAGED,
) -> None:
    """Put the verdict on record, log it, and raise if it is bad; `remedy` says what to do then.

    Raises
    ------
    VerificationError
        If source and result differ.
    """
    from parfocal.images.proof.second_reader import READERS_DISAGREE

    context.details["verdict"] = certificate.verdict
    if certificate.verdict == "verified":
        logger.info("verified by %s", certificate.proven_by)
        return
    if certificate.verdict == "self-consistent":
        context.details["reason"] = certificate.reason
        logger.info("self-consistent: %s", certificate.reason)
        return
    context.details["differences"] = [str(one) for one in certificate.differences]
    what = "The image differs from what it is compared with"
    found = "; ".join(context.details["differences"][:3])
    if any(one.what == READERS_DISAGREE for one in certificate.differences):
        remedy = (
            "Look at the image: set reader=bioformats to convert what the other reader sees, or "
            "second_reader=none to do without it."
        )
    raise VerificationError(what, where=where, found=found, remedy=remedy)


STEP = Step(
    name="convert-image",
    version="6",
    summary=SUMMARIES["convert-image"],
    params=ConvertImageParams,
    inputs=(
        Port("source", "file", "originals/{source_key}", "File, OME-Zarr, or fetched folder."),
    ),
    outputs=(
        Port("image", "image", "images/{image_id}/image.{format}", "The OME-Zarr or OME-TIFF."),
        Port(
            "certificate",
            "json",
            "images/{image_id}/image.certificate.json",
            "The certificate to write.",
        ),
    ),
    run=run,
    exactness=exact(),
    resumable=True,
)
