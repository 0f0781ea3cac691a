"""The command of a step, made from the step alone: for one image, for a batch, for a run."""

from __future__ import annotations

import logging
import os
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from parfocal.cli.compute import read_compute
from parfocal.cli.galaxy_names import names_of_inputs, read_file_names, told_by_names
from parfocal.cli.galaxy_params import read_galaxy_params, read_image_id, read_row
from parfocal.cli.log import progress_to_stderr
from parfocal.cli.params import check_params, read_params
from parfocal.compute import Compute, taking_part
from parfocal.core.step import Step
from parfocal.errors import ConfigurationError
from parfocal.models.base import Parameters
from parfocal.models.compute import LocalThreads

__all__ = ["make_parser", "run_step_command"]

logger = logging.getLogger(__name__)

_BATCH = ("sheet", "batch", "batch_size", "folder", "outcome")
_ONE = ("image_id", "folder")


def make_parser(step: Step) -> ArgumentParser:
    """Return the parser of a step's command."""
    parser = ArgumentParser(
        prog=f"parfocal {step.name}",
        description=f"{step.summary}\n\nParameters are described by 'parfocal schema {step.name}'.",
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    group = parser.add_argument_group("inputs and outputs")
    for port in (*step.inputs, *step.outputs):
        optional = "" if port.required else " (optional)"
        flags = sorted({f"--{port.name}", f"--{port.name.replace('_', '-')}"})
        group.add_argument(
            *flags, dest=f"port_{port.name}", metavar="PATH", help=port.help + optional
        )
    group = parser.add_argument_group("parameters")
    group.add_argument("--params", metavar="FILE|JSON", help="YAML or JSON file, or JSON")
    group.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one parameter"
    )
    for name, field in step.params.model_fields.items():
        if field.annotation is bool:
            # The same as --set name=true, by argparse itself: what comes later counts.
            group.add_argument(
                f"--{name.replace('_', '-')}",
                action="append_const",
                dest="set",
                const=f"{name}=true",
                help=f"set {name} to true: {field.description}",
            )
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--threads", type=int, default=cores, help="threads to use (%(default)s)")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write the record here")
    parser.add_argument("--replace", action="store_true", help="replace outputs that exist")
    _add_galaxy_options(parser, step)
    if step.scope == "image":
        parser.add_argument(
            "--compute",
            metavar="FILE|JSON",
            help="where blocks of an image are worked on, if not in threads",
        )
        parser.add_argument(
            "--folder",
            type=Path,
            help="results folder: of a batch, or to keep the record of one image in",
        )
        parser.add_argument("--image-id", help="what the image is called in a results folder")
        _add_batch_options(parser)
    return parser


def _add_galaxy_options(parser: ArgumentParser, step: Step) -> None:
    group = parser.add_argument_group("what the tools of Galaxy hand over")
    group.add_argument(
        "--galaxy-params",
        type=Path,
        metavar="FILE",
        help="the form of the tool, in place of --params",
    )
    if step.scope == "image":
        group.add_argument(
            "--image-id-file",
            type=Path,
            metavar="FILE",
            help="what the image is called, on the first line; its image_id is made of it",
        )
        group.add_argument(
            "--name-file",
            action="append",
            default=[],
            metavar="PORT=FILE",
            help="what an input is called, on the first line, and its datatype on the second",
        )
        group.add_argument(
            "--row-file",
            type=Path,
            metavar="FILE",
            help="sample sheet of this image alone, which tells its image_id, source and series",
        )


def _add_batch_options(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("a batch of images, instead of one")
    group.add_argument("--sheet", type=Path, help="sample sheet")
    group.add_argument("--batch", type=int, help="number of the batch, from 0")
    group.add_argument("--batch-size", type=int, help="images in a batch, on average")
    group.add_argument("--outcome", type=Path, help="where the outcome goes")
    group.add_argument(
        "--after", type=Path, action="append", default=[], help="outcome of an earlier step"
    )
    group.add_argument(
        "--path",
        action="append",
        default=[],
        metavar="PORT=PATH",
        help="where an input or output lies below the results folder, if elsewhere than usual",
    )
    group = parser.add_argument_group("attempts at a batch, as an engine counts them")
    group.add_argument("--attempt", type=int, default=1, help="which one this is (%(default)s)")
    group.add_argument("--attempts", type=int, default=1, help="how many there are (%(default)s)")
    group.add_argument("--memory-mib", type=int, help="memory that this one is given")
    group.add_argument("--time-min", type=int, help="time that it is given")
    group.add_argument(
        "--resources", type=Path, metavar="FILE", help="what was predicted, for the records"
    )


def run_step_command(step: Step, argv: Sequence[str]) -> int:
    """Run a step as its command line says.

    Returns
    -------
    int
        The exit code. A batch whose images failed is 0: its outcome tells.

    Raises
    ------
    ParfocalError
        What the step raised, for one image.
    """
    parser = make_parser(step)
    options = parser.parse_args(argv)
    if options.threads < 1:
        parser.error("--threads is at least 1")
    compute = read_compute(options.compute) if step.scope == "image" else LocalThreads()
    run = _run_one
    batch = [name for name in _BATCH if name not in _ONE]
    if step.scope == "image" and any(getattr(options, name) is not None for name in batch):
        run = _run_batch
    with taking_part(compute) as goes_on, Compute(compute, options.threads) as opened:
        return run(step, options, parser, opened) if goes_on else 0


def _run_one(step: Step, options: Namespace, parser: ArgumentParser, compute: Compute) -> int:
    paths = {
        port.name: getattr(options, f"port_{port.name}") for port in (*step.inputs, *step.outputs)
    }
    missing = [
        f"--{port.name}"
        for port in (*step.inputs, *step.outputs)
        if paths[port.name] is None and (port.required or port in step.outputs)
    ]
    if missing:
        parser.error(f"{', '.join(missing)} missing (or give --sheet, --batch and so on)")
    folder, image_id = (getattr(options, "folder", None), getattr(options, "image_id", None))
    if (folder is None) != (image_id is None):
        parser.error("--folder and --image-id of one image go together")
    params = _params(step, options, parser)
    named = options.image_id_file if step.scope == "image" else None
    names = read_file_names(step, options.name_file) if step.scope == "image" else {}
    inputs = {port.name: paths[port.name] for port in step.inputs if paths[port.name]}
    from parfocal.engine import run_step

    with told_by_names(names_of_inputs(inputs, names, named)), _code_told(folder):
        run_step(
            step,
            inputs,
            {port.name: paths[port.name] for port in step.outputs},
            params,
            threads=options.threads,
            compute=compute,
            record=options.record,
            existing="replace" if options.replace else "refuse",
            progress=progress_to_stderr(step.name),
            image_id=read_image_id(named) if named else image_id,
            results=folder,
            names=names,
            row=read_row(options.row_file) if step.scope == "image" and options.row_file else None,
        )
    logger.info("%s wrote %s", step.name, ", ".join(paths[port.name] for port in step.outputs))
    return 0


def _code_told(folder: Path | None) -> AbstractContextManager[None]:
    if folder is None:
        return nullcontext()
    from parfocal.engine.tell_jobs import own_code_told

    return own_code_told()


def _params(step: Step, options: Namespace, parser: ArgumentParser) -> Parameters:
    if options.galaxy_params is None:
        return read_params(step, options.params, options.set)
    if options.params is not None:
        parser.error("--params and --galaxy-params are one too many")
    return check_params(step, read_galaxy_params(step, options.galaxy_params), options.set)


def _run_batch(step: Step, options: Namespace, parser: ArgumentParser, compute: Compute) -> int:
    absent = [f"--{n.replace('_', '-')}" for n in _BATCH if getattr(options, n) is None]
    if absent:
        parser.error(f"a batch needs {', '.join(absent)} too")
    if options.batch_size < 1 or options.batch < 0:
        parser.error("--batch-size is at least 1 and --batch at least 0")
    if not 1 <= options.attempt <= options.attempts:
        parser.error("--attempt is at least 1 and at most --attempts")
    params = _params(step, options, parser)
    from parfocal.engine.batch import Batch, run_batch
    from parfocal.engine.job_attempt import Allotment
    from parfocal.engine.resource_plan import read_predictions
    from parfocal.models.sheet import batch_count, batch_of, read_sheet

    rows = read_sheet(options.sheet)
    batches = batch_count(len(rows), options.batch_size)
    if options.batch >= batches:
        what = "There is no such batch"
        expected = f"--batch below {batches}, for {len(rows)} images"
        raise ConfigurationError(what, where=options.sheet, expected=expected, found=options.batch)
    run_batch(
        Batch(
            step=step,
            params=params,
            rows=[row for row in rows if batch_of(row.image_id, batches) == options.batch],
            results=options.folder,
            outcome=options.outcome,
            after=options.after,
            replaced=dict(_pair(text) for text in options.path),
            threads=options.threads,
            compute=compute,
            given=Allotment(
                options.attempt, options.attempts, options.memory_mib, options.time_min
            ),
            predicted=read_predictions(options.resources, step.name) if options.resources else {},
        )
    )
    return 0


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not value:
        what = "A path is not of the form PORT=PATH"
        raise ConfigurationError(what, where=f"--path {text}")
    return name, value
