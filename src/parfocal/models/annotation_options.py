"""What of the results of a run is to be written to OMERO."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from parfocal.models.annotation_entries import Mask, Name, Polygon, Text
from parfocal.models.base import Model, Parameters
from parfocal.models.label_name import LabelName
from parfocal.models.number_text import number_as_text

__all__ = ["AnnotateConfig", "KeyValueOptions", "PlanAnnotationsParams", "RoiOptions", "TagOptions"]

Value = Annotated[Text, BeforeValidator(number_as_text)]


class AnnotateConfig(Model):
    """Whether a workflow annotates what is on an OMERO server."""

    enabled: bool = Field(
        default=False,
        description="Whether it is planned what of the results goes back to OMERO.",
    )
    apply: bool = Field(
        default=True,
        description="Whether the plan is applied and verified; else it is planned only.",
    )


class KeyValueOptions(Model):
    """Key-value pairs of each image."""

    run: bool = Field(
        default=True,
        description="Whether pairs tell of the run: its id, workflow, commit, version of Parfocal, "
        "image_id, and the digest of the run crate where that is attached.",
    )
    columns: tuple[str, ...] = Field(
        default=(),
        description="Columns of the sample sheet that become pairs which users can edit in "
        "OMERO.web; an empty cell is none.",
    )
    pairs: tuple[tuple[Name, Value], ...] = Field(
        default=(), description="More such pairs, the same for all images: [[key, value], ...]."
    )


class TagOptions(Model):
    """A tag of every image."""

    name: Text = Field(min_length=1, description="The tag; one of this name is used if it exists.")
    description: Text | None = Field(default=None, description="Said of it if it is new.")
    tag_set: Text | None = Field(
        default=None, min_length=1, description="Tag set that it belongs to if it is new."
    )


class RoiOptions(Model):
    """The outlines of the objects as regions of interest."""

    shape: Annotated[Mask | Polygon, Field(discriminator="method")] = Field(
        default=Mask(), description="mask, exactly the pixels, or polygon, simplified."
    )
    max_objects: int = Field(
        default=10_000,
        ge=0,
        description="An image with more objects gets no ROIs, which is told: viewers grow slow.",
    )


class PlanAnnotationsParams(Parameters):
    """Parameters of plan-annotations."""

    label_name: LabelName = "nuclei"
    key_values: KeyValueOptions = Field(
        default=KeyValueOptions(), description="What key-value pairs say of each image."
    )
    tags: tuple[TagOptions, ...] = Field(default=(), description="Tags of every image.")
    tag_columns: tuple[str, ...] = Field(
        default=(),
        description="Columns of the sample sheet whose cells become tags, one each; an empty "
        "cell is none.",
    )
    rating_column: str | None = Field(
        default=None,
        min_length=1,
        description="Column of the sample sheet with ratings of 1 to 5; an empty cell is none.",
    )
    comment: Text | None = Field(
        default=None, min_length=1, description="A comment to every image."
    )
    tables: bool = Field(
        default=True, description="Whether the table of objects becomes an OMERO.table."
    )
    rois: RoiOptions | None = Field(
        default=RoiOptions(), description="Outlines of the objects; null for none."
    )
    label_images: bool = Field(
        default=False,
        description="Whether label images become images beside their own, in its datasets.",
    )
    attach: tuple[Literal["crate", "report", "certificate"], ...] = Field(
        default=("crate",),
        description="Files to attach: the run crate and the report to each container that the "
        "sheet names in omero_container, or else to each image; the certificate of conversion "
        "to its image.",
    )
    note_failures: bool = Field(
        default=False,
        description="Whether images that failed get a comment that says why; otherwise nothing.",
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for name in ("tags", "attach"):
            values = [getattr(value, "name", value) for value in getattr(self, name)]
            if len(set(values)) < len(values):
                msg = f"{name}: a value is given twice"
                raise ValueError(msg)
        return self
