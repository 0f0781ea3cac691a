"""Compare an OME-Zarr with its source, or with an earlier certificate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from parfocal.core.step import Context, Port, Step, exact
from parfocal.errors import InputError, VerificationError
from parfocal.models.base import Parameters
from parfocal.models.number_text import number_as_text
from parfocal.steps import SUMMARIES

__all__ = ["STEP", "VerifyImageParams", "run"]


class VerifyImageParams(Parameters):
    """Which image of the source the result was converted from."""

    series: Annotated[str, BeforeValidator(number_as_text), Field(min_length=1)] | None = Field(
        default=None, description="Which image of the source; the sheet's column comes first."
    )
    axes: Annotated[str, Field(pattern="^[TCZYX]{2,5}$")] | None = Field(
        default=None, description="The axes of a TIFF, as convert-image was told them."
    )


def run(
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    params: VerifyImageParams,
    context: Context,
) -> None:
    """Compare, and write what was found.

    Raises
    ------
    InputError
        If neither source nor certificate is given, or one of them cannot be read.
    VerificationError
        If there is a difference.
    """
    from parfocal.images.proof.verification import check_certificate, read_certificate, verify_image
    from parfocal.models.manifest import primary_path

    if not inputs.keys() & {"source", "certificate"}:
        what = "There is nothing to compare the image with"
        remedy = "Give --source, or --certificate, or both."
        raise InputError(what, where=inputs["image"], remedy=remedy)
    found = []
    if "certificate" in inputs:
        earlier = read_certificate(inputs["certificate"])
        found.append(check_certificate(earlier, inputs["image"], threads=context.threads))
    if "source" in inputs:
        found.append(
            verify_image(
                primary_path(inputs["source"]),
                inputs["image"],
                series=(context.row.series if context.row else "") or params.series or "",
                axes=params.axes,
                threads=context.threads,
                progress=context.progress,
            )
        )
    differences = [str(one) for certificate in found for one in certificate.differences]
    context.details["verdict"] = "different" if differences else found[-1].verdict
    if differences:
        context.details["differences"] = differences
        what = "The image differs from what it is compared with"
        remedy = "Do not use it; convert the source again."
        raise VerificationError(
            what, where=inputs["image"], found="; ".join(differences[:3]), remedy=remedy
        )
    outputs["verification"].write_text(found[-1].as_text(), encoding="utf-8")


STEP = Step(
    name="verify-image",
    version="1",
    summary=SUMMARIES["verify-image"],
    params=VerifyImageParams,
    inputs=(
        Port("image", "ome-zarr", "images/{image_id}/image.ome.zarr", "The OME-Zarr to check."),
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
            "An earlier certificate of the OME-Zarr.",
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
)
