"""The annotations of the images of a run, as entries of a plan."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from parfocal.errors import ConfigurationError
from parfocal.models.annotation_entries import (
    BULK_NAMESPACE,
    CLIENT_NAMESPACE,
    FILE_NAMESPACE,
    RUN_NAMESPACE,
    Column,
    Comment,
    FileAttachment,
    KeyValues,
    LabelImage,
    PlannedEntry,
    Rating,
    ResultFile,
    Rois,
    Table,
    Tag,
)
from parfocal.models.annotation_options import PlanAnnotationsParams, RoiOptions
from parfocal.models.annotation_plan import Target
from parfocal.models.base import explain_validation
from parfocal.models.sheet import Row
from parfocal.omero.table_columns import TableFacts

__all__ = [
    "Labels",
    "PlannedImage",
    "RunFacts",
    "plan_container",
    "plan_failed",
    "plan_image",
    "plan_texts",
]

CRATE, REPORT = "run-crate", "report.html"
"""What is made only after the plan, below the results folder."""

_LONGEST_NAME = 255


@dataclass(frozen=True)
class RunFacts:
    """What the pairs about the run say, besides those about the image.

    Attributes
    ----------
    run_id, made_by : str
        As in the plan.
    workflow : str or None
        Its name.
    """

    run_id: str
    made_by: str
    workflow: str | None


@dataclass(frozen=True)
class Labels:
    """A label image of the results.

    Attributes
    ----------
    file : ResultFile
        The label image.
    objects : int or None
        How many objects it has; None where no table and no record tells.
    all_planes, all_times : bool
        Whether it is of a projection along Z, or T.
    """

    file: ResultFile
    objects: int | None
    all_planes: bool
    all_times: bool


@dataclass(frozen=True)
class PlannedImage:
    """An image on the server and its results; None for those that there are not.

    Attributes
    ----------
    row : Row
        Its row of the sheet.
    target : str
        Its URI.
    commit : str or None
        The commit of the workflow that made its results.
    table : tuple of ResultFile and TableFacts, or None
        The table of its objects.
    labels : Labels or None
        Its label image.
    certificate : ResultFile or None
        That of its conversion.
    """

    row: Row
    target: str
    commit: str | None
    table: tuple[ResultFile, TableFacts] | None
    labels: Labels | None
    certificate: ResultFile | None

    def drawn(self, options: RoiOptions | None) -> Labels | None:
        """Return the label image whose objects become ROIs; None where they do not."""
        if options is None or self.labels is None or self.labels.objects is None:
            return None
        return self.labels if self.labels.objects <= options.max_objects else None


def plan_image(
    image: PlannedImage, run: RunFacts, params: PlanAnnotationsParams, *, run_files: bool
) -> Target:
    """Plan the annotations of one image.

    Parameters
    ----------
    run_files : bool
        Whether the files of the run are attached to the image, and not to a container.

    Raises
    ------
    ConfigurationError
        If OMERO cannot hold something, or a rating is none.
    """
    texts = plan_texts(image.row, image.target, params)
    with _told(image.row):
        entries = (
            *_run_pairs(image, run, params),
            *texts,
            *_rois(image, params),
            *_table(image, params),
            *_label_image(image, params),
            *_files(image, params),
            *(_run_files(image.target, params) if run_files else ()),
        )
        return Target(target=image.target, image_id=image.row.image_id, annotations=entries)


def plan_texts(row: Row, target: str, params: PlanAnnotationsParams) -> tuple[PlannedEntry, ...]:
    """Plan what the row and the parameters alone say of an image, whatever its results are.

    Raises
    ------
    ConfigurationError
        If OMERO cannot hold something, or a rating is none.
    """
    with _told(row):
        return (*_own_pairs(row, target, params), *_tags(row, target, params))


def plan_container(uri: str, params: PlanAnnotationsParams) -> Target:
    """Plan what a container gets: the files of the run."""
    return Target(target=uri, image_id=None, annotations=tuple(_run_files(uri, params)))


def plan_failed(row: Row, target: str, reason: str) -> Target:
    """Plan the comment of an image that failed.

    Raises
    ------
    ConfigurationError
        If OMERO cannot hold it.
    """
    with _told(row):
        entry = Comment.planned(target, namespace=RUN_NAMESPACE, text=f"Parfocal: {reason}")
        return Target(target=target, image_id=row.image_id, annotations=(entry,))


@contextmanager
def _told(row: Row) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        what = "OMERO cannot hold what the image is to be annotated with"
        remedy = "Change the sample sheet, or the parameters of plan-annotations."
        raise ConfigurationError(
            what, where=f"image {row.image_id}", found=explain_validation(error), remedy=remedy
        ) from error


def _run_pairs(
    image: PlannedImage, run: RunFacts, params: PlanAnnotationsParams
) -> Iterator[PlannedEntry]:
    if not params.key_values.run:
        return
    said = {
        "Run": run.run_id,
        "Workflow": run.workflow,
        "Commit": image.commit,
        "Made by": run.made_by,
        "Image": image.row.image_id,
    }
    pairs = tuple((key, value) for key, value in said.items() if value)
    digests = (("Run crate", CRATE),) if "crate" in params.attach else ()
    yield KeyValues.planned(image.target, namespace=RUN_NAMESPACE, pairs=pairs, digests=digests)


def _own_pairs(row: Row, target: str, params: PlanAnnotationsParams) -> Iterator[PlannedEntry]:
    options, cells = params.key_values, row.as_text()
    own = tuple((name, cells[name]) for name in options.columns if cells[name]) + options.pairs
    if own:
        yield KeyValues.planned(target, namespace=CLIENT_NAMESPACE, pairs=own)


def _tags(row: Row, target: str, params: PlanAnnotationsParams) -> Iterator[PlannedEntry]:
    cells = row.as_text()
    for tag in params.tags:
        yield Tag.planned(target, name=tag.name, description=tag.description, tag_set=tag.tag_set)
    fixed = {tag.name for tag in params.tags}
    found = (cells[column] for column in params.tag_columns)
    for name in dict.fromkeys(name for name in found if name and name not in fixed):
        yield Tag.planned(target, name=name)
    if params.rating_column and (stars := cells[params.rating_column].strip()):
        yield Rating.planned(target, stars=stars)
    if params.comment:
        yield Comment.planned(target, namespace=RUN_NAMESPACE, text=params.comment)


def _rois(image: PlannedImage, params: PlanAnnotationsParams) -> Iterator[PlannedEntry]:
    labels = image.drawn(params.rois)
    if labels and params.rois:
        yield Rois.planned(
            image.target,
            name=params.label_name,
            labels=labels.file,
            label_name=params.label_name,
            shape=params.rois.shape,
            objects=labels.objects,
            all_planes=labels.all_planes,
            all_times=labels.all_times,
        )


def _table(image: PlannedImage, params: PlanAnnotationsParams) -> Iterator[PlannedEntry]:
    if image.table is None or not params.tables:
        return
    file, facts = image.table
    drawn = image.drawn(params.rois) is not None
    references: list[Literal["Image", "Roi", "Well"]] = ["Image"]
    references += ["Roi"] if drawn else []
    references += ["Well"] if image.row.plate and image.row.well else []
    columns = (Column(name=name, type=name, source=None) for name in references)
    yield Table.planned(
        image.target,
        namespace=BULK_NAMESPACE,
        name=params.label_name,
        file=file,
        rows=facts.rows,
        columns=(*columns, *facts.columns),
        rois=params.label_name if drawn else None,
    )


def _label_image(image: PlannedImage, params: PlanAnnotationsParams) -> Iterator[PlannedEntry]:
    if image.labels is None or not params.label_images:
        return
    name = f"{image.row.name or image.row.image_id} [{params.label_name}]"
    if len(name) > _LONGEST_NAME:
        name = f"{image.row.image_id} [{params.label_name}]"
    yield LabelImage.planned(image.target, name=name, labels=image.labels.file)


def _files(image: PlannedImage, params: PlanAnnotationsParams) -> Iterator[PlannedEntry]:
    if image.certificate and "certificate" in params.attach:
        yield FileAttachment.planned(
            image.target,
            namespace=FILE_NAMESPACE,
            name=f"{image.row.image_id}.certificate.json",
            file=image.certificate,
            mimetype="application/json",
            packed=False,
        )


def _run_files(target: str, params: PlanAnnotationsParams) -> Iterator[PlannedEntry]:
    files = {
        "crate": (CRATE, f"{CRATE}.zip", "application/zip"),
        "report": (REPORT, REPORT, "text/html"),
    }
    for path, name, mimetype in (files[which] for which in files if which in params.attach):
        yield FileAttachment.planned(
            target,
            namespace=FILE_NAMESPACE,
            name=name,
            file=ResultFile(path=path, digest=None, size_bytes=None),
            mimetype=mimetype,
            packed=path == CRATE,
        )
