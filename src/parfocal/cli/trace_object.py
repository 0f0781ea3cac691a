"""``parfocal trace-object``: where an object of a table, or a ROI, comes from."""

from __future__ import annotations

import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from parfocal.cli.verify_run import printable, write_report
from parfocal.errors import ConfigurationError

if TYPE_CHECKING:
    from parfocal.engine.traced_object import Trace
    from parfocal.engine.traced_proof import Proof
    from parfocal.models.record import Record

__all__ = ["trace_object"]

_ROI = re.compile(r"roi:([1-9][0-9]{0,17})", re.IGNORECASE)


def trace_object(argv: Sequence[str]) -> int:
    """Print what led to a row of a table, or to a ROI.

    Raises
    ------
    InputError
        If the table, the ROI, its records or its label image cannot be read.
    RemoteError
        If the OMERO server fails.
    VerificationError
        If the object is not in the label image.
    """
    options = _parse(argv)
    found = _trace_roi(options) if options.row is None else _trace_row(options)
    sys.stdout.writelines(f"{printable(line)}\n" for line in _lines(found))
    if options.json is not None:
        write_report(options.json, found.as_json())
    return 0


def _parse(argv: Sequence[str]) -> Namespace:
    parser = ArgumentParser(
        prog="parfocal trace-object",
        usage="%(prog)s [options] TABLE ROW\n       %(prog)s [options] ROI:ID",
        description="Go from an object in a table, or a ROI on an OMERO server, back to its label "
        "image, image, source, parameters, code and crate, by the records beside the results.",
    )
    parser.add_argument(
        "object",
        metavar="TABLE or ROI:ID",
        help="Parquet or TSV file of measure-objects; or the number of a ROI of apply-annotations",
    )
    parser.add_argument(
        "row", metavar="ROW", type=int, nargs="?", help="number of the row of TABLE, from 0"
    )
    parser.add_argument(
        "--results",
        metavar="FOLDER",
        type=Path,
        help="results folder; by default that around TABLE, or around the working folder",
    )
    parser.add_argument(
        "--server", metavar="SERVER", help="omero://host, where ROIs of two servers have this ID"
    )
    parser.add_argument(
        "--offline",
        action="store_true",
        help="do not ask the server whether the ROI is there and as it was written",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all of it here, too")
    options = parser.parse_args(argv)
    if options.row is not None and (options.server or options.offline):
        parser.error("--server and --offline are of ROIs")
    return options


def _trace_row(options: Namespace) -> Trace:
    from parfocal.engine.traced_object import trace_row
    from parfocal.provenance.trace_records import find_results

    table = Path(options.object)
    return trace_row(table, options.row, find_results(options.results or table))


def _trace_roi(options: Namespace) -> Trace:
    roi = _ROI.fullmatch(options.object)
    if roi is None:
        what = "This names neither a row of a table nor a ROI"
        remedy = "Rows count from 0; ROIs have the ID that OMERO shows."
        raise ConfigurationError(
            what, expected="TABLE ROW, or ROI:ID", found=options.object, remedy=remedy
        )
    from parfocal.engine.traced_object import trace_back_roi
    from parfocal.engine.traced_roi import trace_roi
    from parfocal.models.omero_server import parse_omero_server

    results = _results_here() if options.results is None else _results(options.results)
    server = parse_omero_server(options.server) if options.server else None
    found = trace_roi(int(roi[1]), results, server, offline=options.offline)
    return trace_back_roi(found, results)


def _results_here() -> Path:
    """Return the results folder that one is in, or the one that workflows write to from here."""
    usual = Path("results")
    return _results(usual if (usual / "records").is_dir() else Path())


def _results(path: Path) -> Path:
    from parfocal.provenance.trace_records import find_results

    return find_results(path)


def _lines(found: Trace) -> Iterator[str]:
    wanted = found.wanted
    yield f"object   {wanted.label} of {wanted.label_name} in {wanted.image_id}, t {wanted.t}"
    if found.roi:
        checked = "" if found.roi.checked else ", as the journal has it"
        yield f"roi      {found.roi.number} of {found.roi.target}, run {found.roi.run_id}{checked}"
        yield from (f"  edited: {one}" for one in found.roi.differences)
    if found.table:
        yield f"row      {found.row} of {found.table}"
    yield f"labels   {found.labels.uri} {found.labels.digest}"
    if found.labels_found != found.labels.digest:
        yield f"  changed since it was measured: found {found.labels_found}"
    yield from (f"  in {chunk}" for chunk in found.chunks)
    if found.image:
        yield f"image    {found.image.uri} {found.image.digest}"
    yield from (line for proof in found.proofs for line in _proof_lines(proof))
    yield from (line for record in found.records for line in _step_lines(record))
    yield from (f"missing  no record tells how {uri} was made" for uri in found.unrecorded)
    yield f"source   {found.source or 'not known'}"
    yield from _crate_lines(found)


def _proof_lines(proof: Proof) -> Iterator[str]:
    by = f" by {proof.proven_by}" if proof.proven_by else ""
    place = f"{proof.certificate.uri} {proof.certificate.digest}" if proof.certificate else ""
    yield f"proof    {proof.step}: {proof.verdict}{by} {place}".rstrip()
    if proof.reason:
        yield f"  {' '.join(proof.reason.split())}"
    if proof.fault:
        yield f"  not to be relied on: {proof.fault}"


def _step_lines(record: Record) -> Iterator[str]:
    version = f"{record.step} {record.parfocal_version}, behaviour {record.step_version}"
    yield f"step     {version}, commit {record.commit or 'not known'}"
    if record.lock_digest:
        yield f"  lock file {record.lock_digest}"
    if record.image_digest or record.container_id:
        yield f"  container {record.image_digest or record.container_id}"
    for name, value in record.parameters.items():
        yield f"  {name}: {value}"
    for artifact in record.inputs:
        yield f"  from {artifact.uri} {artifact.digest}"


def _crate_lines(found: Trace) -> Iterator[str]:
    crate, other = found.crate, found.other_crate
    yield f"crate    {crate.uri} {crate.digest}" if crate else "crate    none yet"
    if found.workflow_url:
        yield f"  of the workflow {found.workflow_url}"
    if crate and found.crate_found != crate.digest:
        yield f"  changed since it was made: found {found.crate_found}"
    yield from (f"  differs: {one}" for one in found.unlike)
    if other:
        yield f"  {other.uri} was made before, is of other images, or cannot be read"
