"""Options and checks that commands on run crates have in common."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parfocal.provenance.crate_signature import Signature
    from parfocal.provenance.read_crate import Crate
    from parfocal.provenance.verify_places import Places

__all__ = ["add_crate", "add_data_options", "parse_data_options", "places_of", "signature_of"]


def add_crate(parser: ArgumentParser) -> None:
    """Add the crate that a command is about."""
    parser.add_argument("crate", metavar="CRATE", type=Path, help="folder or zip file of a crate")


def add_data_options(parser: ArgumentParser, results: str) -> None:
    """Add what a command needs that reads the data of a crate: where they lie, and whose it is.

    Parameters
    ----------
    results : str
        Help of ``--results``.
    """
    add_crate(parser)
    parser.add_argument("--results", type=Path, help=results)
    parser.add_argument(
        "--map",
        metavar="OLD=NEW",
        action="append",
        default=[],
        help="where paths or URIs that begin with OLD lie now; may be given again",
    )
    parser.add_argument(
        "--signer",
        metavar="FILE",
        type=Path,
        help="check the signature beside the crate: public key, or allowed signers as of SSH",
    )
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--threads", type=int, default=cores, help="threads to use (%(default)s)")


def parse_data_options(parser: ArgumentParser, argv: Sequence[str]) -> Namespace:
    """Return the options of such a command."""
    options = parser.parse_args(argv)
    if options.threads < 1:
        parser.error("--threads is at least 1")
    return options


def places_of(options: Namespace) -> Places:
    """Return where the options say that data lie.

    Raises
    ------
    ConfigurationError
        If a ``--map`` is not valid.
    """
    from parfocal.provenance.verify_places import Places, parse_maps

    results = options.results or _around(options.crate.absolute().parent)
    return Places(results.absolute(), parse_maps(options.map))


def _around(folder: Path) -> Path:
    """Return the results folder of a crate: what it lies in, or ``results`` beside it."""
    beside = folder / "results"
    is_beside = (beside / "records").is_dir() and not (folder / "records").is_dir()
    return beside if is_beside else folder


def signature_of(crate: Crate, signers: Path | None) -> Signature | None:
    """Check the signature of a crate, if signers are named; what is wrong becomes a finding."""
    if signers is None:
        return None
    from parfocal.provenance.crate_signature import Signature, check_signature, unlisted

    checked = check_signature(crate, signers)
    crate.findings += unlisted(crate)
    if isinstance(checked, Signature):
        return checked
    crate.findings.append(checked)
    return None
