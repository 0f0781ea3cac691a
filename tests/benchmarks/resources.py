"""Predicted against used memory, on images that the model was not fitted to.

``python -m tests.benchmarks resources`` makes the runs in a folder that goes away. With

    python -m tests.benchmarks.resources FOLDER
    parfocal calibrate FOLDER/*/results --output src/parfocal/engine/resource_model.json

they stay, are gone on with when broken off, and the model that comes with Parfocal is fitted to
all of them.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tests.benchmarks.resource_runs import cases, run_case

from parfocal.engine.calibration import Observation, calibrate, observe
from parfocal.engine.resource_model import predict, read_model
from parfocal.models.resources import ResourceModel

__all__ = ["compare", "make_runs", "measure_resources"]


def make_runs(folder: Path) -> list[Path]:
    """Run all cases that were not run to their end yet; return their results folders."""
    found = []
    for number, case in enumerate(cases()):
        results = folder / case.name / "results"
        if not (folder / case.name / "done").exists():
            run_case(case, folder / case.name, number)
            (folder / case.name / "done").touch()
        found.append(results)
    return found


def split(runs: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return three quarters of the runs, and the last by chance, always the same."""
    order = np.random.default_rng(0).permutation(len(runs))
    held = set(order[: len(runs) // 4].tolist())
    return (
        [run for number, run in enumerate(runs) if number not in held],
        [run for number, run in enumerate(runs) if number in held],
    )


def compare(model: ResourceModel, observations: Sequence[Observation]) -> tuple[float, float]:
    """Return the median relative error of memory, and the largest used over predicted."""
    shares = []
    for one in observations:
        found = predict(model, one.step, one.size, one.threads, one.chosen, spread=one.spread)
        shares.append(one.memory_mb / (found.memory_bytes / 1e6))
    return statistics.median(abs(1 / share - 1) for share in shares), max(shares)


def report(runs: Sequence[Path]) -> None:
    """Fit to three quarters of the runs and print how the rest is predicted."""
    fitted_to, held_out = split(runs)
    model = calibrate(fitted_to, read_model())
    unseen = [one for run in held_out for one in observe(run)]
    for step in [*sorted({one.step for one in unseen}), "all steps"]:
        own = [one for one in unseen if step in (one.step, "all steps")]
        error, worst = compare(model, own)
        what = f"Memory of `{step}`, {len(own)} runs held out of {len(runs)} images"
        value = f"{error:.0%} median error, at most {worst - 1:+.0%} beyond what was predicted"
        print(f"| {what} | {value} | < 25 %, at most +20 % |", flush=True)


def measure_resources(folder: Path) -> None:
    """Run the cases in `folder`, and print how well memory is predicted."""
    report(make_runs(folder))


if __name__ == "__main__":
    measure_resources(Path(sys.argv[1]))
