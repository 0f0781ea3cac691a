"""Assess focus, saturation, background, noise and intensities of an image."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from parfocal.core.step import Context, Port, Step, exact
from parfocal.models.base import Parameters
from parfocal.steps import SUMMARIES

__all__ = ["STEP", "AssessQualityParams"]


class AssessQualityParams(Parameters):
    """Parameters of assess-quality."""

    saturation_level: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="Pixels of at least this value count as saturated, such as 4095 for a camera "
        "of 12 bits; by default the greatest value of an integer type.",
    )


def run(
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    params: AssessQualityParams,
    context: Context,
) -> None:
    """Write the metrics of each plane and each channel.

    Raises
    ------
    InputError
        If the pixels are not real numbers of up to 64 bits.
    """
    from parfocal.analysis.quality import Survey, assess_image
    from parfocal.images import open_image

    with open_image(inputs["image"]) as image:
        for warning in image.warnings:
            context.warn(warning)
        names = tuple(image.metadata.channel_names())
        survey = Survey(
            image=image,
            channels=names,
            block=image.block5,
            saturation=params.saturation_level,
            scheduler=context.scheduler,
            progress=context.progress,
        )
        planes, channels, skipped = assess_image(survey)
    for name, count in zip(names, skipped, strict=True):
        if count:
            context.warn(f"{count} pixels in channel {name} are not finite and left out")
    quality = {
        "format": "parfocal-quality-1",
        "image_id": context.image_id,
        "planes": planes,
        "channels": channels,
    }
    text = json.dumps(quality, indent=1, ensure_ascii=False, allow_nan=False)
    outputs["quality"].write_text(text + "\n", encoding="utf-8")


STEP = Step(
    name="assess-quality",
    version="1",
    summary=SUMMARIES["assess-quality"],
    params=AssessQualityParams,
    inputs=(Port("image", "ome-zarr", "images/{image_id}/image.ome.zarr", "The image."),),
    outputs=(Port("quality", "json", "images/{image_id}/quality.json", "The metrics."),),
    run=run,
    exactness=exact(),
)
