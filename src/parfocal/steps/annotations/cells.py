"""What the sample sheet says of annotations: targets, containers and cells that become texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from parfocal.errors import ConfigurationError
from parfocal.models.annotation_options import PlanAnnotationsParams
from parfocal.models.sheet import Row
from parfocal.models.source import OmeroSource, parse_source

__all__ = ["TARGET_COLUMN", "check_cells", "container_of", "find_targets"]

TARGET_COLUMN, CONTAINER_COLUMN = "omero", "omero_container"
"""Columns of the sheet: where an image is on a server, and where the files of the run go."""
CONTAINERS = ("dataset", "project", "well", "plate", "screen")


def check_cells(rows: Sequence[Row], params: PlanAnnotationsParams, sheet: Path) -> None:
    """Refuse what the plan would refuse later, whatever the results are.

    Parameters
    ----------
    rows : sequence of Row
        The images.
    params : PlanAnnotationsParams
        What is to be planned.
    sheet : Path
        Where the rows are from, for messages.

    Raises
    ------
    ConfigurationError
        If a column is missing, a cell does not name what it should on a server, two images have
        one target, or OMERO cannot hold what a cell says.
    """
    from parfocal.omero.planned_images import plan_texts

    _check_columns(rows, params, sheet)
    targets = find_targets(rows, sheet)
    for row in rows:
        container_of(row, sheet)
        if target := targets.get(row.image_id):
            try:
                plan_texts(row, target, params)
            except ConfigurationError as error:
                error.where = f"{sheet}, {error.where}"
                raise


def _check_columns(rows: Sequence[Row], params: PlanAnnotationsParams, sheet: Path) -> None:
    known = rows[0].as_text()
    asked = {
        "key_values.columns": params.key_values.columns,
        "tag_columns": params.tag_columns,
        "rating_column": (params.rating_column,) if params.rating_column else (),
    }
    for parameter, columns in asked.items():
        if missing := [column for column in columns if column not in known]:
            what = "A column that annotations are made of is not in the sample sheet"
            expected, found = (", ".join(names) for names in (known, missing))
            remedy = f"Correct the parameter {parameter} of plan-annotations, or add the column."
            raise ConfigurationError(
                what, where=sheet, expected=expected, found=found, remedy=remedy
            )


def find_targets(rows: Sequence[Row], sheet: Path) -> dict[str, str]:
    """Return the URI on a server of each image that is on one, by image_id.

    Raises
    ------
    ConfigurationError
        If a cell of the column ``omero`` names no image, or two images have one target.
    """
    targets: dict[str, str] = {}
    owners: dict[str, str] = {}
    for row in rows:
        uri = _omero_uri(row, TARGET_COLUMN, ("image",), sheet)
        source = parse_source(row.source)
        if uri is None and isinstance(source, OmeroSource) and source.kind == "image":
            uri = source.uri
        if uri is None:
            continue
        if uri in owners:
            what = "Two images of the sample sheet are one image on the OMERO server"
            where = f"{sheet}, images {owners[uri]} and {row.image_id}"
            remedy = "Plan them in runs of their own: annotations of one would replace the other's."
            raise ConfigurationError(what, where=where, found=uri, remedy=remedy)
        owners[uri] = row.image_id
        targets[row.image_id] = uri
    return targets


def container_of(row: Row, sheet: Path) -> str | None:
    """Return the URI of the container that the files of the run go to; None where there is none.

    Raises
    ------
    ConfigurationError
        If the cell names something else.
    """
    return _omero_uri(row, CONTAINER_COLUMN, CONTAINERS, sheet)


def _omero_uri(row: Row, column: str, kinds: Sequence[str], sheet: Path) -> str | None:
    """Return the URI in a column of the sheet as it is always spelt; None for an empty cell."""
    text = row.free.get(column, "").strip()
    if not text:
        return None
    found = text
    try:
        source = parse_source(text)
    except ConfigurationError as error:
        found = f"{text}: {error.found}" if error.where == text else str(error.found)
    else:
        if isinstance(source, OmeroSource) and source.kind in kinds:
            return source.uri
    what = "A cell does not name what it should on an OMERO server"
    expected = "omero://host/image/ID, ID a number"
    if len(kinds) > 1:
        expected = f"omero://host/KIND/ID with KIND one of {', '.join(kinds)}, ID a number"
    where = f"{sheet}, image {row.image_id}, column {column}"
    remedy = "Correct the cell, or empty it: the image then gets no annotations."
    if column == CONTAINER_COLUMN:
        remedy = "Correct the cell, or empty it: the files of the run then go to the image."
    raise ConfigurationError(what, where=where, expected=expected, found=found, remedy=remedy)
