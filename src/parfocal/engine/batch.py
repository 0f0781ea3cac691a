"""A batch of images in one job: a light supervisor and one worker that it forks.

Imports cost more than the work on a small image, so images share a process. A worker that dies
(out of memory, a crash in a library) costs the image that it was at; a new one goes on behind it.
An image that was killed, or lacked memory, is left for the next attempt at the job, if there is
one.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from parfocal.compute import Compute
from parfocal.core.lease import Lease
from parfocal.core.outcomes import read_outcome
from parfocal.core.process_end import end_process
from parfocal.core.publish import remove_partials, write_json
from parfocal.core.step import Step
from parfocal.engine.attempt import perform
from parfocal.engine.deaths import Death, explain_death
from parfocal.engine.failures import failure_of
from parfocal.engine.job import Job, Result
from parfocal.engine.job_attempt import Allotment, Trial
from parfocal.engine.oom_kills import count_oom_kills
from parfocal.engine.paths import job_attempt_path, resolve_ports
from parfocal.engine.recording import base_record, record_at
from parfocal.errors import (
    ConfigurationError,
    OutOfMemoryError,
    ParfocalError,
    StorageError,
    WorkerDiedError,
)
from parfocal.models.base import Parameters
from parfocal.models.compute import LocalThreads
from parfocal.models.job_attempt import Cause
from parfocal.models.outcome import ImageOutcome, Outcome
from parfocal.models.record import Failure, Prediction, Record
from parfocal.models.sheet import Row
from parfocal.provenance.records import claim_attempt, iter_attempts, write_record

__all__ = ["Batch", "attempts_path", "run_batch"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """What one batch job does.

    Parameters
    ----------
    rows : sequence of Row
        The images of the batch, in the order of the sheet.
    after : sequence of Path
        Outcomes of the steps that this one needs; what is not done there is skipped.
    replaced : mapping of str to str
        Paths of ports other than the step's own; see `resolve_ports`.
    compute : Compute
        Where blocks of images are worked on. Each worker opens and closes its own.
    given : Allotment
        Which attempt at the job it is, and what that is given.
    predicted : mapping of str to Prediction
        What the resource model says of the images, by image_id, for their records.
    """

    step: Step
    params: Parameters
    rows: Sequence[Row]
    results: Path
    outcome: Path
    after: Sequence[Path] = ()
    replaced: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    compute: Compute = field(default_factory=lambda: Compute(LocalThreads(), 1))
    given: Allotment = field(default_factory=Allotment)
    predicted: Mapping[str, Prediction] = field(default_factory=dict)


@dataclass(frozen=True)
class _Ended:
    """How an image ended, and the cause, where another attempt may end better."""

    outcome: ImageOutcome
    again: Cause | None = None


def run_batch(batch: Batch) -> Outcome:
    """Do one step on a batch of images and write the outcome.

    Images fail one by one; the outcome tells which, and the batch itself does not fail, unless
    images are left for its next attempt.

    Raises
    ------
    RepeatedFailureError
        If the attempt before this one failed for a reason that stays.
    InputError
        If an outcome in `batch.after` is not that of these images, a path in `batch.replaced` is
        not one of a port, or the step cannot work on any image, such as without its model.
    WorkerDiedError
        If workers die before they come to an image; or if images were killed or lacked memory,
        and the run makes another attempt.
    StorageError
        If the outcome, the file of the attempt, or the record of an image on which a worker
        died cannot be written.
    """
    jobs = {row.image_id: _job(batch, row) for row in batch.rows}
    before = _before(batch)
    path = job_attempt_path(batch.results, batch.step, batch.outcome.stem)
    with Trial(path, batch.given) as trial:
        check = batch.step.check
        if check is not None and jobs and not batch.step.from_sheet:  # for all images alike
            check(next(iter(jobs.values())).inputs, batch.params)
        jobs = {name: replace(job, broken_off=trial.broken_off) for name, job in jobs.items()}
        return _do(batch, jobs, before, trial)


def _do(
    batch: Batch, jobs: Mapping[str, Job], before: Mapping[str, ImageOutcome], trial: Trial
) -> Outcome:
    done: dict[str, ImageOutcome] = {
        row.image_id: _skipped(before[row.image_id])
        for row in batch.rows
        if row.image_id in before and before[row.image_id].status != "done"
    }
    done |= {n: _left_out(batch, n, why) for n, why in trial.left_out.items() if n in jobs}
    again: dict[str, Cause] = {}
    while todo := [job for name, job in jobs.items() if name not in done]:
        ended = _run_worker(todo, trial)
        done |= {name: one.outcome for name, one in ended.items()}
        again |= {name: one.again for name, one in ended.items() if one.again}
    if again:
        lacking = {name: done[name].error or "" for name in again if again[name] == "memory"}
        trial.lacks("memory" if lacking else "killed", lacking)
    if again and not batch.given.is_last:
        what = "Images are left for the next attempt"
        first = done[next(iter(again))].error
        where = f"{', '.join(list(again)[:5])} ({len(again)} of {len(batch.rows)})"
        raise WorkerDiedError(what, where=where, found=first)
    outcome = Outcome(step=batch.step.name, images=tuple(done[row.image_id] for row in batch.rows))
    try:
        if any(image.status == "failed" for image in outcome.images):
            _count_attempt(batch.outcome)
        write_json(batch.outcome, outcome.model_dump(mode="json"))
    except OSError as error:
        what = "The outcome of a batch cannot be written"
        remedy = "Free some space, or make the folder writable; then run again."
        raise StorageError(what, where=batch.outcome, found=error, remedy=remedy) from error
    return outcome


def attempts_path(outcome: Path) -> Path:
    """Return the file that counts how often a batch ended with failures.

    Workflows hand the count to the batch rule as a parameter, so that the next run tries again.
    """
    return outcome.with_name(f".{outcome.stem}.attempts")


def _count_attempt(outcome: Path) -> None:
    path = attempts_path(outcome)
    count: int = json.loads(path.read_text(encoding="utf-8")) if path.exists() else 0
    write_json(path, count + 1)


def _before(batch: Batch) -> dict[str, ImageOutcome]:
    """Return for each image the first outcome that is not done, or a done one."""
    found: dict[str, ImageOutcome] = {}
    for path in batch.after:
        images = {image.image_id: image for image in read_outcome(path).images}
        missing = [row.image_id for row in batch.rows if row.image_id not in images]
        if missing:
            what = "An outcome is not that of this batch"
            remedy = "Use the same sheet, batch and batch size for all steps."
            raise ConfigurationError(
                what, where=path, expected=f"images {missing[:5]}", found="none", remedy=remedy
            )
        for name, image in images.items():
            if name not in found or found[name].status == "done":
                found[name] = image
    return found


def _left_out(batch: Batch, image_id: str, error: str) -> ImageOutcome:
    logger.error("%s leaves out %s, for the others: %s", batch.step.name, image_id, error)
    return ImageOutcome(
        image_id=image_id, status="failed", failed_step=batch.step.name, error=error
    )


def _skipped(image: ImageOutcome) -> ImageOutcome:
    return image.model_copy(update={"status": "skipped", "digests": {}})


def _job(batch: Batch, row: Row) -> Job:
    inputs, outputs = resolve_ports(batch.results, batch.step, batch.params, row, batch.replaced)
    return Job(
        step=batch.step,
        params=batch.params,
        inputs=inputs,
        outputs=outputs,
        image_id=row.image_id,
        row=row,
        results=batch.results,
        threads=batch.threads,
        compute=batch.compute,
        existing="reuse",
        predicted=batch.predicted.get(row.image_id),
    )


def _run_worker(todo: Sequence[Job], trial: Trial) -> dict[str, _Ended]:
    """Let a forked worker go through `todo`; return what it told, and what killed it."""
    receive, send = os.pipe()
    kills_before = count_oom_kills()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(receive)
        _work_and_exit(todo, send)
    status: int | None = None
    try:
        os.close(send)
        told, current = _listen(receive)
        _, status = os.waitpid(pid, 0)
    finally:
        if status is None:  # this process was told to stop: so is the worker
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return told
    death = explain_death(code, kills_before, count_oom_kills())
    if current is not None:
        job = next(job for job in todo if job.image_id == current)
        told[current] = _Ended(_record_death(job, pid, death), death.again)
    elif not told:
        if death.again:
            trial.lacks(death.again)
        what = "A worker died before it came to an image"
        raise WorkerDiedError(what, where=todo[0].step.name, found=death.text)
    return told


def _listen(receive: int) -> tuple[dict[str, _Ended], str | None]:
    """Return the outcomes that a worker told, and the image that it was at when it ended."""
    told: dict[str, _Ended] = {}
    current: str | None = None
    with os.fdopen(receive, encoding="utf-8") as messages:
        for line in messages:
            if not line.endswith("\n"):  # killed in the middle of telling
                break
            message = json.loads(line)
            current = str(message["image_id"])
            if "outcome" in message:
                outcome = ImageOutcome.model_validate(message["outcome"])
                told[current], current = _Ended(outcome, message["again"]), None
    return told, current


def _work_and_exit(todo: Sequence[Job], send: int) -> None:
    code = 1
    try:
        with os.fdopen(send, "w", encoding="utf-8", buffering=1) as messages, todo[0].compute:
            for job in todo:
                messages.write(json.dumps({"image_id": job.image_id}) + "\n")
                ended = _one(job)
                message = {"outcome": ended.outcome.model_dump(mode="json"), "again": ended.again}
                messages.write(json.dumps({"image_id": job.image_id} | message) + "\n")
        code = 0
    finally:
        # Not sys.exit: the supervisor's own cleaning up is not this process's to do.
        kind, error, trace = sys.exc_info()
        if kind is not None and error is not None and not isinstance(error, SystemExit):
            sys.excepthook(kind, error, trace)
        end_process()
        sys.stderr.flush()
        os._exit(code)


def _one(job: Job) -> _Ended:
    name = job.step.name
    start = time.monotonic()
    try:
        result = perform(job)
    except ParfocalError as error:
        result = Result({}, error=error)
    if result.error is not None:
        failure = failure_of(result.error)
        bug = None if isinstance(result.error, ParfocalError) else result.error
        logger.error("%s failed on %s: %s", name, job.image_id, failure.message, exc_info=bug)
        failed = ImageOutcome(
            image_id=job.image_id, status="failed", failed_step=name, error=failure.message
        )
        # Workers of a cluster that die again and again lack memory, as far as one can tell.
        lacking = isinstance(result.error, OutOfMemoryError | WorkerDiedError)
        return _Ended(failed, "memory" if lacking else None)
    verb = "Reused" if result.reused else "Did"
    logger.info("%s %s of %s in %.2f s", verb, name, job.image_id, time.monotonic() - start)
    return _Ended(ImageOutcome(image_id=job.image_id, status="done", digests=result.digests))


def _record_death(job: Job, pid: int, death: Death) -> ImageOutcome:
    """Say in the record that the worker died on a job, and remove what it left."""
    what = "The worker died on this image"
    remedy = "See the job's log; give the step more memory, or a smaller image."
    died = WorkerDiedError(what, where=job.image_id, found=death.text, remedy=remedy)
    logger.error("%s: %s", job.step.name, died)
    failure = Failure(type=type(died).__name__, message=str(died), exit_code=death.code)
    ended = {"status": "failed", "error": failure, "ended": datetime.now(UTC)}
    with record_at(job.primary):
        path, record = _record_of(job, pid)
        write_record(path, record.model_copy(update=ended))
    with Lease(job.primary):
        for final in job.outputs.values():
            remove_partials(final)
    return ImageOutcome(
        image_id=job.image_id, status="failed", failed_step=job.step.name, error=str(died)
    )


def _record_of(job: Job, pid: int) -> tuple[Path, Record]:
    """Return the record that the worker `pid` began of a job, or a new one if it did not."""
    results = job.results or Path()
    for path, record in iter_attempts(results, job.step.folder, job.image_id):
        if record.pid == pid and record.status == "started":
            return path, record
    path, attempt = claim_attempt(results, job.step.folder, job.image_id)
    return path, base_record(job, attempt).model_copy(update={"pid": pid})
