"""Step ``assemble-image``: an image and its label image in one OME-Zarr."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from parfocal.core.step import Context, Port, Step, exact
from parfocal.models.base import Parameters
from parfocal.models.label_name import LabelName
from parfocal.steps import SUMMARIES

__all__ = ["STEP", "AssembleImageParams", "run"]


class AssembleImageParams(Parameters):
    """Which label image to join with its image."""

    label_name: LabelName = "nuclei"


def run(
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    params: AssembleImageParams,
    context: Context,
) -> None:
    """Join image and label image; their chunks are shared by hard links where that can be.

    The result is then opened by ome-zarr-py, the reference implementation.

    Raises
    ------
    InputError
        If they do not fit together.
    VerificationError
        If ome-zarr-py does not find image and label image in the result.
    """
    from parfocal.images.writers.assemble import assemble
    from parfocal.images.writers.delivery import check_opens
    from parfocal.images.writers.sharing import tell_copies

    counts = assemble(
        inputs["image"], inputs["labels"], params.label_name, outputs["assembled"], context.progress
    )
    context.details |= counts
    context.details["opened_by"] = check_opens(outputs["assembled"], params.label_name)
    tell_copies(counts, context.warn)


STEP = Step(
    name="assemble-image",
    version="1",
    summary=SUMMARIES["assemble-image"],
    params=AssembleImageParams,
    inputs=(
        Port("image", "ome-zarr", "images/{image_id}/image.ome.zarr", "Image."),
        Port(
            "labels",
            "ome-zarr",
            "images/{image_id}/labels/{label_name}.ome.zarr",
            "Label image of it.",
        ),
    ),
    outputs=(
        Port(
            "assembled",
            "ome-zarr",
            "images/{image_id}/assembled.ome.zarr",
            "Image with its label image below labels/.",
        ),
    ),
    run=run,
    exactness=exact(),
)
