"""What the jobs of a run are given: predicted before it, raised after what lacked some."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from parfocal.core.publish import write_json
from parfocal.engine.image_sizes import read_sizes, source_states
from parfocal.engine.job_attempt import RUN_VARIABLE
from parfocal.engine.resource_inputs import StepInput, chain_inputs
from parfocal.engine.resource_model import predict, sized
from parfocal.models.base import Parameters
from parfocal.models.job_attempt import AGAIN, JobAttempt
from parfocal.models.record import Prediction
from parfocal.models.resources import ImageSize, JobCost, ResourceModel, Resources, SizeResources
from parfocal.models.sheet import Row

__all__ = ["allot", "plan_resources", "read_predictions", "resources_path"]

logger = logging.getLogger(__name__)

LEAST_MIB = 400
"""A job of Slurm needs so much for the programs that start it."""

TIME_MARGIN = 3
"""Another machine, or one that others use, may take so many times as long."""

_STEP_MIB, _STEP_MIN = 50, 5
"""Memory and time are given in multiples of these."""


def resources_path(sheet: Path) -> Path:
    """Return where the resources of a sheet's images lie: beside it."""
    return sheet.with_name(f"{sheet.stem}.resources.json")


def plan_resources(
    sheet: Path,
    rows: Sequence[Row],
    results: Path,
    steps: Mapping[str, Parameters],
    threads: int,
    model: ResourceModel,
    *,
    spread: bool = False,
) -> Resources:
    """Return what steps are expected to take for the images of a sheet, and keep it beside that.

    The first process of a run writes the file; those that the run starts take it as it is, though
    they may have other numbers of threads. Sizes of images whose sources have not changed are not
    read again.

    Parameters
    ----------
    sheet : Path
        The sample sheet.
    rows : sequence of Row
        Its rows.
    results : Path
        The results folder.
    steps : mapping of str to Parameters
        The parameters of the steps, by their names.
    threads : int
        How many threads a process has that works on images.
    model : ResourceModel
        What tells it.
    spread : bool
        Whether several processes work on an image.
    """
    path, run = resources_path(sheet), os.environ.get(RUN_VARIABLE)
    known = _read(path)
    if known is not None and run is not None and known.run == run:
        return known
    states = source_states(rows, results)
    kept = _kept_sizes(known, states)
    sizes = kept | read_sizes([row for row in rows if row.image_id not in kept], results)
    distinct: list[ImageSize | None] = list(dict.fromkeys(sizes.get(row.image_id) for row in rows))
    resources = Resources(
        run=run,
        states=states,
        images={row.image_id: distinct.index(sizes.get(row.image_id)) for row in rows},
        sizes=tuple(_predict_all(model, steps, size, threads, spread=spread) for size in distinct),
    )
    if resources != known:
        _write(path, resources)
    return resources


def _kept_sizes(known: Resources | None, states: Mapping[str, str]) -> dict[str, ImageSize]:
    if known is None:
        return {}
    same = [name for name, state in states.items() if known.states.get(name) == state]
    sizes = {name: known.sizes[known.images[name]] for name in same}
    return {name: one.size for name, one in sizes.items() if not one.assumed}


def _predict_all(
    model: ResourceModel,
    steps: Mapping[str, Parameters],
    size: ImageSize | None,
    threads: int,
    *,
    spread: bool,
) -> SizeResources:
    told = {name: params.model_dump(mode="json") for name, params in steps.items()}
    # Without a conversion, images are taken to have the chunks that ours have.
    options = told.get("convert-image", {})
    layout = {name: options[name] for name in ("chunk_px", "halve_z") if name in options}
    inputs = chain_inputs(StepInput(sized(model, size), **layout), steps)
    predicted = {
        name: predict(model, inputs[name].work(name, threads, params), spread=spread)
        for name, params in told.items()
    }
    return SizeResources(size=size or model.assumed, assumed=size is None, steps=predicted)


def _read(path: Path) -> Resources | None:
    try:
        return Resources.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        logger.debug("There are no resources yet: %s", error)
        return None


def _write(path: Path, resources: Resources) -> None:
    try:
        write_json(path, resources.model_dump(mode="json"))
    except OSError as error:
        logger.warning("Predicted resources cannot be kept, records will lack them: %s", error)


def read_predictions(path: Path, step: str) -> dict[str, Prediction]:
    """Return what was predicted for the images of this run in one step, by image_id.

    Parameters
    ----------
    path : Path
        What `plan_resources` wrote; nothing is known where it is not there or of another run.
    step : str
        Name of the step.
    """
    resources = _read(path)
    if resources is None or resources.run != os.environ.get(RUN_VARIABLE):
        return {}
    return {
        image_id: resources.sizes[number].steps[step]
        for image_id, number in resources.images.items()
        if step in resources.sizes[number].steps
    }


def allot(
    predictions: Iterable[Prediction],
    job: JobCost,
    last: JobAttempt | None,
    attempt: int,
    processes: int = 1,
) -> tuple[int, int]:
    """Return the memory (MiB) and the time (minutes) that an attempt at a batch is given.

    Memory is that of the largest image, time that of all, and both what a job takes besides.
    After an attempt that did not end well it is at least what that had; memory or time, whichever
    it lacked, is doubled, unless the run makes no other attempt at what lacked it. Where the last
    attempt left no word, both grow with the attempts. An attempt that ends at once, since the one
    before it failed for a reason that stays, is given what a job takes without images.

    Parameters
    ----------
    predictions : iterable of Prediction
        For each image of the batch.
    job : JobCost
        What a job takes besides.
    last : JobAttempt, optional
        The last attempt at this batch.
    attempt : int
        Which attempt of this run is to be made.
    processes : int
        How many processes of the job work on an image.
    """
    at_once = _ends_at_once(last, attempt)
    each = [] if at_once else list(predictions)
    most = max((one.memory_bytes for one in each), default=0)
    memory = max(LEAST_MIB, (most * processes + job.memory_mb * 1e6) / 2**20)
    minutes = (TIME_MARGIN * sum(one.time_s for one in each) + job.time_s) / 60
    if last is not None and last.cause is not None and not at_once:
        given, had = last.memory_mib or memory, last.time_min or minutes
        left_out = last.leaves_out(os.environ.get(RUN_VARIABLE), attempt)
        # What ended with exit code 0 was a last one: the next run begins with what it had.
        lacked = last.cause == "memory" and last.exit_code != 0 and not left_out
        memory = max(memory, given * (2 if lacked else 1))
        minutes = max(minutes, had * (2 if last.cause == "time" else 1))
    elif attempt > 1 and not _is_of_this_run(last, attempt):
        memory, minutes = memory * attempt, minutes * attempt
    return _round_up(memory, _STEP_MIB), _round_up(minutes, _STEP_MIN)


def _ends_at_once(last: JobAttempt | None, attempt: int) -> bool:
    failed = last is not None and last.cause is not None and last.cause not in AGAIN
    return failed and attempt > 1 and _is_of_this_run(last, attempt)


def _is_of_this_run(last: JobAttempt | None, attempt: int) -> bool:
    same = last is not None and last.run == os.environ.get(RUN_VARIABLE)
    return last is not None and same and last.attempt in (attempt - 1, attempt)


def _round_up(value: float, step: int) -> int:
    return math.ceil(value / step) * step
