"""The run crate of a run with 10,000 outputs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.benchmarks.conversion import row
from tests.benchmarks.race import Entrant, race

from crate_records import chain, write_results
from parfocal.models.sheet import Row, write_sheet

ROOT = Path(__file__).parents[2]
ROUNDS = int(os.environ.get("PARFOCAL_BENCH_ROUNDS", "3"))
IMAGES = 2_000
"""Each with 4 attempts and 5 outputs."""


def measure_crate(folder: Path) -> None:
    """Make the crate of 8,000 attempts with 10,000 outputs, as a folder and as a zip file."""
    results, sheet = folder / "results", folder / "samples.tsv"
    rows = [Row(image_id=f"i{n:05}", name=f"i{n:05}", source=f"{n}.tif") for n in range(IMAGES)]
    write_sheet(sheet, rows)
    records = [one for each in rows for one in chain(each.image_id, each.source)]
    write_results(results, records)
    command = [sys.executable, "-m", "parfocal", "record-run", "--results", str(results)]
    command += [
        "--sheet",
        str(sheet),
        "--workflow",
        str(ROOT / "workflows/analyse_images/Snakefile"),
    ]
    entrants = []
    for name in ("crate", "crate.zip"):
        crate = folder / name
        entrants.append(Entrant(name, [*command, "--crate", str(crate)], (crate,)))
    race(entrants, ROUNDS)
    for one in entrants:
        value = f"{one.median_s:.1f} s, {one.peak_mb:.0f} MB anonymous"
        row(f"10,000 outputs: {one.name}", value, "< 30 s, < 500 MB")
