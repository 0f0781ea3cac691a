"""Measure the figures of docs/reference/figures.md and print them as its table.

``python -m tests.benchmarks [PART...]`` with names of `PARTS`, such as ``overhead``; all of them
without arguments. PARFOCAL_BENCH_ROUNDS is how often each program of a race runs, else 5.
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
from datetime import datetime
from pathlib import Path

import numpy as np
import tifffile
from tests.benchmarks.analysis import (
    measure_blocks,
    measure_gaussian,
    measure_label,
    measure_large,
    measure_pipeline,
)
from tests.benchmarks.conversion import measure_conversion, measure_ome_tiff
from tests.benchmarks.fetching import measure_fetch
from tests.benchmarks.galaxy import measure_galaxy
from tests.benchmarks.omero_reading import measure_omero_reading
from tests.benchmarks.resources import measure_resources
from tests.benchmarks.slurm_overhead import measure_slurm
from tests.benchmarks.stack import write_stack

from parfocal.models.sheet import Row, write_sheet

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config/analyse_images.yaml"
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
    seconds = run_workflow(folder, "--configfile", str(CONFIG))
    show("Workflow on 200 images of 64 x 64", f"{seconds / 200:.2f} s an image", "< 0.5 s")


def measure_memory(folder: Path) -> None:
    """Run the workflow, filter included, on one 2 GB stack; tell what each step's record says."""
    write_stack(folder / "stack.ome.tif", 80, 2048, 2048)
    size = (folder / "stack.ome.tif").stat().st_size / 1e9
    write_sheet(folder / "samples.tsv", [Row(image_id="stack", source="stack.ome.tif")])
    (folder / "filter.yaml").write_text(
        "filter_image: {filter: {method: gaussian}}\n", encoding="utf-8"
    )
    run_workflow(folder, "--configfile", str(CONFIG), "filter.yaml")
    for path in sorted(folder.glob("results/records/*/*/0001.json"), key=os.path.getmtime):
        record = json.loads(path.read_text(encoding="utf-8"))
        times = [datetime.fromisoformat(record[key]) for key in ("started", "ended")]
        peak = record["peak_memory_bytes"] / 1e6
        took = (times[1] - times[0]).total_seconds()
        show(f"`{record['step']}` on {size:.1f} GB", f"{peak:.0f} MB, {took:.0f} s", "< 500 MB")


def measure_annotate(folder: Path) -> None:
    """Write annotations to a server of the tests."""
    sys.path.append(str(ROOT / "tests"))  # where its modules find each other
    from tests.benchmarks.annotating import measure_annotations

    measure_annotations(folder)


def measure_crates(folder: Path) -> None:
    """Make the crate of a large run."""
    sys.path.append(str(ROOT / "tests"))  # where its modules find each other
    from tests.benchmarks.crates import measure_crate

    measure_crate(folder)


def run_workflow(folder: Path, *options: str) -> float:
    """Run the workflow on ``samples.tsv`` in `folder` with two cores; return the seconds."""
    command = [
        *("snakemake", "--snakefile", str(ROOT / "workflows/analyse_images/Snakefile")),
        *("--cores", "2", "--quiet", "all", *options),
        *("--config", "sheet=samples.tsv", "results=results"),
    ]
    return timed(command, cwd=folder)


PARTS = {
    "help": measure_help,
    "demo": measure_demo,
    "overhead": measure_overhead,
    "memory": measure_memory,
    "conversion": measure_conversion,
    "ome-tiff": measure_ome_tiff,
    "fetch": measure_fetch,
    "omero-read": measure_omero_reading,
    "annotate": measure_annotate,
    "crate": measure_crates,
    "galaxy": measure_galaxy,
    "slurm": measure_slurm,
    "resources": measure_resources,
    "label": measure_label,
    "large": measure_large,
    "blocks": measure_blocks,
    "gaussian": measure_gaussian,
    "pipeline": measure_pipeline,
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
