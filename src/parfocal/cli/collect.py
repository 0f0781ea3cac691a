"""``parfocal collect-results``: a results folder of data that lie apart."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from parfocal.errors import InputError, OutputExistsError

__all__ = ["collect"]


def collect(argv: Sequence[str]) -> int:
    """Lay out the records and data of a listing, and write their sample sheet.

    Raises
    ------
    InputError
        If the listing or the journal cannot be read, or names what cannot be laid out.
    OutputExistsError
        If the folder or the sheet is there already.
    """
    parser = ArgumentParser(
        prog="parfocal collect-results",
        description="Lay out records and the data that they tell of as one results folder. Data "
        "are matched with the records by digest, and linked.",
    )
    parser.add_argument(
        "--listing", type=Path, help="one path a line, and after a tab what users call it"
    )
    parser.add_argument("--folder", type=Path, required=True, help="results folder to make")
    parser.add_argument("--sheet", type=Path, help="sample sheet to write, with --listing")
    parser.add_argument(
        "--journal", type=Path, help="journal of what is on OMERO servers, to be laid out too"
    )
    parser.add_argument(
        "--rows", type=Path, help="sample sheet of the run; else its rows follow from the records"
    )
    parser.add_argument(
        "--images", type=Path, help="what the images of the run are called, one a line"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads to use (%(default)s)")
    options = parser.parse_args(argv)
    if options.threads < 1:
        parser.error("--threads is at least 1")
    if (options.listing is None) != (options.sheet is None):
        parser.error("--listing and --sheet go together")
    if options.listing is None and options.journal is None:
        parser.error("--listing, --journal or both are needed")
    for path in (options.folder, options.sheet):
        if path is not None and path.exists():
            what = "What is to be made exists already"
            raise OutputExistsError(what, where=path, remedy="Name another folder or file.")
    if options.listing is not None:
        _collect_listed(options)
    if options.journal is not None:
        from parfocal.engine.galaxy_journal import put_journal

        put_journal(options.journal, options.folder)
    return 0


def _collect_listed(options: Namespace) -> None:
    from parfocal.cli.galaxy_names import told_by_names
    from parfocal.cli.galaxy_words import field_name
    from parfocal.engine.collecting import collect_results
    from parfocal.models.sheet import read_sheet, write_sheet
    from parfocal.models.strangers import from_strangers
    from parfocal.steps import STEPS

    names = _names(options.listing)
    images = _lines(options.images) if options.images else []
    told = {path: name for path, name in names.items() if name}
    if options.rows and from_strangers():
        told[str(options.rows)] = field_name("sample_sheet")
    with told_by_names(told):
        rows = read_sheet(options.rows) if options.rows else None
        paths = [Path(path) for path in names]
        found = collect_results(paths, options.folder, STEPS, rows, options.threads, images)
    write_sheet(options.sheet, found)
    sys.stdout.write(f"{options.folder}: {len(found)} images\n")


def _names(listing: Path) -> dict[str, str]:
    """Return the paths of a listing, and what they are called; empty where it does not say."""
    pairs = (line.partition("\t") for line in _lines(listing))
    return {path.strip(): name.strip() for path, _, name in pairs}


def _lines(listing: Path) -> list[str]:
    """Return the lines of a file that are not empty, without blanks around them."""
    try:
        lines = listing.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        what = "The listing cannot be read"
        raise InputError(what, where=listing, found=error) from error
    return [line.strip() for line in lines if line.strip()]
