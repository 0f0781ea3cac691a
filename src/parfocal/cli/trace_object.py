"""``parfocal trace-object``: where an object of a table comes from."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from parfocal.cli.verify_run import printable, write_report

if TYPE_CHECKING:
    from parfocal.engine.traced_object import Trace

__all__ = ["trace_object"]


def trace_object(argv: Sequence[str]) -> int:
    """Print what led to a row of a table.

    Raises
    ------
    InputError
        If the table, its records or its label image cannot be read.
    VerificationError
        If the object is not in the label image.
    """
    parser = ArgumentParser(
        prog="parfocal trace-object",
        description="Go from an object in a table back to its label image, image, source, "
        "parameters, code and crate, by the records beside the results.",
    )
    parser.add_argument(
        "table", metavar="TABLE", type=Path, help="Parquet file of measure-objects, in its results"
    )
    parser.add_argument("row", metavar="ROW", type=int, help="number of the row, from 0")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all of it here, too")
    options = parser.parse_args(argv)
    from parfocal.engine.traced_object import trace_object as trace

    found = trace(options.table, options.row)
    sys.stdout.writelines(f"{printable(line)}\n" for line in _lines(found))
    if options.json is not None:
        write_report(options.json, found.as_json())
    return 0


def _lines(found: Trace) -> Iterator[str]:
    row = found.row
    yield f"object   {row['label']} of {row['label_name']} in {row['image_id']}, t {row['t']}"
    yield f"labels   {found.labels.uri} {found.labels.digest}"
    if found.labels_found != found.labels.digest:
        yield f"  changed since it was measured: found {found.labels_found}"
    for chunk in found.chunks:
        yield f"  in {chunk}"
    for record in found.records:
        version = f"{record.step} {record.parfocal_version}, behaviour {record.step_version}"
        yield f"step     {version}, commit {record.commit or 'not known'}"
        for name, value in record.parameters.items():
            yield f"  {name}: {value}"
        for artifact in record.inputs:
            yield f"  from {artifact.uri} {artifact.digest}"
    yield f"source   {found.source or 'not known'}"
    crate, other = found.crate, found.other_crate
    yield f"crate    {crate.uri} {crate.digest}" if crate else "crate    none yet"
    if crate and found.crate_found != crate.digest:
        yield f"  changed since it was made: found {found.crate_found}"
    for one in found.unlike:
        yield f"  differs: {one}"
    if other:
        yield f"  {other.uri} was made before, is of other images, or cannot be read"
