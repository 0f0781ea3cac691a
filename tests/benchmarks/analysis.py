"""Analysis beside dask-image and beside a pipeline in memory, interleaved in one run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.benchmarks.balls import write_balls
from tests.benchmarks.conversion import row
from tests.benchmarks.race import Entrant, race
from tests.benchmarks.stack import write_stack

ROUNDS = int(os.environ.get("PARFOCAL_BENCH_ROUNDS", "3"))
BLOCKS = 100_000


def measure_label(folder: Path) -> None:
    """Label and measure a mask of 1 GB; dask-image labels it, and does not measure."""
    source, chunks = folder / "mask.ome.zarr", folder / "mask.zarr"
    write_balls(source, (256, 2048, 2048), "uint8")
    _prepare("chunks", source, chunks)
    ours = _contender("parfocal-label", source, folder / "ours")
    both = _contender("parfocal-label-measure", source, folder / "both")
    theirs = _contender("dask-image-label", chunks, folder / "theirs")
    race([ours, both, theirs], ROUNDS)
    _show("1 GB mask", [ours, both, theirs])
    for one in (ours, both):
        row(f"1 GB mask: dask-image-label / {one.name}", _times(theirs, one), ">= 4")
        row(f"1 GB mask: memory of {one.name} / dask-image-label", _memory(one, theirs), "< 1")


def measure_large(folder: Path) -> None:
    """Label and measure a volume of 10 GB, once."""
    source = folder / "volume.ome.zarr"
    write_balls(source, (320, 4096, 4096), "uint16")
    ours = _contender("parfocal-label-measure", source, folder / "out")
    race([ours], 1)
    _show("10 GB volume", [ours])
    row("10 GB volume: anonymous memory", f"{ours.peak_mb:.0f} MB", "< 1,500 MB")


def measure_blocks(folder: Path) -> None:
    """Hand out 100,000 blocks whose work is to do nothing."""
    names = ("threads", "processes", "map-blocks")
    entrants = [_contender(f"blocks-{name}", folder, folder / name) for name in names]
    race(entrants, ROUNDS)
    for one in entrants:
        value = f"{one.median_s:.2f} s, {one.peak_mb:.0f} MB anonymous"
        row(f"{BLOCKS:,} blocks: {one.name}", value, "< 10 s, < 1,000 MB")


def measure_gaussian(folder: Path) -> None:
    """Smooth a volume of 1 GB, and write it."""
    source, chunks = folder / "volume.ome.zarr", folder / "volume.zarr"
    write_balls(source, (128, 2048, 2048), "uint16", noise=True)
    _prepare("chunks", source, chunks)
    ours = _contender("parfocal-gaussian", source, folder / "ours")
    theirs = _contender("dask-image-gaussian", chunks, folder / "theirs")
    race([ours, theirs], ROUNDS)
    _show("Gaussian on 1 GB", [ours, theirs])
    row("Gaussian on 1 GB: dask-image / parfocal", _times(theirs, ours), ">= 2")


def measure_pipeline(folder: Path) -> None:
    """Filter, threshold, divide and measure a stack of 2 GB; the other way holds it in memory."""
    tiff, source = folder / "stack.ome.tif", folder / "stack.ome.zarr"
    write_stack(tiff, int(os.environ.get("PARFOCAL_BENCH_PLANES", "80")), 2048, 2048)
    _prepare("convert", tiff, source)
    tiff.unlink()
    ours = _contender("parfocal-pipeline", source, folder / "ours")
    theirs = _contender("scikit-image-pipeline", source, folder / "theirs")
    race([ours, theirs], ROUNDS)
    _show("2 GB stack", [ours, theirs])
    cpu = ours.median_cpu_s / theirs.median_cpu_s
    row("2 GB stack: CPU time of parfocal / in memory", f"{cpu:.2f}", "<= 1.5")
    row("2 GB stack: memory of parfocal / in memory", _memory(ours, theirs), "< 0.25")
    found = [one.told[-1] for one in (ours, theirs)]
    row("2 GB stack: parfocal, and in memory", " and ".join(found), "alike")


def _times(one: Entrant, other: Entrant) -> str:
    wall, cpu = one.median_s / other.median_s, one.median_cpu_s / other.median_cpu_s
    return f"{wall:.1f} ({cpu:.1f} in CPU time)"


def _memory(one: Entrant, other: Entrant) -> str:
    return f"{one.peak_mb / other.peak_mb:.2f}"


def _command(name: str, source: Path, output: Path) -> list[str]:
    module = "tests.benchmarks.analysis_contenders"
    return [sys.executable, "-m", module, name, str(source), str(output)]


def _contender(name: str, source: Path, output: Path) -> Entrant:
    return Entrant(name, _command(name, source, output), (output,))


def _prepare(name: str, source: Path, output: Path) -> None:
    Entrant(name, _command(name, source, output)).make()


def _show(what: str, entrants: list[Entrant]) -> None:
    for one in entrants:
        times = f"{one.median_s:.1f} s, {one.median_cpu_s:.1f} s of CPU"
        row(f"{what}: {one.name}", f"{times}, {one.peak_mb:.0f} MB anonymous", "")
