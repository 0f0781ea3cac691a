"""What an annotation plan says, in numbers, and its first targets."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from parfocal.models.annotation_entries import (
    Comment,
    FileAttachment,
    KeyValues,
    LabelImage,
    PlannedEntry,
    Polygon,
    Rating,
    Rois,
    Table,
    Tag,
)
from parfocal.models.annotation_plan import AnnotationPlan

__all__ = ["PlanSummary", "PlannedKind", "PlannedTarget", "summarise_plan"]

MOST_TARGETS = 10
_NAMES = {
    "key-values": "Key-value pairs",
    "tag": "Tags",
    "rating": "Ratings",
    "comment": "Comments",
    "rois": "Regions of interest",
    "table": "Tables",
    "label-image": "Label images",
    "file": "File attachments",
}


@dataclass(frozen=True)
class PlannedKind:
    """One kind of annotation: how many there are, and how much is in them.

    Parameters
    ----------
    name : str
        For people.
    annotations : int
        How many.
    what : str
        What is in them together, such as ``1200 rows``.
    """

    name: str
    annotations: int
    what: str


@dataclass(frozen=True)
class PlannedTarget:
    """What one object on the server gets.

    Parameters
    ----------
    target : str
        Its URI.
    image_id : str or None
        None for a container.
    lines : tuple of str
        One an annotation.
    """

    target: str
    image_id: str | None
    lines: tuple[str, ...]


@dataclass(frozen=True)
class PlanSummary:
    """An annotation plan, as far as a report shows it.

    Parameters
    ----------
    run_id : str
        The run.
    targets : int
        How many objects on the server are annotated.
    kinds : tuple of PlannedKind
        In the order in which they are written.
    first : tuple of PlannedTarget
        The first targets.
    left_out : int
        How many images get nothing.
    notes : tuple of str
        What the user should know.
    """

    run_id: str
    targets: int
    kinds: tuple[PlannedKind, ...]
    first: tuple[PlannedTarget, ...]
    left_out: int
    notes: tuple[str, ...]


def summarise_plan(plan: AnnotationPlan) -> PlanSummary:
    """Return what a report says of a plan."""
    entries = [entry for target in plan.targets for entry in target.annotations]
    numbers: Counter[str] = Counter(entry.kind for entry in entries)
    sizes: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        amount, unit = _amount(entry)
        if unit:
            sizes[entry.kind, unit] += amount
    kinds = [
        PlannedKind(
            name,
            numbers[kind],
            ", ".join(f"{size} {unit}" for (of, unit), size in sorted(sizes.items()) if of == kind),
        )
        for kind, name in _NAMES.items()
        if numbers[kind]
    ]
    first = tuple(
        PlannedTarget(one.target, one.image_id, tuple(_line(entry) for entry in one.annotations))
        for one in plan.targets[:MOST_TARGETS]
    )
    return PlanSummary(
        run_id=plan.run_id,
        targets=len(plan.targets),
        kinds=tuple(kinds),
        first=first,
        left_out=len(plan.left_out),
        notes=plan.notes,
    )


def _amount(entry: PlannedEntry) -> tuple[int, str]:
    """Return how much is in an annotation, and of what; nothing where it counts as one."""
    match entry:
        case KeyValues():
            return len(entry.pairs) + len(entry.digests), "pairs"
        case Table():
            return entry.rows, "rows"
        case Rois():
            return entry.objects, "objects"
        case _:
            return 0, ""


def _line(entry: PlannedEntry) -> str:
    """Return what one annotation is, in a few words."""
    match entry:
        case KeyValues():
            keys = [key for key, _ in (*entry.pairs, *entry.digests)]
            return f"Key-value pairs: {', '.join(keys)}"
        case Rating():
            return f"Rating: {entry.stars} of 5"
        case Comment():
            return f"Comment: {entry.text}"
        case Rois(shape=Polygon() as shape):
            within = f"polygons within {shape.tolerance_px:g} px"
            return f"Regions of interest: {entry.objects} {entry.label_name}, {within}"
        case Rois():
            return f"Regions of interest: {entry.objects} {entry.label_name}, masks"
        case Table():
            return f"Table: {entry.name}, {entry.rows} rows of {len(entry.columns)} columns"
        case Tag() | LabelImage() | FileAttachment():
            return f"{_NAMES[entry.kind].removesuffix('s')}: {entry.name}"
