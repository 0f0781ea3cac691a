"""Convert an image of any readable format to OME-Zarr, and certify the conversion."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from parfocal.core.step import Context, Port, Step, exact
from parfocal.errors import VerificationError
from parfocal.models.number_text import number_as_text
from parfocal.models.zarr_options import ZarrOptions
from parfocal.steps import SUMMARIES

if TYPE_CHECKING:
    from parfocal.images.proof.certificate import Certificate

__all__ = ["STEP", "ConvertImageParams", "run"]


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
    """Write the OME-Zarr, compare it with the source, and write the certificate.

    Raises
    ------
    InputError
        If the source cannot be read, or holds several images and none is stated.
    StorageError
        If the disk does not take the result.
    VerificationError
        If the result differs from the source.
    """
    from parfocal.images import open_image, write_ome_zarr
    from parfocal.images.proof.verification import verify_image
    from parfocal.models.manifest import primary_path

    source = primary_path(inputs["source"])
    series = (context.row.series if context.row else "") or params.series or ""
    with open_image(
        source, series, axes=params.axes, threads=context.threads, reader=params.reader
    ) as image:
        for warning in image.warnings:
            context.warn(warning)
        metadata = image.metadata
        write_ome_zarr(
            outputs["image"],
            metadata,
            image,
            params,
            original_metadata=image.original_metadata,
            threads=context.threads,
            progress=context.progress,
        )
        context.details |= {"reader": image.reader, "shape": list(metadata.shape5)}
    context.details |= {"axes": metadata.axes, "dtype": metadata.dtype}
    certificate = verify_image(
        source, outputs["image"], series=series, axes=params.axes, threads=context.threads
    )
    _conclude(certificate, source, context)
    outputs["certificate"].write_text(certificate.as_text(), encoding="utf-8")


def _conclude(certificate: Certificate, source: Path, context: Context) -> None:
    """Put the verdict on record, and raise if it is bad."""
    context.details["verdict"] = certificate.verdict
    details: dict[str, Any] = {"differences": [str(one) for one in certificate.differences]}
    if certificate.verdict == "different":
        context.details |= details
        what = "The converted image differs from its source"
        found = "; ".join(details["differences"][:3])
        remedy = "Report it with the source: this should not happen."
        raise VerificationError(what, where=source, found=found, remedy=remedy)


STEP = Step(
    name="convert-image",
    version="3",
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
)
