"""Predicted against used memory, on images that the model was not fitted to.

``python -m tests.benchmarks resources`` makes the runs in a folder that goes away. With

    python -m tests.benchmarks.resources FOLDER
    parfocal calibrate FOLDER/*/results --output src/parfocal/engine/resource_model.json

they stay, are gone on with when broken off, and the model that comes with Parfocal is fitted to
all of them.

Each quarter of the cases, every fourth of them, is held out once, so that no quarter is chosen.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.resource_runs import cases, run_case

from parfocal.engine.calibration import Observation, calibrate, observe
from parfocal.engine.resource_model import predict, read_model
from parfocal.models.resources import ResourceModel

__all__ = ["compare", "hold_out", "make_runs", "measure_resources"]

QUARTERS = 4

Share = tuple[str, float]
"""A step, and what it took as a share of what was predicted."""


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


def hold_out(runs: Sequence[Path], quarter: int, base: ResourceModel) -> list[Share]:
    """Fit to the runs but every fourth, and return how those are predicted."""
    model = calibrate([run for n, run in enumerate(runs) if n % QUARTERS != quarter], base)
    held_out = [run for n, run in enumerate(runs) if n % QUARTERS == quarter]
    return [share_of(model, one) for run in held_out for one in observe(run)]


def share_of(model: ResourceModel, one: Observation) -> Share:
    """Return how much of what was predicted a run took."""
    found = predict(model, one.work, spread=one.spread)
    return one.work.step, one.memory_mb / (found.memory_bytes / 1e6)


def compare(shares: Sequence[Share]) -> tuple[float, float]:
    """Return the median relative error of what was predicted, and the largest used over it."""
    used = [share for _, share in shares]
    return statistics.median(abs(1 / share - 1) for share in used), max(used)


def report(runs: Sequence[Path]) -> None:
    """Print how each quarter of the runs is predicted by the others, and all by step."""
    base = read_model().model_copy(update={"steps": {}})  # which may be fitted to the same runs
    quarters = [hold_out(runs, quarter, base) for quarter in range(QUARTERS)]
    together = [share for quarter in quarters for share in quarter]
    rows = [(f"quarter {number}", quarter) for number, quarter in enumerate(quarters, 1)]
    rows += [
        (f"`{step}`, all quarters", [one for one in together if one[0] == step])
        for step in sorted({step for step, _ in together})
    ]
    for name, shares in rows:
        error, worst = compare(shares)
        what = f"Memory, {name}: {len(shares)} runs held out of {len(runs)} images"
        value = f"{error:.0%} median error, at most {worst - 1:+.0%} beyond what was predicted"
        print(f"| {what} | {value} | < 25 %, at most +20 % |", flush=True)


def measure_resources(folder: Path) -> None:
    """Run the cases in `folder`, and print how well memory is predicted."""
    report(make_runs(folder))


if __name__ == "__main__":
    measure_resources(Path(sys.argv[1]))
