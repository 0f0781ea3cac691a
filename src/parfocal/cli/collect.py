"""``parfocal collect-results``: a results folder of data that lie apart."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from parfocal.errors import InputError, OutputExistsError

__all__ = ["collect"]


def collect(argv: Sequence[str]) -> int:
    """Lay out the records and data of a listing, and write their sample sheet.

    Raises
    ------
    InputError
        If the listing cannot be read, or names what cannot be laid out.
    OutputExistsError
        If the folder or the sheet is there already.
    """
    parser = ArgumentParser(
        prog="parfocal collect-results",
        description="Lay out records and the data that they tell of as one results folder. Data "
        "are matched with the records by digest, and linked.",
    )
    parser.add_argument("--listing", type=Path, required=True, help="one path a line")
    parser.add_argument("--folder", type=Path, required=True, help="results folder to make")
    parser.add_argument("--sheet", type=Path, required=True, help="sample sheet to write")
    parser.add_argument(
        "--rows", type=Path, help="sample sheet of the run; else its rows follow from the records"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads to use (%(default)s)")
    options = parser.parse_args(argv)
    if options.threads < 1:
        parser.error("--threads is at least 1")
    from parfocal.engine.collecting import collect_results
    from parfocal.models.sheet import read_sheet, write_sheet
    from parfocal.steps import STEPS

    for path in (options.folder, options.sheet):
        if path.exists():
            what = "What is to be made exists already"
            raise OutputExistsError(what, where=path, remedy="Name another folder or file.")
    rows = read_sheet(options.rows) if options.rows else None
    paths = _paths(options.listing)
    found = collect_results(paths, options.folder, STEPS, rows, options.threads)
    write_sheet(options.sheet, found)
    sys.stdout.write(f"{options.folder}: {len(found)} images\n")
    return 0


def _paths(listing: Path) -> list[Path]:
    try:
        lines = listing.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        what = "The listing cannot be read"
        raise InputError(what, where=listing, found=error) from error
    return [Path(line.strip()) for line in lines if line.strip()]
