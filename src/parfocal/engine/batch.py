"""A batch of images in one job: a light supervisor and one worker that it forks.

Imports cost more than the work on a small image, so images share a process. A worker that dies
(out of memory, a crash in a library) costs the image that it was at; a new one goes on behind it.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from parfocal.core.outcomes import read_outcome
from parfocal.core.publish import write_json
from parfocal.core.step import Step
from parfocal.engine.attempt import Job, engine_from_environment, failure_of, perform
from parfocal.engine.paths import resolve_ports
from parfocal.errors import ConfigurationError, WorkerDiedError
from parfocal.models.base import Parameters
from parfocal.models.outcome import ImageOutcome, Outcome
from parfocal.models.record import Failure, Record
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
    """

    step: Step
    params: Parameters
    rows: Sequence[Row]
    results: Path
    outcome: Path
    after: Sequence[Path] = ()
    replaced: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1


def run_batch(batch: Batch) -> Outcome:
    """Do one step on a batch of images and write the outcome.

    Images fail one by one; the outcome tells which, and the batch itself does not fail.

    Raises
    ------
    ConfigurationError
        If an outcome in `batch.after` is not that of these images.
    WorkerDiedError
        If workers die before they come to an image.
    """
    before = _before(batch)
    done: dict[str, ImageOutcome] = {
        row.image_id: _skipped(before[row.image_id])
        for row in batch.rows
        if row.image_id in before and before[row.image_id].status != "done"
    }
    todo = [row for row in batch.rows if row.image_id not in done]
    while todo:
        told = _run_worker(batch, todo)
        done |= told
        todo = [row for row in todo if row.image_id not in told]
    outcome = Outcome(step=batch.step.name, images=tuple(done[row.image_id] for row in batch.rows))
    if any(image.status == "failed" for image in outcome.images):
        _count_attempt(batch.outcome)
    write_json(batch.outcome, outcome.model_dump(mode="json"))
    return outcome


def attempts_path(outcome: Path) -> Path:
    """Return the file that counts how often a batch ended with failures.

    Workflows hand the count to the batch rule as a parameter, so that the next run tries again.
    """
    return outcome.with_name(f".{outcome.stem}.attempts")


def _count_attempt(outcome: Path) -> None:
    path = attempts_path(outcome)
    count = json.loads(path.read_text(encoding="utf-8")) if path.exists() else 0
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
            if found.get(name, image).status == "done":
                found[name] = image
    return found


def _skipped(image: ImageOutcome) -> ImageOutcome:
    return image.model_copy(update={"status": "skipped", "digests": {}})


def _run_worker(batch: Batch, todo: Sequence[Row]) -> dict[str, ImageOutcome]:
    """Let a forked worker go through `todo`; return what it told, and what killed it."""
    receive, send = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(receive)
        _work_and_exit(batch, todo, send)
    os.close(send)
    status: int | None = None
    try:
        told, current = _listen(receive)
        _, status = os.waitpid(pid, 0)
    finally:
        if status is None:  # this process was told to stop: so is the worker
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
    if status == 0:
        return told
    why = _explain_death(os.waitstatus_to_exitcode(status))
    if current is None:
        what = "A worker died before it came to an image"
        raise WorkerDiedError(what, where=batch.step.name, found=why)
    row = next(row for row in todo if row.image_id == current)
    told[current] = _record_death(batch, row, pid, why)
    return told


def _listen(receive: int) -> tuple[dict[str, ImageOutcome], str | None]:
    """Return the outcomes that a worker told, and the image that it was at when it ended."""
    told: dict[str, ImageOutcome] = {}
    current: str | None = None
    with os.fdopen(receive, encoding="utf-8") as messages:
        for line in messages:
            message = json.loads(line)
            current = message["image_id"]
            if "status" in message:
                told[message["image_id"]], current = ImageOutcome.model_validate(message), None
    return told, current


def _work_and_exit(batch: Batch, todo: Sequence[Row], send: int) -> None:
    code = 1
    try:
        with os.fdopen(send, "w", encoding="utf-8", buffering=1) as messages:
            for row in todo:
                messages.write(json.dumps({"image_id": row.image_id}) + "\n")
                messages.write(_one(batch, row).model_dump_json() + "\n")
        code = 0
    finally:
        # Not sys.exit: the supervisor's own cleaning up is not this process's to do.
        kind, error, trace = sys.exc_info()
        if kind is not None and error is not None:
            sys.excepthook(kind, error, trace)
        sys.stderr.flush()
        os._exit(code)


def _one(batch: Batch, row: Row) -> ImageOutcome:
    step = batch.step
    start = time.monotonic()
    inputs, outputs = resolve_ports(batch.results, step, batch.params, row, batch.replaced)
    job = Job(
        step=step,
        params=batch.params,
        inputs=inputs,
        outputs=outputs,
        image_id=row.image_id,
        row=row,
        results=batch.results,
        threads=batch.threads,
        reuse=True,
    )
    result = perform(job)
    if result.error is not None:
        failure = failure_of(result.error)
        logger.error("%s failed on %s: %s", step.name, row.image_id, failure.message)
        return ImageOutcome(
            image_id=row.image_id, status="failed", failed_step=step.name, error=failure.message
        )
    verb = "Reused" if result.reused else "Did"
    logger.info("%s %s of %s in %.2f s", verb, step.name, row.image_id, time.monotonic() - start)
    return ImageOutcome(image_id=row.image_id, status="done", digests=result.digests)


def _explain_death(code: int) -> str:
    if code == -signal.SIGKILL:
        return "the process was killed (SIGKILL), most often because memory ran out"
    if code < 0:
        return f"the process was ended by {signal.Signals(-code).name}"
    return f"the process ended with exit code {code}"


def _record_death(batch: Batch, row: Row, pid: int, why: str) -> ImageOutcome:
    what = "The worker died on this image"
    remedy = "See the job's log; give the step more memory, or a smaller image."
    died = WorkerDiedError(what, where=row.image_id, found=why, remedy=remedy)
    failure = Failure(type=type(died).__name__, message=str(died), exit_code=1)
    logger.error("%s: %s", batch.step.name, died)
    for path, record in iter_attempts(batch.results, batch.step.folder, row.image_id):
        if record.pid == pid and record.status == "started":
            ended = {"status": "failed", "error": failure, "ended": datetime.now(UTC)}
            write_record(path, record.model_copy(update=ended))
            break
    else:
        path, attempt = claim_attempt(batch.results, batch.step.folder, row.image_id)
        write_record(path, _bare_record(batch, row, attempt, pid, failure))
    return ImageOutcome(
        image_id=row.image_id, status="failed", failed_step=batch.step.name, error=str(died)
    )


def _bare_record(batch: Batch, row: Row, attempt: int, pid: int, failure: Failure) -> Record:
    from socket import gethostname

    from parfocal import __version__

    now = datetime.now(UTC)
    return Record(
        step=batch.step.name,
        step_version=batch.step.version,
        parfocal_version=__version__,
        image_id=row.image_id,
        attempt=attempt,
        status="failed",
        parameters=batch.params.model_dump(mode="json"),
        row=row.as_text(),
        started=now,
        ended=now,
        host=gethostname(),
        pid=pid,
        engine=engine_from_environment(),
        error=failure,
    )
