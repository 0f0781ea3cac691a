"""Step ``assemble-plate``: the converted fields of a plate in one OME-NGFF plate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from parfocal.core.publish import Stamp
from parfocal.core.step import Context, Port, Step, exact
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.base import Parameters
from parfocal.models.sheet import Row, read_sheet
from parfocal.steps import SUMMARIES

if TYPE_CHECKING:
    from parfocal.images.writers.plate import PlateField

__all__ = ["STEP", "AssemblePlateParams", "run"]


class AssemblePlateParams(Parameters):
    """Which plate to assemble, and of what."""

    plate: str | None = Field(
        default=None,
        min_length=1,
        description="Name of the plate in the sheet; may be left out where it has only one.",
    )
    with_labels: bool = Field(
        default=False,
        description="Whether to take the images with their label images, as assemble-image made "
        "them.",
    )


def run(
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    params: AssemblePlateParams,
    context: Context,
) -> None:
    """Join the fields of a plate; their chunks are shared by hard links where that can be.

    Images that are not there, because their conversion failed, are named in a warning and left
    out; so are wells of fewer fields than the others.

    Raises
    ------
    ConfigurationError
        If the sheet is not valid, or has not that plate.
    InputError
        If none of its images is there, or they do not fit together.
    """
    from parfocal.images.writers.plate import write_plate
    from parfocal.images.writers.sharing import tell_copies

    name, rows = _rows_of_plate(inputs["sheet"], params.plate)
    fields, missing = _fields(inputs["results"], rows, params)
    if not fields:
        what = "None of the images of the plate is there"
        remedy = "Convert them first; 'parfocal check-outcomes' tells why they failed."
        found = f"none of {len(rows)} images"
        raise InputError(what, where=f"plate {name}", found=found, remedy=remedy)
    if missing:
        context.warn(
            f"{len(missing)} of {len(rows)} images of plate {name} are not there and are left "
            f"out: {', '.join(missing)}"
        )
    _tell_uneven(fields, context)
    counts = write_plate(outputs["plate"], name, fields, context.progress)
    tell_copies(counts, context.warn)
    images = {field.image_id: Stamp(field.path).digest() for field in fields}
    context.details |= counts | {"missing": missing, "images": images}


def _rows_of_plate(sheet: Path, wanted: str | None) -> tuple[str, list[Row]]:
    """Return the name of the plate and its rows."""
    plates: dict[str, list[Row]] = {}
    for row in read_sheet(sheet):
        if row.plate:
            plates.setdefault(row.plate, []).append(row)
    if wanted is None and len(plates) == 1:
        wanted = next(iter(plates))
    if wanted not in plates:
        what = "The sheet has no such plate" if wanted else "It is not said which plate is meant"
        remedy = "Set 'plate' to one of those in the sheet's column plate."
        expected = ", ".join(map(repr, plates)) or "a plate in the column plate"
        raise ConfigurationError(what, where=sheet, expected=expected, found=wanted, remedy=remedy)
    return wanted, plates[wanted]


def _fields(
    results: Path, rows: Sequence[Row], params: AssemblePlateParams
) -> tuple[list[PlateField], list[str]]:
    """Return the fields whose images are there and current, and the names of the others."""
    from parfocal.images.writers.plate import PlateField
    from parfocal.provenance.records import iter_records
    from parfocal.report.results import RunResults

    step, file = "convert-image", "image.ome.zarr"
    if params.with_labels:
        step, file = "assemble-image", "assembled.ome.zarr"
    ids = [row.image_id for row in rows]
    found = RunResults(results, [step], ids, iter_records(results), lambda _: None)
    fields, missing = [], []
    for row in rows:
        path = found.file(row.image_id, step, file)
        if path is None or not path.is_dir():
            missing.append(row.image_id)
        else:
            fields.append(PlateField(path, row.well, row.field, row.image_id))
    return fields, missing


def _tell_uneven(fields: Sequence[PlateField], context: Context) -> None:
    """Warn of wells that have fewer fields than others."""
    from parfocal.images.writers.plate import parse_well

    counts = Counter(parse_well(field.well) for field in fields)
    most = max(counts.values())
    fewer = [f"{row}{column} ({n})" for (row, column), n in sorted(counts.items()) if n < most]
    if fewer:
        context.warn(f"{len(fewer)} wells have fewer than {most} fields: {', '.join(fewer)}")


STEP = Step(
    name="assemble-plate",
    version="1",
    summary=SUMMARIES["assemble-plate"],
    params=AssemblePlateParams,
    inputs=(
        Port("results", "folder", ".", "Results folder with the converted images."),
        Port("sheet", "sheet", "samples.tsv", "Sample sheet with plate, well and field."),
    ),
    outputs=(Port("plate", "ome-zarr", "plates/{plate}.ome.zarr", "OME-NGFF plate to write."),),
    run=run,
    exactness=exact(),
    scope="run",
)
