"""``parfocal compare-runs``: in what two runs differ."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from parfocal.cli.verify_run import printable, write_report
from parfocal.errors import VerificationError

if TYPE_CHECKING:
    from parfocal.engine.repeat.agreement import Findings
    from parfocal.provenance.compare_runs import Comparison
    from parfocal.provenance.read_crate import Crate

    Agree = Callable[[Crate, Crate, Comparison], Findings]

__all__ = ["compare_runs", "report_comparison"]

_MOST_IMAGES = 5
_REPORTS = ("html", "json", "crate", "sheet")
_MOST_CHARACTERS = 60


def compare_runs(argv: Sequence[str]) -> int:
    """Compare the crates of two runs, and print a table of what differs.

    Raises
    ------
    InputError
        If one of them is no crate of ours, or is damaged.
    VerificationError
        If a result differs, or the runs have none in common.
    """
    parser = ArgumentParser(
        prog="parfocal compare-runs",
        description="Tell in which inputs, parameters, versions, engines and results two runs "
        "differ, by their crates. The data are not read.",
    )
    parser.add_argument("first", metavar="A", type=Path, help="folder or zip file of a crate")
    parser.add_argument("second", metavar="B", type=Path, help="the other one")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the differences here, too")
    options = parser.parse_args(argv)
    report_comparison(options.first, options.second, options.json)
    return 0


def report_comparison(
    first: Path, second: Path, report: Path | None, agree: Agree | None = None
) -> bool:
    """Print in what the runs of two crates differ.

    Parameters
    ----------
    report : Path or None
        Where to write it as JSON, too.
    agree : callable, optional
        Compares results that are not exact.

    Returns
    -------
    bool
        Whether all results are the same; False where they agree as far as they can.

    Raises
    ------
    InputError
        If one of them is no crate of ours, or is damaged.
    StorageError
        If the report cannot be written.
    VerificationError
        If a result differs, or the runs have none in common.
    """
    from parfocal.provenance.compare_runs import compare_crates
    from parfocal.provenance.read_crate import read_crate

    crates = read_crate(first), read_crate(second)
    found = compare_crates(*crates, _run_data())
    more = agree(*crates, found) if agree else None
    sys.stdout.writelines(f"{line}\n" for line in [*_lines(found), *_more(more)])
    if report is not None:
        content = {
            "format": "parfocal-run-comparison-1",
            "first": str(first),
            "second": str(second),
            "same_results": found.same,
            "differing_results": found.differing,
            "differences": [row.as_json() for row in found.rows],
            "agreements": [one.as_json() for one in more.agreements] if more else [],
            "lost_results": more.lost if more else [],
        }
        write_report(report, content)
    explained = more is not None and more.explained
    lost = len(more.lost) if more else 0
    if lost or (not explained and (found.differing or not found.same)):
        what = f"{found.differing + lost} results differ, and {found.same} are the same"
        raise VerificationError(what, where=f"{first} and {second}")
    return not explained


def _run_data() -> set[tuple[str, str]]:
    """Return the outputs of steps on the whole run that are data, and tell no times."""
    from parfocal.steps import STEPS

    run_steps = [step for step in STEPS if step.scope == "run"]
    return {(s.name, p.name) for s in run_steps for p in s.outputs if p.kind not in _REPORTS}


def _lines(found: Comparison) -> Iterator[str]:
    width = max((len(row.what) for row in found.rows), default=0)
    for row in found.rows:
        sides = f"{_short(row.first)} | {_short(row.second)}"
        more = f", and {len(row.images) - _MOST_IMAGES} more" * (len(row.images) > _MOST_IMAGES)
        images = ", ".join(map(printable, row.images[:_MOST_IMAGES])) + more
        yield f"{row.kind:<10} {printable(row.what):<{width}}  {sides}" + f"  ({images})" * bool(
            images
        )
    yield f"{found.same} results are the same, {found.differing} differ"


def _more(found: Findings | None) -> Iterator[str]:
    """Yield what is found in the data of a repeated run beside what the crates tell."""
    if found is None:
        return
    for one in found.agreements:
        told = f"not compared: {printable(one.reason)}"
        if one.f1 is not None:
            told = f"F1 {one.f1:.4f} {'>=' if one.holds else '<'} {one.least:g}"
        yield f"agreement  {printable(one.step)}: labels  {told}  ({printable(one.image_id)})"
    for step, image_id in found.derived:
        told = "made from label images that differ, and not compared"
        yield f"agreement  {printable(step)}  {told}  ({printable(image_id)})"
    yield from (f"differs    {printable(one)}" for one in found.lost)


def _short(value: str | None) -> str:
    """Return a value as a table has room for it: of a digest the first digits."""
    if value is None:
        return "-"
    kind, _, digits = value.rpartition(":")
    if kind.endswith("sha256") and len(digits) == 64 and " " not in value:
        return digits[:12]
    text = printable(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."
