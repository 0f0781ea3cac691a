"""Compare an OME-Zarr or OME-TIFF with its source, or with an earlier certificate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, Field

from parfocal.core.step import Context, Port, Step, exact
from parfocal.errors import InputError
from parfocal.models.base import Parameters
from parfocal.models.number_text import number_as_text
from parfocal.steps import SUMMARIES
from parfocal.steps.convert_image import conclude

if TYPE_CHECKING:
    from parfocal.images.proof.certificate import Certificate, Certificates

__all__ = ["STEP", "VerifyImageParams", "run"]


class VerifyImageParams(Parameters):
    """Which image of the source the result was converted from."""

    series: Annotated[str, BeforeValidator(number_as_text), Field(min_length=1)] | None = Field(
        default=None, description="Which image of the source; the sheet's column comes first."
    )
    all_series: bool = Field(
        default=False, description="Whether all images were converted into one collection."
    )
    axes: Annotated[str, Field(pattern="^[TCZYX]{2,5}$")] | None = Field(
        default=None, description="The axes of the source, as convert-image was told them."
    )
    labels: bool = Field(
        default=False, description="Whether pixels are labels, as convert-image was told."
    )
    reader: Annotated[str, Field(pattern="^[a-z0-9_]+$")] | None = Field(
        default=None, description="Reader that convert-image was told to use."
    )
    second_reader: Annotated[str, Field(pattern="^[a-z0-9_]+$")] | None = Field(
        default=None,
        description="Reader that proves the conversion; the best that is installed if not given, "
        "and none for no proof.",
    )


def run(
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    params: VerifyImageParams,
    context: Context,
) -> None:
    """Compare, and write what was found, differences too.

    Raises
    ------
    InputError
        If neither source nor certificate is given, or one of them cannot be read.
    VerificationError
        If there is a difference.
    """
    from parfocal.images.proof.certificate import read_certificate
    from parfocal.images.proof.check import check_certificate

    if not inputs.keys() & {"source", "certificate"}:
        what = "There is nothing to compare the image with"
        remedy = "Give --source, or --certificate, or both."
        raise InputError(what, where=inputs["image"], remedy=remedy)
    if "certificate" in inputs:
        earlier = read_certificate(inputs["certificate"])
        found = check_certificate(
            earlier, inputs["image"], threads=context.threads, progress=context.progress
        )
        outputs["verification"].write_text(found.as_text(), encoding="utf-8")
        conclude(found, inputs["image"], context)
    if "source" in inputs:
        found = _compare_with_source(inputs, params, context)
        outputs["verification"].write_text(found.as_text(), encoding="utf-8")
        conclude(found, inputs["image"], context)


def _compare_with_source(
    inputs: Mapping[str, Path], params: VerifyImageParams, context: Context
) -> Certificate | Certificates:
    from parfocal.images.proof.collection import verify_collection
    from parfocal.images.proof.verification import ProofOptions, verify_image
    from parfocal.models.manifest import fetched_part, meant_series, primary_path

    stated = (context.row.series if context.row else "") or params.series
    options = ProofOptions(
        series=stated or ("" if params.all_series else meant_series(inputs["source"])),
        axes=params.axes,
        labels=params.labels,
        reader=params.reader,
        second_reader=params.second_reader,
        threads=context.threads,
        fetched=fetched_part(inputs["source"]),
    )
    verify = verify_collection if params.all_series else verify_image
    return verify(
        primary_path(inputs["source"]), inputs["image"], options, progress=context.progress
    )


STEP = Step(
    name="verify-image",
    version="3",
    summary=SUMMARIES["verify-image"],
    params=VerifyImageParams,
    inputs=(
        Port(
            "image",
            "image",
            "images/{image_id}/image.ome.zarr",
            "The OME-Zarr or OME-TIFF to check.",
        ),
        Port(
            "source",
            "file",
            "originals/{source_key}",
            "File, OME-Zarr, or fetched folder that it was converted from.",
            required=False,
        ),
        Port(
            "certificate",
            "json",
            "images/{image_id}/image.certificate.json",
            "An earlier certificate of the image.",
            required=False,
        ),
    ),
    outputs=(
        Port(
            "verification",
            "json",
            "images/{image_id}/image.verification.json",
            "The certificate to write.",
        ),
    ),
    run=run,
    exactness=exact(),
    tells_differences=True,
)
