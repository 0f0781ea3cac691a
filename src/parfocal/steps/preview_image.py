"""Draw a preview of an image, and of its objects: one PNG."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from parfocal.core.step import Context, Port, Step, exact
from parfocal.errors import ConfigurationError
from parfocal.models.base import Parameters
from parfocal.models.image import ImageMetadata
from parfocal.models.label_name import LabelName
from parfocal.steps import SUMMARIES

if TYPE_CHECKING:
    from parfocal.core.blocks import Readable
    from parfocal.images import Image
    from parfocal.report.thumbnail import Drawing

__all__ = ["STEP", "PreviewImageParams"]


class PreviewImageParams(Parameters):
    """Parameters of preview-image."""

    label_name: LabelName = "nuclei"
    edge_px: int = Field(
        default=768,
        ge=16,
        le=2048,
        description="The longer edge of the preview. Smaller images are enlarged by a whole "
        "factor, as far as they fit.",
    )
    channels: tuple[int | str, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=6,
        description="Indices or names of the channels to show; null for the first six, and for RGB "
        "as it is.",
    )
    plane: int | None = Field(
        default=None,
        ge=0,
        description="Index of the plane, from 0; null for the maximum along Z or, with labels, the "
        "plane of which objects cover most.",
    )
    time_point: int = Field(default=0, ge=0, description="Index of the time point, from 0.")
    low_percentile: float = Field(
        default=0.5,
        ge=0,
        le=100,
        description="Which percentile of the pixels of a channel is drawn darkest. RGB is drawn as "
        "it is.",
    )
    high_percentile: float = Field(
        default=99.8, ge=0, le=100, description="Which one is drawn brightest."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.low_percentile >= self.high_percentile:
            msg = (
                f"low_percentile ({self.low_percentile:g}) must lie below high_percentile "
                f"({self.high_percentile:g})"
            )
            raise ValueError(msg)
        return self


def run(
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    params: PreviewImageParams,
    context: Context,
) -> None:
    """Draw the image as the report shows it, with the outlines of its objects where given.

    Raises
    ------
    InputError
        If there is no such channel, plane or time point, or the label image has another shape
        than the image or does not hold labels.
    """
    from parfocal.analysis.measure import check_labels
    from parfocal.images import open_image
    from parfocal.report.drawing import with_outlines
    from parfocal.report.png import write_png

    with ExitStack() as stack:
        opened = {
            name: stack.enter_context(open_image(path, threads=context.threads))
            for name, path in inputs.items()
        }
        for one in opened.values():
            for warning in one.warnings:
                context.warn(warning)
        image, labels = opened["image"], opened.get("labels")
        if labels is not None:
            check_labels(image, labels)
        drawing = _draw(image, labels, params, context)
    pixels = drawing.pixels
    if drawing.outlines is not None:
        pixels = with_outlines(pixels, drawing.outlines)
    outputs["preview"].write_bytes(write_png(pixels))
    context.details |= _tell(drawing, image.metadata, params)
    shown, present = len(drawing.indices), image.metadata.size("C")
    if params.channels is None and shown < present:
        context.warn(f"The image has {present} channels, and the first {shown} are shown")


def _draw(
    image: Image, labels: Image | None, params: PreviewImageParams, context: Context
) -> Drawing:
    from parfocal.report.levels import level_of_size, pick_level, shrink
    from parfocal.report.thumbnail import Look, draw

    metadata, edge_px = image.metadata, params.edge_px
    look = Look(
        edge_px=edge_px,
        channels=_channels(metadata, params),
        plane=None if params.plane is None else _index(metadata, "Z", "plane", params.plane),
        time_point=_index(metadata, "T", "time_point", params.time_point),
        percentiles=(params.low_percentile, params.high_percentile),
    )
    levels: tuple[Readable, ...] = image.pyramid
    if look.plane is not None:  # which is itself only where no planes were put together
        levels = tuple(level for level in levels if level.shape5[2] == image.shape5[2])
    level, outlined = levels[pick_level(levels, edge_px)], None
    if labels is not None:
        same = level_of_size(labels.pyramid, level, edge_px)
        outlined = shrink(same, edge_px, labels.block5[3:], labels=True)
    shown = shrink(level, edge_px, image.block5[3:])
    return draw(metadata, shown, outlined, look, context.progress)


def _channels(metadata: ImageMetadata, params: PreviewImageParams) -> tuple[int, ...] | None:
    """Return the indices of the channels that are chosen."""
    from parfocal.analysis.channels import find_channel

    if params.channels is None:
        return None
    chosen = tuple(find_channel(metadata, channel) for channel in params.channels)
    twice = [name for n, name in enumerate(params.channels) if chosen[n] in chosen[:n]]
    if twice:
        what = "A channel is chosen twice"
        remedy = "Name each channel once."
        raise ConfigurationError(what, where="channels", found=repr(twice[0]), remedy=remedy)
    return chosen


def _index(metadata: ImageMetadata, axis: str, name: str, wanted: int) -> int:
    """Return an index that the image has."""
    size = metadata.size(axis)
    if wanted >= size:
        what = f"The image has no such {name.replace('_', ' ')}"
        expected = f"0 to {size - 1}"
        where = f"{metadata.name}, {name}"
        raise ConfigurationError(what, where=where, expected=expected, found=wanted)
    return wanted


def _tell(drawing: Drawing, metadata: ImageMetadata, params: PreviewImageParams) -> dict[str, Any]:
    """Return what is shown, for the record."""
    height, width = drawing.pixels.shape[:2]
    return {
        "height_px": height,
        "width_px": width,
        "channels": [channel.name for channel in drawing.channels],
        "colors": [channel.color for channel in drawing.channels],
        "plane": drawing.plane,
        "planes_of_image": metadata.size("Z"),
        "time_point": params.time_point,
        "time_points_of_image": metadata.size("T"),
    }


STEP = Step(
    name="preview-image",
    version="1",
    summary=SUMMARIES["preview-image"],
    params=PreviewImageParams,
    inputs=(
        Port("image", "ome-zarr", "images/{image_id}/image.ome.zarr", "The image."),
        Port(
            "labels",
            "ome-zarr",
            "images/{image_id}/labels/{label_name}.ome.zarr",
            "Its label image, whose outlines are drawn.",
            required=False,
        ),
    ),
    outputs=(Port("preview", "png", "images/{image_id}/preview.png", "The preview."),),
    run=run,
    exactness=exact(),
)
