"""Read annotation plans, and put in what is made only after them."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from parfocal.core.digest import digest_path, size_of
from parfocal.core.publish import write_json
from parfocal.errors import InputError
from parfocal.models.annotation_entries import FileAttachment, KeyValues, PlannedEntry
from parfocal.models.annotation_plan import AnnotationPlan, Target
from parfocal.models.base import explain_validation

__all__ = ["complete_plan", "read_plan", "write_plan"]

_REMEDY = "Make it again with 'parfocal plan-annotations'."


def read_plan(path: Path) -> AnnotationPlan:
    """Read an annotation plan.

    Raises
    ------
    InputError
        If the file is not a plan, or an entry was changed by hand.
    """
    try:
        return AnnotationPlan.model_validate_json(path.read_bytes())
    except OSError as error:
        what = "The annotation plan cannot be read"
        raise InputError(what, where=path, found=error, remedy=_REMEDY) from error
    except ValidationError as error:
        what = "The annotation plan is not valid"
        found = explain_validation(error)
        raise InputError(what, where=path, found=found, remedy=_REMEDY) from error


def write_plan(path: Path, plan: AnnotationPlan) -> None:
    """Write an annotation plan, whole or not at all; fields without a value are left out."""
    write_json(path, plan.model_dump(mode="json", exclude_none=True))


def complete_plan(plan: AnnotationPlan, results: Path) -> AnnotationPlan:
    """Return a plan with the digests of what was made after it: the report and the run crate.

    Parameters
    ----------
    plan : AnnotationPlan
        As `read_plan` gives it.
    results : Path
        The results folder.

    Returns
    -------
    AnnotationPlan
        No file without a digest, and digests among the pairs of key-values. A plan that is
        complete is returned as it is.

    Raises
    ------
    InputError
        If such a file is not there.
    """
    taken: dict[str, tuple[str, int]] = {}

    def take(path: str) -> tuple[str, int]:
        if path not in taken:
            taken[path] = (digest_path(results / path), size_of(results / path))
        return taken[path]

    def complete(entry: PlannedEntry) -> PlannedEntry:
        if isinstance(entry, KeyValues) and entry.digests:
            late = tuple((key, take(path)[0]) for key, path in entry.digests)
            return entry.with_content(pairs=entry.pairs + late, digests=())
        if isinstance(entry, FileAttachment) and entry.file.digest is None:
            digest, size = take(entry.file.path)
            changes = {"digest": digest, "size_bytes": size}
            return entry.with_content(file=entry.file.model_copy(update=changes))
        return entry

    targets = (
        Target(
            target=target.target,
            image_id=target.image_id,
            annotations=tuple(complete(entry) for entry in target.annotations),
        )
        for target in plan.targets
    )
    return plan.model_copy(update={"targets": tuple(targets)})
