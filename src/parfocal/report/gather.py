"""Gather all that a report says from the results of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from parfocal.models.annotation_plan import AnnotationPlan
from parfocal.models.image import ImageMetadata
from parfocal.models.sheet import Row
from parfocal.report.compare import compare_images
from parfocal.report.content import Card, Findings, ImageLine, Picture, Report
from parfocal.report.planned import summarise_plan
from parfocal.report.results import RunResults
from parfocal.report.tables import SIZES, Table, count_objects, own_axes, read_table

__all__ = ["gather_report"]


def gather_report(
    rows: Sequence[Row],
    results: RunResults,
    *,
    title: str,
    label_name: str,
    most_pictures: int,
    plan: AnnotationPlan | None = None,
    describe: Callable[[str], ImageMetadata | None],
    draw: Callable[[str], Picture | None],
    progress: Callable[[int, int], None],
) -> Report:
    """Gather what the steps found out about the images of a sheet.

    Tables are read one column at a time, and of each only key numbers are kept.

    Parameters
    ----------
    rows : sequence of Row
        The sample sheet.
    results : RunResults
        The results of these images.
    title, label_name : str
        The heading, and whose objects are told of.
    most_pictures : int
        How many images get a card.
    plan : AnnotationPlan, optional
        What goes back to OMERO.
    describe : callable
        Returns the metadata of an image by its id; None where there is no image.
    draw : callable
        Draws the thumbnail of an image by its id; None where there is no image.
    progress : callable
        Called as ``progress(done, total)`` in images.

    Raises
    ------
    InputError
        If a result is there and cannot be read.
    """
    findings = {row.image_id: results.findings(row.image_id, label_name) for row in rows}
    tables = _read_tables(rows, results, label_name)
    described = {image_id: describe(image_id) for image_id in tables}
    known = {image_id: metadata for image_id, metadata in described.items() if metadata}
    lines = []
    pictures = 0
    for done, row in enumerate(rows, 1):
        table = tables.get(row.image_id)
        picture = draw(row.image_id) if pictures < most_pictures else None
        pictures += picture is not None
        own = count_objects(table, own_axes(table)) if table and picture else []
        card = Card(picture, tuple(own)) if picture else None
        lines.append(_line(row, results, findings[row.image_id], table, card))
        progress(done, len(rows))
    return Report(
        title=title,
        label_name=label_name,
        images=tuple(lines),
        steps=results.step_lines(),
        comparisons=compare_images(tables, known),
        software=results.software(findings.values()),
        usage=results.usage(),
        plan=summarise_plan(plan) if plan else None,
    )


def _read_tables(rows: Sequence[Row], results: RunResults, label_name: str) -> dict[str, Table]:
    name = f"tables/{label_name}.parquet"
    paths = {row.image_id: results.file(row.image_id, "measure-objects", name) for row in rows}
    return {image_id: read_table(path) for image_id, path in paths.items() if path}


def _line(
    row: Row, results: RunResults, findings: Findings, table: Table | None, card: Card | None
) -> ImageLine:
    sizes = [name for name in SIZES if table and name in table.columns]
    return ImageLine(
        image_id=row.image_id,
        name=row.name,
        state=results.state(row.image_id),
        findings=findings,
        objects=table.objects if table else None,
        medians={name: table.columns[name].median for name in sizes[:1] if table},
        card=card,
        source=row.source,
    )
