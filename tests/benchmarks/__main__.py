"""Measure the figures of docs/reference/figures.md and print them as its table.

``python -m tests.benchmarks [help] [demo] [overhead] [memory]``; all of them without arguments.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
from tests.benchmarks.stack import write_stack

from parfocal.models.sheet import Row, write_sheet

ROOT = Path(__file__).parents[2]
PARFOCAL = [sys.executable, "-m", "parfocal"]


def timed(command: list[str], **options: object) -> float:
    """Return the seconds that a command takes."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    return time.perf_counter() - start


def show(what: str, value: str, aim: str) -> None:
    """Print one row of the table."""
    print(f"| {what} | {value} | {aim} |", flush=True)


def measure_help(_: Path) -> None:
    """Time ``parfocal --help``."""
    seconds = statistics.median(timed([*PARFOCAL, "--help"]) for _ in range(11))
    show("`parfocal --help`, median of 11", f"{seconds:.2f} s", "< 0.3 s")


def measure_demo(folder: Path) -> None:
    """Time ``make demo`` in a fresh clone: without environment and caches, then with them."""
    clone = folder / "parfocal"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    environment = os.environ | {"UV_CACHE_DIR": str(folder / "uv"), "PIP_NO_CACHE_DIR": "1"}
    demo = ["make", "--no-print-directory", "demo"]
    options = {"cwd": clone, "env": environment, "stderr": subprocess.DEVNULL}
    show("`make demo`, nothing installed", f"{timed(demo, **options):.0f} s", "< 300 s")
    shutil.rmtree(clone / "demo/results")
    show("`make demo` again, results removed", f"{timed(demo, **options):.0f} s", "< 30 s")


def measure_overhead(folder: Path) -> None:
    """Time the workflow on 200 tiny images with two cores."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(200):
        path = folder / f"{index:03}.tif"
        image = rng.poisson(20, (64, 64)).astype(np.uint16)
        image[16:32, 16:32] += 500
        image[40:56, 36:52] += 500
        tifffile.imwrite(path, image)
        rows.append(Row(image_id=f"image_{index:03}", name=path.name, source=str(path)))
    write_sheet(folder / "samples.tsv", rows)
    command = [
        *("snakemake", "--snakefile", str(ROOT / "workflows/analyse_images/Snakefile")),
        *("--configfile", str(ROOT / "config/analyse_images.yaml"), "--cores", "2"),
        *("--quiet", "all", "--config", f"sheet={folder / 'samples.tsv'}"),
        f"results={folder / 'results'}",
    ]
    seconds = timed(command, cwd=folder, stderr=subprocess.DEVNULL)
    show("Workflow on 200 images of 64 x 64", f"{seconds / 200:.2f} s an image", "< 0.5 s")


def measure_memory(folder: Path) -> None:
    """Measure the peak memory and the time of every image step on a 2 GB stack."""
    depth = int(os.environ.get("PARFOCAL_BENCH_DEPTH", "80"))
    stack = folder / "stack.ome.tif"
    write_stack(stack, depth, 2048, 2048)
    size = stack.stat().st_size / 1e9
    image, labels = "--image image.ome.zarr", "--labels nuclei.ome.zarr"
    commands = {
        "fetch-image": "--set source=stack.ome.tif --original original",
        "convert-image": f"--source original {image} --certificate certificate.json",
        "verify-image": f"--source original {image} --verification again.json",
        "filter-image": f"{image} --filtered filtered.ome.zarr",
        "segment-objects": f"{image} {labels}",
        "measure-objects": f"{image} {labels} --table nuclei.parquet --tsv nuclei.tsv",
        "assess-quality": f"{image} --quality quality.json",
        "assemble-image": f"{image} {labels} --assembled assembled.ome.zarr",
    }
    for step, arguments in commands.items():
        record = folder / f"{step}.json"
        command = [*PARFOCAL, step, *arguments.split(), "--threads", "2", "--record", str(record)]
        seconds = timed(command, cwd=folder)
        peak = json.loads(record.read_text(encoding="utf-8"))["peak_memory_bytes"] / 1e6
        show(f"`{step}` on {size:.1f} GB", f"{peak:.0f} MB, {seconds:.0f} s", "< 500 MB")


PARTS = {
    "help": measure_help,
    "demo": measure_demo,
    "overhead": measure_overhead,
    "memory": measure_memory,
}


def main() -> None:
    """Measure what the command line names."""
    print("| what | measured | aim |\n|---|---|---|", flush=True)
    base = os.environ.get("PARFOCAL_SCRATCH")
    for part in sys.argv[1:] or PARTS:
        folder = Path(tempfile.mkdtemp(prefix="parfocal-bench-", dir=base))
        try:
            PARTS[part](folder)
        finally:
            shutil.rmtree(folder)


main()
