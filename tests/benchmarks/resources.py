"""Predicted against used memory, on images that the model was not fitted to.

``python -m tests.benchmarks resources`` makes the runs in a folder that goes away. With

    python -m tests.benchmarks.resources FOLDER [FOLDER ...] --model FILE

those of the first folder stay, and are gone on with when broken off. All runs that were ended, of
further folders too, are held against each other, and a model is fitted to all of them. With
``--as-they-are`` no more runs are made. The model that comes with Parfocal,
``src/parfocal/engine/resource_model.json``, is made so. Its times are CPU times, since other work
of the machine does not count in them.

Each quarter of the cases, every fourth of them, is held out once, so that no quarter is chosen.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.resource_runs import cases, run_case

from parfocal.engine.calibration import Observation, calibrate, fit_model, observe
from parfocal.engine.resource_model import predict, read_model
from parfocal.models.resources import ResourceModel

__all__ = ["compare", "fit", "hold_out", "make_runs", "measure_resources"]

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
    base = _without_steps()
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


def _without_steps() -> ResourceModel:
    """Return the model that comes with Parfocal without its steps, fitted to the same runs."""
    return read_model().model_copy(update={"steps": {}})


def fit(runs: Sequence[Path]) -> ResourceModel:
    """Return the model that runs make, with CPU times in place of times."""
    observations = [
        replace(one, time_s=max(one.cpu_s or 0, 0.001)) for run in runs for one in observe(run)
    ]
    model = fit_model(observations, _without_steps(), runs)
    told = f"memory {model.provenance}; times to the CPU times of the same runs"
    return model.model_copy(update={"provenance": told})


def measure_resources(folder: Path) -> None:
    """Run the cases in `folder`, and print how well memory is predicted."""
    report(make_runs(folder))


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.resources")
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="+")
    parser.add_argument("--model", metavar="FILE", type=Path, help="where the fitted model goes")
    parser.add_argument("--as-they-are", action="store_true", help="make no more runs")
    options = parser.parse_args()
    if not options.as_they_are:
        make_runs(options.folders[0])
    ended = [path for folder in options.folders for path in sorted(folder.glob("*/done"))]
    runs = [path.with_name("results") for path in ended]
    report(runs)
    if options.model:
        document = fit(runs).model_dump(mode="json")
        options.model.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    _main()
