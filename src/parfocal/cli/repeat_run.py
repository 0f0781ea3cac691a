"""``parfocal repeat-run``: do the work of a run crate again, and compare the results."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from parfocal.cli.compare_runs import report_comparison
from parfocal.cli.crate_options import (
    add_data_options,
    parse_data_options,
    places_of,
    signature_of,
)
from parfocal.cli.verify_run import printable
from parfocal.errors import VerificationError

if TYPE_CHECKING:
    from parfocal.cli.compare_runs import Agree
    from parfocal.engine.repeat.agreement import Findings
    from parfocal.provenance.compare_runs import Comparison
    from parfocal.provenance.read_crate import Crate
    from parfocal.provenance.verify_places import Places

__all__ = ["agree_by_data", "repeat_run"]

_ENVIRONMENTS = ("recorded", "here", "container")


def repeat_run(argv: Sequence[str]) -> int:
    """Repeat the run of a crate, and print in what its results differ.

    Raises
    ------
    InputError
        If the crate, its inputs or the folder are not such that the run can be repeated.
    VerificationError
        If a result differs; or if the crate is not one by the signers named, and nothing was run.
    """
    options = _parse(argv)
    from parfocal.engine.repeat.choice import Wanted
    from parfocal.engine.repeat.run import Repetition, repeat_run
    from parfocal.provenance.read_crate import read_crate

    places = places_of(options)
    crate = read_crate(options.crate.absolute())
    signature = signature_of(crate, options.signer)
    if signature is not None and not crate.findings:
        sys.stdout.write(f"signed by {printable(signature.signer)}, {signature.key}\n")
    elif options.signer is not None:
        what = "The crate is not as one of the signers signed it, and was not run"
        found = "; ".join(map(printable, crate.findings[:10]))
        raise VerificationError(what, where=options.crate, found=found)
    asked = Repetition(
        crate=crate,
        folder=options.folder.absolute(),
        places=places,
        wanted=Wanted(options.environment, options.strict, options.workflow, options.repository),
        threads=options.threads,
    )
    made = repeat_run(asked)
    agree = agree_by_data(places, made, options.threads)
    same = report_comparison(options.crate, made, options.json, agree)
    sys.stdout.write("identical\n" if same else "the same within tolerances\n")
    return 0


def agree_by_data(places: Places, made: Path, threads: int) -> Agree:
    """Return what compares results that are not exact, by the data of both runs."""
    from parfocal.engine.repeat.agreement import Side, compare_repeated
    from parfocal.provenance.verify_places import Places

    def agree(first: Crate, second: Crate, found: Comparison) -> Findings:
        there = Side(second, Places(made.parent, {}))
        return compare_repeated(Side(first, places), there, found, threads)

    return agree


def _parse(argv: Sequence[str]) -> Namespace:
    parser = ArgumentParser(
        prog="parfocal repeat-run",
        description="Find the inputs of a run crate by their digests, make the environment of the "
        "run, run its workflow or its steps again in a new folder, and compare the digests of all "
        "results.",
    )
    add_data_options(
        parser,
        "results folder of the run, which relative paths of inputs are in; by default, that "
        "the crate lies in or beside",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("repeated-run"),
        help="where to run it again: a new folder, or an empty one (%(default)s)",
    )
    parser.add_argument(
        "--environment",
        choices=_ENVIRONMENTS,
        default="recorded",
        help="where to run it: in the recorded environment, which is made where it is not the "
        "present one; in the present one (here); or in the container image of the recorded commit "
        "(%(default)s)",
    )
    parser.add_argument(
        "--repository",
        metavar="PATH|URL",
        help="repository to take the recorded commit from; by default, the clone that Parfocal "
        "runs from",
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
        help="workflow to run, in the present environment; by default, analyse_images of the "
        "environment",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the differences here, too")
    options = parse_data_options(parser, argv)
    if options.workflow is not None and options.environment == "container":
        parser.error("--workflow is run in the present environment, and in no container")
    return options
