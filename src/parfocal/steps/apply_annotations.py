"""Step ``apply-annotations``: bring OMERO to what an annotation plan says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import Field

from parfocal.core.publish import write_json
from parfocal.core.step import Context, Port, Step, exact
from parfocal.models.base import Parameters
from parfocal.steps import SUMMARIES

__all__ = ["STEP", "ApplyAnnotationsParams", "run"]

_NUMBERS = ("made", "replaced", "kept", "removed")


class ApplyAnnotationsParams(Parameters):
    """Parameters of apply-annotations."""

    overwrite_edited: bool = Field(
        default=False,
        description="Whether to replace annotations of ours that somebody edited on the server.",
    )


def run(
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    params: ApplyAnnotationsParams,
    context: Context,
) -> None:
    """Write what the plan says and is not there yet; remove what it no longer says.

    Raises
    ------
    InputError
        If a target, a result or a permission is missing, or somebody edited what would be
        replaced; nothing is written then.
    RemoteError
        If a server fails. What was begun on a target is undone, then or by the next call.
    """
    from parfocal.core.annotation_plan import complete_plan, read_plan
    from parfocal.omero.annotate.apply import apply_plan
    from parfocal.omero.connection import connect
    from parfocal.steps.annotations.materials import ResultMaterials
    from parfocal.steps.annotations.servers import open_journal, plans_by_server

    results = inputs["results"]
    plan = complete_plan(read_plan(inputs["plan"]), results)
    materials = ResultMaterials(results, context.threads)
    told: dict[str, dict[str, Any]] = {}
    for server, part in plans_by_server(plan).items():
        with open_journal(results, server) as journal:
            done = apply_plan(
                connect(server),
                part,
                journal,
                materials,
                context,
                overwrite_edited=params.overwrite_edited,
            )
        told |= {target: asdict(each) for target, each in done.items()}
    sums = {name: sum(each[name] for each in told.values()) for name in _NUMBERS}
    context.details |= {"targets": len(told)} | sums
    receipt = {"format": "parfocal-annotation-receipt-1", "run_id": plan.run_id, "targets": told}
    write_json(outputs["receipt"], receipt)


STEP = Step(
    name="apply-annotations",
    version="1",
    summary=SUMMARIES["apply-annotations"],
    params=ApplyAnnotationsParams,
    inputs=(
        Port("results", "folder", ".", "The results folder, which keeps the journal."),
        Port("plan", "json", "annotation-plan.json", "What plan-annotations wrote."),
    ),
    outputs=(Port("receipt", "json", "annotation-receipt.json", "What was written where."),),
    run=run,
    exactness=exact(),
    scope="run",
)
