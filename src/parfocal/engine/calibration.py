"""Fit the resource model to what runs left behind."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from parfocal.core.outcomes import read_outcome
from parfocal.engine.resource_features import UNHELD, memory_features, time_features
from parfocal.engine.resource_inputs import StepInput, read_input
from parfocal.engine.resource_model import predict
from parfocal.engine.resource_work import Work, variants
from parfocal.errors import InputError
from parfocal.models.record import Record
from parfocal.models.resources import Fit, JobCost, ResourceModel
from parfocal.provenance.records import iter_records
from parfocal.steps import load_step

__all__ = [
    "FEWEST",
    "LEAST",
    "Observation",
    "calibrate",
    "fit_model",
    "fit_step",
    "job_costs",
    "observe",
]

logger = logging.getLogger(__name__)

FEWEST = 8
"""A step with fewer runs keeps the fit of the model that it had."""

LEAST = {"whole": 0.7, "worked": 0.7}
"""Coefficients that runs on images without regions that large do not tell.

Dividing a region takes what `whole` says; of a volume that one fills 0.8 of it was measured, in
MiB. What comes before, `worked`, counts as much, so that larger blocks never take less.
"""

_IMAGE = "images/{}/image.ome.zarr"
_MEMORY_QUANTILE, _TIME_QUANTILE = 0.95, 0.9
_MEMORY_MARGIN = 1.1
_PRICE = 0.01
_NOTHING = 1e-9
"""Below this a coefficient is 0, but for rounding."""


@dataclass(frozen=True)
class Observation:
    """What a step took for an image.

    Parameters
    ----------
    work : Work
        What was done to which image, as the step read it; its threads are those of a process.
    memory_mb, time_s : float
        Peak memory (10^6 bytes), that of the largest process, and wall time.
    spread : bool
        Whether it was worked on in processes.
    cpu_s : float, optional
        User and system time, where the record tells it.
    """

    work: Work
    memory_mb: float
    time_s: float
    spread: bool = False
    cpu_s: float | None = None


def observe(results: Path) -> Iterator[Observation]:
    """Yield what the attempts that ended well took.

    Attempts on clusters are left out, since their blocks were worked on elsewhere, and images
    that are not there any more; also attempts with parameters that there are no more.

    Parameters
    ----------
    results : Path
        A results folder.

    Raises
    ------
    InputError
        If a record cannot be read.
    """
    images: dict[Path, StepInput | None] = {}
    for record in iter_records(results):
        path = _read_by(record, results)
        if path not in images:
            images[path] = read_input(path)
        image = images[path]
        used = record.peak_memory_bytes
        if image is None or used is None or record.ended is None or record.threads is None:
            continue
        params = _params(record)
        engine = record.details.get("compute", {}).get("engine", "threads")
        if params is None or record.status != "done" or engine not in ("threads", "processes"):
            continue
        threads = record.threads if engine == "threads" else 1
        yield Observation(
            image.work(record.step, threads, params),
            memory_mb=used / 1e6,
            time_s=max((record.ended - record.started).total_seconds(), 0.001),
            spread=engine == "processes",
            cpu_s=record.cpu_s,
        )


def _read_by(record: Record, results: Path) -> Path:
    """Return where the image lies that a step read, or the labels; else the converted one."""
    places = {artifact.role: artifact.uri for artifact in record.inputs}
    place = places.get("image", places.get("labels", _IMAGE.format(record.image_id)))
    return results / place


def _params(record: Record) -> dict[str, Any] | None:
    """Return all parameters of an attempt, None where the step does not take them any more."""
    try:
        params = load_step(record.step).params.model_validate(record.parameters)
    except (KeyError, ValidationError) as error:
        logger.debug("An attempt at %s is left out: %s", record.step, error)
        return None
    return params.model_dump(mode="json")


def calibrate(folders: Sequence[Path], base: ResourceModel) -> ResourceModel:
    """Return a model fitted to what the runs of results folders left behind.

    Parameters
    ----------
    folders : sequence of Path
        Results folders.
    base : ResourceModel
        What remains for steps that ran too seldom.

    Raises
    ------
    InputError
        If a folder holds no records, a record cannot be read, or no step ran often enough.
    """
    for folder in folders:
        if not (folder / "records").is_dir():
            what = "This is no results folder of a run"
            remedy = "Name the folder that the configuration has under 'results'."
            raise InputError(what, where=folder, expected="a folder records", remedy=remedy)
    model = fit_model([one for folder in folders for one in observe(folder)], base, folders)
    job = job_costs(folders, base.job).model_copy(update={"process_mb": model.job.process_mb})
    return model.model_copy(update={"job": job})


def fit_model(
    observations: Sequence[Observation], base: ResourceModel, folders: Sequence[Path]
) -> ResourceModel:
    """Return a model fitted to what steps took, but for what jobs take besides.

    Parameters
    ----------
    observations : sequence of Observation
        What they took.
    base : ResourceModel
        What remains for steps that ran too seldom.
    folders : sequence of Path
        Where that was observed, for messages.

    Raises
    ------
    InputError
        If no step ran often enough.
    """
    by_step: dict[str, list[Observation]] = {}
    for one in (one for one in observations if not one.spread):
        by_step.setdefault(one.work.step, []).append(one)
    fits = {
        step: fit_step(found, base.steps.get(step))
        for step, found in by_step.items()
        if len(found) >= FEWEST
    }
    if not fits:
        what = "There are too few runs to fit the resource model to"
        found = ", ".join(f"{step} {len(runs)}" for step, runs in by_step.items()) or "none"
        expected = f"{FEWEST} images that any step ended well on"
        remedy = "Name more results folders. Records of older versions do not tell the threads."
        where = ", ".join(map(str, folders))
        raise InputError(what, where=where, expected=expected, found=found, remedy=remedy)
    for step in sorted(set(by_step) - set(fits)):
        logger.warning("%s ran on %d images only, and keeps its fit", step, len(by_step[step]))
    images = max(fit.runs for fit in fits.values())
    provenance = f"fitted to {', '.join(sorted(fits))} on up to {images} images"
    model = base.model_copy(update={"provenance": provenance, "steps": base.steps | fits})
    process_mb = _process_mb(model, [one for one in observations if one.spread])
    return model.model_copy(update={"job": model.job.model_copy(update={"process_mb": process_mb})})


def _process_mb(model: ResourceModel, spread: Sequence[Observation]) -> float:
    """Return what processes took besides what a step takes in one thread."""
    if len(spread) < FEWEST:
        return model.job.process_mb
    beyond = [one.memory_mb - predict(model, one.work).memory_bytes / 1e6 for one in spread]
    return max(0.0, round(float(np.quantile(beyond, _MEMORY_QUANTILE)), 1))


def fit_step(observations: Sequence[Observation], base: Fit | None = None) -> Fit:
    """Fit memory and time of one step.

    Coefficients are not negative, so that nothing larger is expected to take less. They are those
    of a high quantile, not of the mean: of twenty runs one may take more memory than the fit, of
    ten one more time. A share is added to the memory, since lacking it costs an attempt.

    Parameters
    ----------
    observations : sequence of Observation
        What the step took.
    base : Fit, optional
        What holds as far as the runs do not tell. Without one, what a step holds is expected to
        be in memory once, and coefficients of `LEAST` are so large at least.
    """
    sized = [memory_features(one.work) for one in observations]
    timed = [time_features(one.work) for one in observations]
    memory = np.array([one.memory_mb for one in observations])
    time_s = np.array([one.time_s for one in observations])
    chosen = {method for one in observations for method in variants(one.work.params)}
    if base is None:
        base = Fit(memory_mb={}, time_s={})
        expected = LEAST | dict.fromkeys({name for one in sized for name in one} - UNHELD, 1.0)
        least = LEAST
    else:
        expected = {name: value / _MEMORY_MARGIN for name, value in base.memory_mb.items()}
        least = {}
    memory_mb = _fit(sized, memory, _MEMORY_QUANTILE, expected, least)
    return Fit(
        memory_mb=_join(base.memory_mb, sized, memory_mb, _MEMORY_MARGIN),
        time_s=_join(base.time_s, timed, _fit(timed, time_s, _TIME_QUANTILE, {}, {}), 1.0),
        variants=tuple(sorted(chosen | set(base.variants))),
        runs=len(observations),
    )


def _join(
    before: Mapping[str, float],
    known: Sequence[dict[str, float]],
    fitted: Mapping[str, float],
    margin: float,
) -> dict[str, float]:
    """Return what was fitted, and the coefficients of other methods than ran as they were."""
    ran = {name for one in known for name in one}
    kept = {name: value for name, value in before.items() if name not in ran}
    found = kept | {name: float(f"{value * margin:.6g}") for name, value in fitted.items()}
    return dict(sorted(found.items()))


def _fit(
    known: Sequence[dict[str, float]],
    used: NDArray[np.float64],
    quantile: float,
    expected: Mapping[str, float],
    least: Mapping[str, float],
) -> dict[str, float]:
    """Return the coefficients of a linear regression to a quantile of the relative errors.

    It is a linear program in how far coefficients are above and below what is expected of them,
    and in what each run took beyond and below the fit. Coefficients other than that of 1 have
    a small price for being other than expected, lest they fit what is chance.

    Source: R. Koenker, G. Bassett, "Regression quantiles", Econometrica 46 (1978), 33-50.
    """
    from scipy.optimize import linprog

    names = sorted({name for one in known for name in one})
    matrix = np.array([[one.get(name, 0.0) for name in names] for one in known]) / used[:, None]
    before = np.array([expected.get(name, 0.0) for name in names])
    lower = [expected.get(name, 0.0) - least.get(name, 0.0) for name in names]
    runs = len(used)
    price = [0.0 if name == "one" else _PRICE for name in names] * matrix.sum(axis=0)
    cost = [price, price, np.full(runs, quantile), np.full(runs, 1 - quantile)]
    equal = np.hstack([matrix, -matrix, np.eye(runs), -np.eye(runs)])
    most = [*[None] * len(names), *lower, *[None] * 2 * runs]
    changes = linprog(
        np.concatenate(cost),
        A_eq=equal,
        b_eq=1 - matrix @ before,
        bounds=[(0, bound) for bound in most],
        method="highs",
    ).x
    above, below = changes[: len(names)], changes[len(names) : 2 * len(names)]
    found = zip(names, before + above - below, strict=True)
    return {name: float(value) for name, value in found if value > _NOTHING}


def job_costs(folders: Iterable[Path], base: JobCost) -> JobCost:
    """Return what jobs took besides their largest image, by the benchmark files of Snakemake.

    Parameters
    ----------
    folders : iterable of Path
        Results folders.
    base : JobCost
        What it is at least: other engines, or Snakemake on a node, take more than what is seen.
    """
    memory, time_s = [base.memory_mb], [base.time_s]
    for folder in folders:
        records = list(iter_records(folder))
        for path in sorted((folder / "benchmarks").glob("*/[0-9]*.jsonl")):
            outcome = folder / "outcomes" / path.parent.name / f"{path.stem}.json"
            if not outcome.exists():
                continue
            images = {image.image_id for image in read_outcome(outcome).images}
            own = [r for r in records if r.step.replace("-", "_") == path.parent.name]
            own = [r for r in own if r.image_id in images and r.ended and r.peak_memory_bytes]
            for job in _benchmarks(path):
                if own and math.isfinite(job["max_rss"]):
                    most = max(record.peak_memory_bytes or 0 for record in own)
                    memory.append(job["max_rss"] * 2**20 / 1e6 - most / 1e6)
                    worked = sum((r.ended - r.started).total_seconds() for r in own if r.ended)
                    time_s.append(job["s"] - worked)
    return base.model_copy(
        update={"memory_mb": round(max(memory), 1), "time_s": round(max(time_s), 1)}
    )


def _benchmarks(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        job = json.loads(line)
        if isinstance(job.get("max_rss"), int | float) and isinstance(job.get("s"), int | float):
            yield job
