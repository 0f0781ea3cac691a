"""The step ``render-report``: the results of a run as one HTML file that needs no network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from parfocal.core.step import Context, Port, Step, exact
from parfocal.models.base import Parameters
from parfocal.models.label_name import LabelName
from parfocal.steps import SUMMARIES

if TYPE_CHECKING:
    from parfocal.models.image import ImageMetadata
    from parfocal.report.content import Picture
    from parfocal.report.results import RunResults

__all__ = ["STEP", "RenderReportParams"]

_MADE_OF_IT = {
    "correct-illumination": "corrected.ome.zarr",
    "project-image": "projected.ome.zarr",
}
"""What optional steps make of the converted image, and measurements may be of."""


class RenderReportParams(Parameters):
    """Parameters of ``render-report``."""

    title: str = Field(
        default="Image analysis report", min_length=1, max_length=200, description="The heading."
    )
    label_name: LabelName = "nuclei"
    max_pictures: int = Field(
        default=48,
        ge=0,
        le=1000,
        description="How many images are shown with picture and histograms, in the order of the "
        "sheet; all others are in the table.",
    )


def run(
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    params: RenderReportParams,
    context: Context,
) -> None:
    """Gather what the steps left for the images of the sheet, and draw it.

    Raises
    ------
    ConfigurationError
        If the sheet is not valid.
    InputError
        If a result is there and cannot be read.
    """
    from parfocal.core.annotation_plan import read_plan
    from parfocal.models.sheet import read_sheet
    from parfocal.provenance.records import iter_records
    from parfocal.report.gather import gather_report
    from parfocal.report.page import render_page
    from parfocal.report.results import RunResults
    from parfocal.steps import STEPS

    rows = read_sheet(inputs["sheet"])
    results = RunResults(
        inputs["results"],
        [step.name for step in STEPS if step.scope == "image"],
        [row.image_id for row in rows],
        iter_records(inputs["results"]),
        context.warn,
    )
    report = gather_report(
        rows,
        results,
        title=params.title,
        label_name=params.label_name,
        most_pictures=params.max_pictures,
        plan=read_plan(inputs["plan"]) if "plan" in inputs else None,
        describe=lambda image_id: _describe(results, image_id),
        draw=lambda image_id: _draw(results, image_id, params.label_name),
        progress=context.progress,
    )
    outputs["report"].write_bytes(render_page(report))
    context.details["images"] = len(rows)


def _image_path(results: RunResults, image_id: str) -> Path | None:
    """Return the image that was measured: the converted one, or what was made of it."""
    taken = results.taken(image_id, "measure-objects", "image")
    for step, name in _MADE_OF_IT.items():
        if taken == f"images/{image_id}/{name}" and (path := results.file(image_id, step, name)):
            return path
    return results.file(image_id, "convert-image", "image.ome.zarr")


def _describe(results: RunResults, image_id: str) -> ImageMetadata | None:
    """Read the metadata of an image."""
    from parfocal.images import open_image

    path = _image_path(results, image_id)
    if path is None:
        return None
    with open_image(path) as image:
        return image.metadata


def _draw(results: RunResults, image_id: str, label_name: str) -> Picture | None:
    """Draw the thumbnail of an image, with the outlines of its labels where there are some."""
    from parfocal.images import open_image
    from parfocal.report.levels import level_of_size, pick_level
    from parfocal.report.thumbnail import EDGE_PX, draw_picture

    image_path = _image_path(results, image_id)
    label_path = results.file(image_id, "segment-objects", f"labels/{label_name}.ome.zarr")
    if image_path is None:
        return None
    with open_image(image_path) as image:
        level = image.level(pick_level(image.pyramid, EDGE_PX))
        if label_path is None:
            return draw_picture(image.metadata, level, None)
        with open_image(label_path) as labels:
            same = level_of_size(labels.pyramid, level, EDGE_PX)
            return draw_picture(image.metadata, level, same)


STEP = Step(
    name="render-report",
    version="1",
    summary=SUMMARIES["render-report"],
    params=RenderReportParams,
    inputs=(
        Port("results", "folder", ".", "The results folder."),
        Port("sheet", "sheet", "samples.tsv", "The sample sheet, whose images are shown."),
        Port("plan", "json", "annotation-plan.json", "What goes back to OMERO.", required=False),
    ),
    outputs=(Port("report", "html", "report.html", "The report."),),
    run=run,
    exactness=exact(),
    scope="run",
)
