"""The commands that are not steps."""

from __future__ import annotations

import json
import logging
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from parfocal.cli.collect import collect
from parfocal.cli.compare_runs import compare_runs
from parfocal.cli.login import login
from parfocal.cli.repeat_run import repeat_run
from parfocal.cli.sign_run import sign_run
from parfocal.cli.trace_object import trace_object
from parfocal.cli.verify_run import verify_run
from parfocal.errors import ConfigurationError, StorageError, VerificationError

__all__ = ["COMMANDS", "Command"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Command:
    """A command: one line about it, and what it does with its arguments."""

    summary: str
    run: Callable[[Sequence[str]], int]


def _schema(argv: Sequence[str]) -> int:
    from parfocal.engine.galaxy_xml import parameters_macro
    from parfocal.engine.schema import step_schema
    from parfocal.steps import SUMMARIES, load_step

    parser = ArgumentParser(prog="parfocal schema", description="Describe a step as JSON Schema.")
    parser.add_argument("step", metavar="STEP", help=", ".join(SUMMARIES))
    parser.add_argument(
        "--galaxy", action="store_true", help="the parameters as a macro for a tool of Galaxy"
    )
    options = parser.parse_args(argv)
    if options.step not in SUMMARIES:
        what = "There is no such step"
        raise ConfigurationError(what, where=options.step, expected=", ".join(SUMMARIES))
    step = load_step(options.step)
    if options.galaxy:
        sys.stdout.write(parameters_macro(step))
        return 0
    sys.stdout.write(json.dumps(step_schema(step), indent=2, ensure_ascii=False) + "\n")
    return 0


def _check_outcomes(argv: Sequence[str]) -> int:
    from parfocal.core.outcomes import current_outcomes
    from parfocal.models.sheet import read_sheet

    parser = ArgumentParser(
        prog="parfocal check-outcomes", description="Fail when any image of the sheet failed."
    )
    parser.add_argument("--sheet", type=Path, required=True, help="sample sheet")
    parser.add_argument("--results", type=Path, required=True, help="results folder")
    options = parser.parse_args(argv)
    rows = read_sheet(options.sheet)
    outcomes = current_outcomes(options.results, [row.image_id for row in rows])
    unknown = [
        row.image_id for row in rows if not any(row.image_id in s for s in outcomes.values())
    ]
    if unknown:
        what = f"{len(unknown)} of {len(rows)} images have no outcome"
        remedy = "Run the workflow to its end."
        raise VerificationError(what, where=options.results, found=unknown, remedy=remedy)
    images = [image for step in outcomes.values() for image in step.values()]
    failed = sorted((i for i in images if i.status == "failed"), key=lambda i: i.image_id)
    if failed:
        what = f"{len(failed)} of {len(rows)} images failed"
        for image in failed:
            error = " ".join(str(image.error).split())
            logger.error("%s (%s): %s", image.image_id, image.failed_step, error)
        remedy = "Mend the cause and run again: only the failed images are tried again."
        raise VerificationError(what, where=options.results, remedy=remedy)
    sys.stdout.write(f"{len(rows)} images done\n")
    return 0


def _calibrate(argv: Sequence[str]) -> int:
    parser = ArgumentParser(
        prog="parfocal calibrate",
        description="Fit the resource model to the records and benchmark files of runs, for the "
        "key resource_model of a workflow's configuration.",
    )
    parser.add_argument(
        "results", metavar="RESULTS", type=Path, nargs="+", help="results folders of runs"
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        default=Path("resource-model.json"),
        help="where the model goes (%(default)s)",
    )
    options = parser.parse_args(argv)
    from parfocal.core.publish import write_json
    from parfocal.engine.calibration import calibrate
    from parfocal.engine.resource_model import read_model

    model = calibrate(options.results, read_model())
    try:
        write_json(options.output, model.model_dump(mode="json"))
    except OSError as error:
        what = "The resource model cannot be written"
        raise StorageError(what, where=options.output, found=error) from error
    sys.stdout.write(f"{options.output}: {model.provenance}\n")
    return 0


COMMANDS = {
    "login": Command("Log in to an OMERO server, and tell how that works", login),
    "calibrate": Command("Fit the model of memory and time to what runs left behind", _calibrate),
    "schema": Command("Describe a step's parameters, inputs and outputs as JSON Schema", _schema),
    "collect-results": Command("Lay out data that lie apart, such as Galaxy's, as a run", collect),
    "verify-run": Command("Tell which data of a run crate are missing or changed", verify_run),
    "compare-runs": Command("Tell in what two runs differ, by their crates", compare_runs),
    "repeat-run": Command("Run again what a run crate tells of, and compare", repeat_run),
    "sign-run": Command("Sign a run crate, so that others can tell whose it is", sign_run),
    "trace-object": Command("Go from an object or a ROI back to its source", trace_object),
    "check-outcomes": Command("Exit with 4 when any image of a run failed", _check_outcomes),
}
