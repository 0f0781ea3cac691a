"""Step ``revert-annotations``: take back from OMERO what a run added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from pydantic import Field

from parfocal.core.publish import write_json
from parfocal.core.step import Context, Port, Step, exact
from parfocal.models.base import Parameters
from parfocal.steps import SUMMARIES

__all__ = ["STEP", "RevertAnnotationsParams", "run"]


class RevertAnnotationsParams(Parameters):
    """Parameters of revert-annotations."""

    all_runs: bool = Field(
        default=False,
        description="Whether to remove what earlier runs of this results folder added, too, also "
        "from objects that are not in the plan.",
    )
    remove_edited: bool = Field(
        default=False,
        description="Whether to remove what somebody edited on the server since.",
    )


def run(
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    params: RevertAnnotationsParams,
    context: Context,
) -> None:
    """Remove what the run of the plan added to its targets, and nothing else.

    Raises
    ------
    InputError
        If something may not be deleted.
    RemoteError
        If a server fails; the next call goes on.
    """
    from parfocal.core.annotation_plan import read_plan
    from parfocal.omero.annotate.revert import revert_plan
    from parfocal.omero.connection import connect
    from parfocal.steps.annotations.servers import open_journal, plans_by_server

    plan = read_plan(inputs["plan"])
    told: dict[str, dict[str, int]] = {}
    for server, part in plans_by_server(plan).items():
        with open_journal(inputs["results"], server, must_exist=True) as journal:
            done = revert_plan(
                connect(server),
                part,
                journal,
                context,
                all_runs=params.all_runs,
                remove_edited=params.remove_edited,
            )
        told |= {target: asdict(each) for target, each in done.items()}
    sums = {name: sum(each[name] for each in told.values()) for name in ("removed", "kept")}
    context.details |= {"targets": len(told)} | sums
    receipt = {"format": "parfocal-annotation-reversion-1", "run_id": plan.run_id, "targets": told}
    write_json(outputs["receipt"], receipt)


STEP = Step(
    name="revert-annotations",
    version="1",
    summary=SUMMARIES["revert-annotations"],
    params=RevertAnnotationsParams,
    inputs=(
        Port("results", "folder", ".", "The results folder, which keeps the journal."),
        Port("plan", "json", "annotation-plan.json", "What plan-annotations wrote."),
    ),
    outputs=(Port("receipt", "json", "annotation-reversion.json", "What was removed where."),),
    run=run,
    exactness=exact(),
    scope="run",
)
