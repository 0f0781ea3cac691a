"""Step ``verify-annotations``: read back from OMERO what a plan says, and compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from parfocal.core.publish import write_json
from parfocal.core.step import Context, Port, Step, exact
from parfocal.errors import VerificationError
from parfocal.models.base import Parameters
from parfocal.steps import SUMMARIES

__all__ = ["STEP", "VerifyAnnotationsParams", "run"]

_TOLD = 10


class VerifyAnnotationsParams(Parameters):
    """Parameters of verify-annotations: there are none."""


def run(
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    params: VerifyAnnotationsParams,  # noqa: ARG001
    context: Context,
) -> None:
    """Compare all that the plan says with the server: texts, files, tables, ROIs and pixels.

    What differs is written to the output, all of it; and so is what the journal has on the
    targets, or on others, that is not in the plan.

    Raises
    ------
    VerificationError
        If anything differs; it tells the first of it.
    InputError
        If a target or a result is missing.
    RemoteError
        If a server fails.
    """
    from parfocal.core.annotation_plan import complete_plan, read_plan
    from parfocal.omero.annotate.verify import verify_plan
    from parfocal.omero.connection import connect
    from parfocal.steps.annotations.materials import ResultMaterials
    from parfocal.steps.annotations.servers import open_journal, plans_by_server

    results = inputs["results"]
    plan = complete_plan(read_plan(inputs["plan"]), results)
    materials = ResultMaterials(results, context.threads)
    found: list[str] = []
    others: list[str] = []
    for server, part in plans_by_server(plan).items():
        with open_journal(results, server) as journal:
            found += verify_plan(connect(server), part, journal, materials, context)
            planned = {target.target for target in part.targets}
            others += [target for target in journal.targets if target not in planned]
    context.warn_of("target(s) of earlier plans are not in this one, and were not read", others)
    count = sum(len(target.annotations) for target in plan.targets)
    context.details |= {"targets": len(plan.targets), "annotations": count}
    verdict = {
        "format": "parfocal-annotation-verification-1",
        "run_id": plan.run_id,
        "targets": [target.target for target in plan.targets],
        "annotations": count,
        "verdict": "different" if found else "verified",
        "differences": found,
        "other_targets": others,
    }
    write_json(outputs["verification"], verdict)
    context.details["verdict"] = verdict["verdict"]
    if found:
        raise _differs(found, inputs["plan"])


def _differs(found: Sequence[str], plan: Path) -> VerificationError:
    places = "1 place" if len(found) == 1 else f"{len(found)} places"
    what = f"The OMERO server differs from the annotation plan in {places}"
    more = f"; and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
    remedy = (
        "Delete first on the server what was changed there in place. "
        "Apply the plan again with 'parfocal apply-annotations'."
    )
    told = "; ".join(found[:_TOLD]) + more
    return VerificationError(what, where=plan, found=told, remedy=remedy)


STEP = Step(
    name="verify-annotations",
    version="1",
    summary=SUMMARIES["verify-annotations"],
    params=VerifyAnnotationsParams,
    inputs=(
        Port("results", "folder", ".", "The results folder, which keeps the journal."),
        Port("plan", "json", "annotation-plan.json", "What plan-annotations wrote."),
    ),
    outputs=(
        Port(
            "verification",
            "json",
            "annotation-verification.json",
            "That all is as planned, or what differs.",
        ),
    ),
    run=run,
    exactness=exact(),
    scope="run",
    tells_differences=True,
)
