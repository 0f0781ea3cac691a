"""Measure size, position, shape and intensity of each object of a label image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from parfocal.core.step import Context, Port, Step, exact
from parfocal.models.base import Parameters
from parfocal.models.image import ImageMetadata
from parfocal.models.label_name import LabelName
from parfocal.steps import SUMMARIES

__all__ = ["STEP", "MeasureObjectsParams"]


class MeasureObjectsParams(Parameters):
    """Parameters of measure-objects."""

    label_name: LabelName = "nuclei"


def run(
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    params: MeasureObjectsParams,
    context: Context,
) -> None:
    """Write the table of the objects of one label image.

    Raises
    ------
    InputError
        If the label image has another shape than the image or does not hold labels.
    """
    from parfocal.analysis.columns import object_columns
    from parfocal.analysis.measure import Task, check_labels, measure_objects
    from parfocal.analysis.table import TableWriter
    from parfocal.images import open_image

    with open_image(inputs["image"]) as image, open_image(inputs["labels"]) as labels:
        for warning in (*image.warnings, *labels.warnings):
            context.warn(warning)
        check_labels(image, labels)
        metadata = image.metadata
        task = Task(
            image=image,
            labels=labels,
            channels=tuple(metadata.channel_names()),
            spacing_um=(metadata.z_um, metadata.y_um, metadata.x_um),
            block=labels.block5,
            scheduler=context.scheduler,
            progress=context.progress,
        )
        _warn_of_unknown_size(metadata, context)
        skipped, objects = [0] * len(task.channels), 0
        columns = object_columns(task.dimensions, task.channels, image.dtype)
        with TableWriter(outputs["table"], outputs["tsv"], columns) as table:
            for found in measure_objects(task):
                table.write(
                    found.columns,
                    image_id=context.image_id,
                    label_name=params.label_name,
                    t=found.t,
                )
                objects += len(found.columns["label"])
                skipped = [one + two for one, two in zip(skipped, found.skipped, strict=True)]
    _warn_of_skipped(task.channels, skipped, context)
    context.details["objects"] = objects


def _warn_of_unknown_size(metadata: ImageMetadata, context: Context) -> None:
    sizes = {"Z": metadata.z_um, "Y": metadata.y_um, "X": metadata.x_um}
    needed = "ZYX" if metadata.size("Z") > 1 else "YX"
    if unknown := [axis for axis in needed if sizes[axis] is None]:
        context.warn(
            f"The pixel size along {', '.join(unknown)} is not known: "
            "columns in micrometres that need it are empty"
        )


def _warn_of_skipped(channels: tuple[str, ...], skipped: list[int], context: Context) -> None:
    for name, count in zip(channels, skipped, strict=True):
        if count:
            context.warn(
                f"{count} pixels of objects in channel {name} are not finite: "
                "its intensity columns leave them out"
            )


STEP = Step(
    name="measure-objects",
    version="1",
    summary=SUMMARIES["measure-objects"],
    params=MeasureObjectsParams,
    inputs=(
        Port("image", "ome-zarr", "images/{image_id}/image.ome.zarr", "The image."),
        Port(
            "labels",
            "ome-zarr",
            "images/{image_id}/labels/{label_name}.ome.zarr",
            "The label image.",
        ),
    ),
    outputs=(
        Port(
            "table",
            "table",
            "images/{image_id}/tables/{label_name}.parquet",
            "One row an object, as Parquet.",
        ),
        Port(
            "tsv",
            "table",
            "images/{image_id}/tables/{label_name}.tsv",
            "The same rows as tab-separated text.",
        ),
    ),
    run=run,
    exactness=exact(),
)
