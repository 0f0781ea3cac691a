"""``parfocal verify-run``: whether the data of a run are what its crate says."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parfocal.cli.crate_options import (
    add_data_options,
    parse_data_options,
    places_of,
    signature_of,
)
from parfocal.errors import StorageError, VerificationError

if TYPE_CHECKING:
    from parfocal.engine.verified_run import Verification

__all__ = ["printable", "verify_run", "write_report"]

_NO_RECORDS = (
    "records of attempts that ended well were not verified: the crate is of before it named them"
)


def verify_run(argv: Sequence[str]) -> int:
    """Digest anew what a crate names, and print what became of each thing.

    Raises
    ------
    InputError
        If there is no crate of ours, or it is damaged.
    VerificationError
        If something is missing or not what the crate says.
    """
    options = _parse(argv)
    from parfocal.cli.log import progress_to_stderr
    from parfocal.engine.crate_validator import validate_crate
    from parfocal.engine.paths import digest_lists_of
    from parfocal.engine.verified_run import verify_crate
    from parfocal.provenance.crate_signature import signature_path
    from parfocal.provenance.verify_graph import read_checked
    from parfocal.provenance.verify_lists import DigestLists

    places = places_of(options)
    crate = read_checked(options.crate)
    signature = signature_of(crate, options.signer)
    if options.validator_cache is not None:
        crate.findings += validate_crate(options.crate, options.validator_cache)
    found = verify_crate(
        crate,
        places,
        DigestLists(options.digest_lists, digest_lists_of(places.results), crate.files),
        threads=options.threads,
        progress=progress_to_stderr("verify-run"),
    )
    sys.stdout.writelines(f"{line}\n" for line in _lines(found))
    if options.signer is None and signature_path(options.crate).exists():
        sys.stdout.write("its signature was not checked: name who may sign it with --signer\n")
    if signature is not None:
        but = ", but not all is as it was signed: see above" if found.faults else ""
        sys.stdout.write(f"signed by {printable(signature.signer)}, {signature.key}{but}\n")
    if options.json is not None:
        signed = {"signer": signature.signer, "key": signature.key} if signature else None
        write_report(options.json, found.as_json() | {"signature": signed})
    if found.faults:
        things = "1 thing is" if found.faults == 1 else f"{found.faults} things are"
        what = f"{things} not what the crate says"
        remedy = "Take them from a backup, or run their steps again."
        raise VerificationError(what, where=options.crate, remedy=remedy)
    return 0


def _parse(argv: Sequence[str]) -> Namespace:
    parser = ArgumentParser(
        prog="parfocal verify-run",
        description="Digest anew all that a run crate names, check its certificates and the crate "
        "itself, and tell what is missing or changed. Nothing is written but what is asked for.",
    )
    add_data_options(parser, "results folder; by default, that the crate lies in or beside")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write what was found here, too")
    parser.add_argument(
        "--digest-lists",
        metavar="FOLDER",
        type=Path,
        help="keep lists of the files of OME-Zarrs here, and name by them those that change later",
    )
    parser.add_argument(
        "--validator-cache",
        metavar="FILE",
        type=Path,
        help="run rocrate-validator too, offline, with this cache",
    )
    return parse_data_options(parser, argv)


def _lines(found: Verification) -> list[str]:
    lines = []
    told: set[str] = set()  # why things are missing: once for all of them
    for entry in found.entries:
        lines.append(f"{entry.status:<10} {entry.role:<7} {printable(entry.datum.name)}")
        if entry.status == "changed" and entry.found:
            lines.append(f"  expected {entry.datum.digest}, found {entry.found}")
        reasons = [one for one in entry.reasons if entry.status != "missing" or one not in told]
        told.update(reasons)
        lines += [f"  {printable(reason)}" for reason in reasons]
    for one in found.certificates:
        state = "bad" if one.faults else one.verdict
        lines.append(f"{state:<10} certificate {printable(one.name)}")
        lines += [f"  {printable(fault)}" for fault in one.faults]
    lines += [f"bad        crate: {printable(finding)}" for finding in found.findings]
    if found.idle:
        lines.append("warning    nothing that the run made was verified: none of it is here")
    if not found.records_told:
        lines.append(f"warning    {_NO_RECORDS}")
    lines.append(", ".join(f"{number} {status}" for status, number in found.counts.items()))
    return lines


def printable(text: str) -> str:
    """Return what a terminal shows as it stands: names in a crate may hold anything."""
    return text if text.isprintable() else ascii(text)[1:-1]


def write_report(path: Path, content: dict[str, object]) -> None:
    """Write a report as JSON.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    from parfocal.core.publish import write_json

    try:
        write_json(path, _writable(content))
    except OSError as error:
        what = "The report cannot be written"
        raise StorageError(what, where=path, found=error) from error


def _writable(value: Any) -> Any:
    """Return a report with escapes where a name in it is not Unicode."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_writable(name): _writable(one) for name, one in value.items()}
    return [_writable(one) for one in value] if isinstance(value, list) else value
