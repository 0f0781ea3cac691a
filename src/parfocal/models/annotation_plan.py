"""The annotation plan: what of the results of a run is to be written to OMERO, and where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Literal, Self, TypeVar

from pydantic import Field, model_validator

from parfocal.models.annotation_entries import PlannedEntry, Rois, Table, TargetUri
from parfocal.models.base import Model

__all__ = ["AnnotationPlan", "LeftOut", "Target"]

_T = TypeVar("_T", bound=Hashable)


class Target(Model):
    """An object on the server, and what it is to be annotated with."""

    target: TargetUri
    image_id: str | None = Field(
        default=None, description="Row of the sample sheet; none for a container."
    )
    annotations: tuple[PlannedEntry, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for entry in self.annotations:
            if (entry.entry_id, entry.content) != (
                entry.id_on(self.target),
                entry.content_digest(),
            ):
                msg = (
                    f"the {entry.kind} {entry.entry_id} was changed by hand: change the parameters "
                    "of plan-annotations instead, or take the whole entry out"
                )
                raise ValueError(msg)
        if doubled := _doubled(entry.entry_id for entry in self.annotations):
            msg = f"the entry {doubled} stands there twice"
            raise ValueError(msg)
        made = {entry.name for entry in self.annotations if isinstance(entry, Rois)}
        for entry in self.annotations:
            if isinstance(entry, Table) and entry.rois is not None and entry.rois not in made:
                msg = (
                    f"the table {entry.name} refers to ROIs {entry.rois} that no entry makes: "
                    "take the table out too, or set rois to null for plan-annotations and plan "
                    "again"
                )
                raise ValueError(msg)
        return self


class LeftOut(Model):
    """An image of the sheet that gets no annotation, and why."""

    image_id: str
    reason: str


class AnnotationPlan(Model):
    """All annotations of one run.

    It is made without a connection, holds no times, and is the same for the same results.
    """

    format: Literal["parfocal-annotation-plan-1"] = "parfocal-annotation-plan-1"
    run_id: str = Field(description="Digest of the results: other results are another run.")
    workflow: str | None = None
    commit: str | None = None
    made_by: str = Field(description="Name and version of what made the plan.")
    targets: tuple[Target, ...]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = Field(default=(), description="What the user should know of it.")

    @model_validator(mode="after")
    def _each_target_once(self) -> Self:
        if doubled := _doubled(target.target for target in self.targets):
            msg = f"the target {doubled} stands there twice"
            raise ValueError(msg)
        return self


def _doubled(values: Iterable[_T]) -> _T | None:
    """Return the first of `values` that occurs twice, None where all differ."""
    return next((value for value, count in Counter(values).items() if count > 1), None)
