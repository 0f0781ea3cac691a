"""Conversion beside the limit of the machine and beside two peers, interleaved in one run."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tests.benchmarks.race import Entrant, race
from tests.benchmarks.stack import write_stack

ROUNDS = int(os.environ.get("PARFOCAL_BENCH_ROUNDS", "5"))
STACKS = {"0.5 GB": 20, "2 GB": 80}
_SIDE = 2048


def measure_conversion(folder: Path) -> None:
    """Convert both stacks in all ways, and tell ratios of medians and peaks of memory."""
    for size, depth in STACKS.items():
        source, verified = folder / "source.ome.tif", folder / "verified.ome.zarr"
        for stack, planes in ((source, depth), (_tiny(source), 2)):
            write_stack(stack, planes, _SIDE, _SIDE)
        entrants = {
            name: _contender(name, source, folder / "out.ome.zarr")
            for name in (
                "limit",
                "parfocal-0.5",
                "parfocal-0.4",
                "zarr-python",
                "zarr-python+zarrs",
                "ome-zarr-py",
            )
        }
        _contender("parfocal-0.5", source, verified).make()
        checking = _contender("verification", source, verified)
        checking.outputs = ()
        race([*entrants.values(), checking], ROUNDS)
        _show(size, entrants | {"verification": checking})
        source.unlink()
        shutil.rmtree(verified)
        shutil.rmtree(_tiny(verified))


def _tiny(path: Path) -> Path:
    """Return the path of the same on two planes, by which libraries are imported."""
    return path.with_name(f"tiny_{path.name}")


def _contender(name: str, source: Path, output: Path) -> Entrant:
    module = "tests.benchmarks.contenders"
    paths = (source, output, _tiny(source), _tiny(output))
    command = [sys.executable, "-m", module, name, *map(str, paths)]
    return Entrant(name, command, (output, _tiny(output)))


def _show(size: str, found: dict[str, Entrant]) -> None:
    limit, ours = found["limit"], found["parfocal-0.5"]
    for name, entrant in found.items():
        times = f"{entrant.median_s:.2f} s, {entrant.median_cpu_s:.2f} s of CPU"
        memory = "" if name == "limit" else f", {entrant.peak_mb:.0f} MB anonymous"
        row(f"{size}: {name}", times + memory, "")
    share = found["verification"].median_s / ours.median_s
    row(f"{size}: 0.5 / limit", f"{ours.median_s / limit.median_s:.2f}", "<= 1.25")
    row(f"{size}: 0.4 / limit", f"{found['parfocal-0.4'].median_s / limit.median_s:.2f}", "<= 1.4")
    for peer, aim in (("zarr-python+zarrs", ">= 1.2"), ("ome-zarr-py", ">= 3")):
        row(f"{size}: {peer} / 0.5", f"{found[peer].median_s / ours.median_s:.2f}", aim)
    row(f"{size}: verification / 0.5", f"{share:.0%}", "< 60 %")
    row(f"{size}: anonymous memory of 0.5", f"{ours.peak_mb:.0f} MB", "< 300 MB")


def row(what: str, value: str, aim: str) -> None:
    """Print one row of a table."""
    print(f"| {what} | {value} | {aim} |", flush=True)


def measure_ome_tiff(folder: Path) -> None:
    """Convert an OME-Zarr to OME-TIFF, and let tifffile do the same by its own compression."""
    stack, source = folder / "stack.ome.tif", folder / "stack.ome.zarr"
    for path, planes in ((stack, STACKS["0.5 GB"]), (_tiny(stack), 2)):
        write_stack(path, planes, _SIDE, _SIDE)
    _contender("parfocal-0.5", stack, source).make()
    stack.unlink()
    output = folder / "out.ome.tif"
    ours, theirs = (_contender(name, source, output) for name in ("parfocal-tiff", "tifffile"))
    race([ours, theirs], ROUNDS)
    for entrant in (ours, theirs):
        times = f"{entrant.median_s:.2f} s, {entrant.median_cpu_s:.2f} s of CPU"
        row(f"OME-TIFF: {entrant.name}", f"{times}, {entrant.peak_mb:.0f} MB anonymous", "")
    row("OME-TIFF: tifffile / parfocal", f"{theirs.median_s / ours.median_s:.2f}", ">= 2")
