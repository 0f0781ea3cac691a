"""Attempts at a batch job: what became of the last one, and whether another makes sense.

A job that lacked memory or time is tried again with more of it, one whose node was lost with the
same; anything else would fail again. The file of an attempt tells the next one, and the planner,
which it was. Of a job that could not tell its own end the scheduler is asked.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from parfocal.compute.job_state import LIVING, job_state, restart_cause
from parfocal.core.processes import is_dead, this_process
from parfocal.core.publish import write_json
from parfocal.engine.failures import failure_of
from parfocal.engine.job import engine_from_environment
from parfocal.errors import RepeatedFailureError, StorageError
from parfocal.models.job_attempt import AGAIN, Cause, JobAttempt

__all__ = ["RUN_VARIABLE", "Allotment", "Trial", "last_attempt"]

logger = logging.getLogger(__name__)

RUN_VARIABLE = "PARFOCAL_RUN"
"""Environment variable that names the run of the engine."""

_CAUSES: dict[str, Cause] = {
    "OUT_OF_MEMORY": "memory",
    "TIMEOUT": "time",
    "DEADLINE": "time",
    "NODE_FAIL": "node",
    "BOOT_FAIL": "node",
    "PREEMPTED": "preempted",
}
_MEANT_FROM = 2
"""Who cancels jobs of a batch so often in a run means it; without accounting nobody is known."""

_NEARLY = 0.95
"""Who was stopped after this part of the time given was stopped for its end."""


@dataclass(frozen=True)
class Allotment:
    """What an attempt at a job is given.

    Parameters
    ----------
    attempt, attempts : int
        Which attempt of the run it is, and how many there may be.
    memory_mib, time_min : int, optional
        Memory and time, as far as the engine has set them.
    """

    attempt: int = 1
    attempts: int = 1
    memory_mib: int | None = None
    time_min: int | None = None

    @property
    def is_last(self) -> bool:
        """Whether the run makes no other attempt."""
        return self.attempt >= self.attempts


class Trial:
    """Keeps the file of an attempt at a job, however it ends.

    Parameters
    ----------
    path : Path
        The file.
    given : Allotment
        What the attempt is given.

    Attributes
    ----------
    left_out : dict of str to str
        The images that this attempt does not work on, with their errors; see
        `JobAttempt.leaves_out`.
    broken_off : str
        What broke off the last attempt, for the records that it left; empty where it ended well.
    """

    def __init__(self, path: Path, given: Allotment) -> None:
        self._path = path
        self._told: Cause | None = None
        self.left_out: dict[str, str] = {}
        self.broken_off = ""
        self._attempt = JobAttempt(
            run=os.environ.get(RUN_VARIABLE),
            attempt=given.attempt,
            attempts=given.attempts,
            memory_mib=given.memory_mib,
            time_min=given.time_min,
            process=this_process(),
            job_id=engine_from_environment().job_id,
            node=os.environ.get("SLURMD_NODENAME"),
            started=datetime.now(UTC),
        )

    def __enter__(self) -> Self:
        """Begin the attempt.

        Raises
        ------
        RepeatedFailureError
            If the attempt before it in this run failed for a reason that stays.
        StorageError
            If its file cannot be written.
        """
        before = _settled_by(self._attempt, last_attempt(self._path))
        follows = before is not None and _follows(before, self._attempt)
        if before is not None:
            self.broken_off = before.message if before.cause else ""
        if before is not None and before.run == self._attempt.run:
            self.left_out = before.leaves_out(self._attempt.run, self._attempt.attempt)
            kept = {"lacked_memory": self.left_out, "cancellations": before.cancellations}
            kept |= {"before": self.broken_off if follows else ""}
            self._attempt = self._attempt.model_copy(update=kept)
        self._write()
        if before is None or not follows:
            return self
        if before.cause is not None and before.cause not in AGAIN:
            # This one was given next to nothing; the next run begins with what the last one had.
            had = {"memory_mib": before.memory_mib, "time_min": before.time_min}
            self._attempt = self._attempt.model_copy(update=had)
            self._end(before.exit_code or 1, before.cause, before.message)
            what = "The attempt before this one failed, and another would too"
            raise RepeatedFailureError(
                what,
                exit_code=before.exit_code or 1,
                where=f"attempt {self._attempt.attempt} of {self._attempt.attempts}",
                found=before.message,
            )
        logger.warning("Trying again: %s", before.message or "the last attempt was broken off")
        return self

    def lacks(self, cause: Cause, images: Mapping[str, str] | None = None) -> None:
        """Say why another attempt may end better.

        Parameters
        ----------
        cause : str
            Why.
        images : mapping of str to str, optional
            The images that lacked memory, with their errors.
        """
        self._told = cause
        self._attempt = self._attempt.model_copy(
            update={"lacked_memory": self._attempt.lacked_memory | dict(images or {})}
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Tell how the attempt ended; what cannot be written then hides no error."""
        if error is None:  # what images lacked at the last attempt is for the next run to know
            lacking = self._told or ("memory" if self.left_out else None)
            self._end(0, lacking, "Images failed that may end better" if lacking else "")
            return
        failure = failure_of(error)
        stopped = not isinstance(error, Exception)
        with suppress(StorageError):
            self._end(failure.exit_code, self._cause(stopped=stopped), failure.message)

    def _cause(self, *, stopped: bool) -> Cause:
        return self._told or ("killed" if stopped else "error")

    def _end(self, exit_code: int, cause: Cause | None, message: str) -> None:
        # Who was stopped from outside cannot tell why: the scheduler can.
        ended = {
            "ended": datetime.now(UTC),
            "exit_code": exit_code,
            "cause": cause,
            "message": message,
            "settled": self._told is not None or cause != "killed",
        }
        self._attempt = self._attempt.model_copy(update=ended)
        last = _read(self._path)
        if last is None or _same_process(last, self._attempt):
            self._write()
        else:  # this job was thought lost, and another one has begun; clocks need not agree
            logger.info("The attempt that began last is that of job %s", last.job_id)

    def _write(self) -> None:
        try:
            write_json(self._path, self._attempt.model_dump(mode="json"))
        except OSError as error:
            what = "The file of an attempt cannot be written"
            remedy = "Free some space, or make the folder writable; then run again."
            raise StorageError(what, where=self._path, found=error, remedy=remedy) from error


def _follows(before: JobAttempt, attempt: JobAttempt) -> bool:
    """Tell whether an attempt is the next of its run, or of its job."""
    next_of_run = before.run == attempt.run and before.attempt + 1 == attempt.attempt
    return next_of_run or (before.cause is not None and _same_job(before, attempt))


def _same_process(last: JobAttempt, attempt: JobAttempt) -> bool:
    return (last.process, last.job_id) == (attempt.process, attempt.job_id)


def _same_job(before: JobAttempt, attempt: JobAttempt) -> bool:
    return attempt.job_id is not None and before.job_id == attempt.job_id


def _settled_by(attempt: JobAttempt, before: JobAttempt | None) -> JobAttempt | None:
    """Return the last attempt, with its cause where the scheduler started its job once more."""
    if before is None or before.settled or not _same_job(before, attempt):
        return before
    told = restart_cause(before.job_id or "", before.node)
    if told is None:
        return _settle_alone(before)
    ending = {"cause": _CAUSES.get(told[0], "killed"), "message": told[1], "settled": True}
    return before.model_copy(update=ending)


def last_attempt(path: Path) -> JobAttempt | None:
    """Return the last attempt at a job, with its cause as far as that can be found out.

    Parameters
    ----------
    path : Path
        The file that it left; what was found out is kept there.

    Returns
    -------
    JobAttempt or None
        None where there was none, or its file cannot be read.
    """
    last = _read(path)
    if last is None:
        return None
    settled = last if last.settled else _settle(last)
    if settled.settled and not last.settled:
        with suppress(OSError):
            write_json(path, settled.model_dump(mode="json"))
    return settled


def _read(path: Path) -> JobAttempt | None:
    try:
        return JobAttempt.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        logger.warning("The file of an attempt cannot be read, and counts for nothing: %s", error)
        return None


def _settle(last: JobAttempt) -> JobAttempt:
    """Find out what ended an attempt that could not tell it."""
    state = job_state(last.job_id) if last.job_id else None
    if state is None:
        return _settle_alone(last)
    name, user = state
    if name in LIVING:
        return last
    cause = _CAUSES.get(name, "killed")
    message = f"Slurm says {name} of job {last.job_id}"
    times = last.cancellations
    if name == "CANCELLED" and user is not None:
        cause, message = "cancelled" if user else "killed", f"{message}, by user {user}"
    elif name == "CANCELLED":
        times += 1
        if times >= _MEANT_FROM:
            cause, message = "cancelled", f"{message}, for the second time in this run"
    return last.model_copy(
        update={"cause": cause, "message": message, "cancellations": times, "settled": True}
    )


def _settle_alone(last: JobAttempt) -> JobAttempt:
    """Judge by its process and its times an attempt that no scheduler knows."""
    if last.ended is None and not is_dead(last.process, float("inf")):
        return last
    used_s = (last.ended - last.started).total_seconds() if last.ended else 0.0
    late = last.time_min is not None and used_s >= _NEARLY * 60 * last.time_min
    ending: dict[str, object] = {"cause": "time" if late else "killed", "settled": True}
    if late:
        ending["message"] = f"it was stopped at the end of its {last.time_min} minutes"
    elif not last.message:
        ending["message"] = f"process {last.process.get('pid')} was killed"
    return last.model_copy(update=ending)
