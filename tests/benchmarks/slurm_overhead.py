"""What a job on Slurm costs an image: 500 small images in batches, against one job an image."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from tests.slurm.cluster import Cluster

from parfocal.models.sheet import Row, batch_of, write_sheet

ROOT = Path(__file__).parents[2]
IMAGES = 500
SAMPLES = (5, 15)
BATCH_SIZE = 64
TIMEOUT_S = 3600


def measure_slurm(folder: Path) -> None:
    """Run the workflow on a Slurm of this machine, and print the rows of the table.

    Of one job an image only `SAMPLES` images are run: the jobs of 500 would take hours. What one
    more image takes is the slope between the two; start and report of the workflow are not in it.
    """
    cluster = Cluster(folder / "cluster")
    cluster.start()
    try:
        batched_s = _time(cluster, folder / "batched", _names(IMAGES), BATCH_SIZE)
        alone_s = [
            _time(cluster, folder / f"alone_{count}", _one_a_batch(count), 1) for count in SAMPLES
        ]
    finally:
        cluster.stop()
    batched = batched_s / IMAGES
    slope = (alone_s[1] - alone_s[0]) / (SAMPLES[1] - SAMPLES[0])
    what = "Workflow on Slurm, images of 64 x 64"
    text = f"{batched:.2f} s an image, {slope / batched:.0f} x less"
    print(f"| {what}, {IMAGES} in batches of {BATCH_SIZE} | {text} | |", flush=True)
    for count, seconds in zip(SAMPLES, alone_s, strict=True):
        print(f"| {what}, {count} with jobs of their own | {seconds:.0f} s | |", flush=True)
    print(f"| {what}, one more with jobs of its own | {slope:.1f} s | |", flush=True)


def _names(count: int) -> list[str]:
    return [f"image_{number:03}" for number in range(count)]


def _one_a_batch(count: int) -> list[str]:
    """Return names that fall into a batch each."""
    found: dict[int, str] = {}
    for name in _names(1000):
        found.setdefault(batch_of(name, count), name)
    return list(found.values())


def _time(cluster: Cluster, folder: Path, names: Sequence[str], batch_size: int) -> float:
    """Return the seconds that the workflow takes on the images."""
    folder.mkdir()
    write_sheet(folder / "samples.tsv", [_row(folder, name) for name in names])
    command = [
        *(str(Path(sys.executable).parent / "snakemake"), "--quiet", "all"),
        *("--snakefile", str(ROOT / "workflows/analyse_images/Snakefile")),
        *("--profile", str(ROOT / "config/profiles/slurm"), "--cores", "8"),
        # The profile asks as rarely as becomes the controller of a cluster.
        *("--slurm-init-seconds-before-status-checks", "1"),
        *("--seconds-between-status-checks", "1"),
        *("--configfile", str(ROOT / "config/analyse_images.yaml")),
        *("--config", "sheet=samples.tsv", f"batch_size={batch_size}"),
    ]
    start = time.perf_counter()
    done = cluster.run(*command, cwd=folder, timeout_s=TIMEOUT_S)
    if done.returncode:
        sys.exit(f"the workflow failed on Slurm: {done.stderr[-2000:]}")
    return time.perf_counter() - start


def _row(folder: Path, name: str) -> Row:
    image = np.random.default_rng(0).poisson(20, (64, 64)).astype(np.uint16)
    image[16:32, 16:32] += 500
    image[40:56, 36:52] += 500
    tifffile.imwrite(folder / f"{name}.tif", image)
    return Row(image_id=name, name=name, source=f"{name}.tif")
