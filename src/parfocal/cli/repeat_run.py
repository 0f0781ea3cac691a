"""``parfocal repeat-run``: do the work of a run crate again, and compare the results."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from parfocal.cli.compare_runs import report_comparison

__all__ = ["repeat_run"]


def repeat_run(argv: Sequence[str]) -> int:
    """Repeat the run of a crate, and print in what its results differ.

    Raises
    ------
    InputError
        If the crate, its inputs or the folder are not such that the run can be repeated.
    VerificationError
        If a result differs.
    """
    options = _parse(argv)
    from parfocal.engine.repeated_run import Repetition, repeat_run
    from parfocal.provenance.verify_places import Places, parse_maps

    results = options.results or options.crate.absolute().parent
    asked = Repetition(
        crate=options.crate.absolute(),
        folder=options.folder.absolute(),
        places=Places(results.absolute(), parse_maps(options.map)),
        strict=options.strict,
        workflow=options.workflow,
        threads=options.threads,
    )
    report_comparison(options.crate, repeat_run(asked), options.json)
    sys.stdout.write("identical\n")
    return 0


def _parse(argv: Sequence[str]) -> Namespace:
    parser = ArgumentParser(
        prog="parfocal repeat-run",
        description="Find the inputs of a run crate by their digests, run its workflow or its "
        "steps again in a new folder, and compare the digests of all results.",
    )
    parser.add_argument("crate", metavar="CRATE", type=Path, help="folder or zip file of a crate")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("repeated-run"),
        help="where to run it again: a new folder, or an empty one (%(default)s)",
    )
    parser.add_argument(
        "--results",
        type=Path,
        help="results folder of the run, which relative paths of inputs are in; by default, that "
        "the crate lies in",
    )
    parser.add_argument(
        "--map",
        metavar="OLD=NEW",
        action="append",
        default=[],
        help="where paths or URIs that begin with OLD lie now; may be given again",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="refuse to run in another environment than the recorded one",
    )
    parser.add_argument(
        "--workflow",
        metavar="SNAKEFILE",
        type=Path,
        help="workflow to run; by default, analyse_images of the clone that Parfocal runs from",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the differences here, too")
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--threads", type=int, default=cores, help="threads to use (%(default)s)")
    options = parser.parse_args(argv)
    if options.threads < 1:
        parser.error("--threads is at least 1")
    return options
