"""One attempt at a batch job: what it was given, and how it ended."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from parfocal.models.base import Model

__all__ = ["AGAIN", "Cause", "JobAttempt"]

Cause = Literal["memory", "time", "node", "preempted", "killed", "cancelled", "error"]
"""Why an attempt did not end well."""

AGAIN: tuple[Cause, ...] = ("memory", "time", "node", "preempted", "killed")
"""The causes after which another attempt may end well."""

LEAVE_OUT_FROM = 3
"""Of so many attempts the last one is not for what lacked memory."""


class JobAttempt(Model):
    """One attempt at a batch job, written when it starts and again when it ends."""

    format: Literal["parfocal-job-attempt-1"] = "parfocal-job-attempt-1"
    run: str | None = Field(
        default=None, description="The run of the engine that the attempt belongs to."
    )
    attempt: int = Field(default=1, ge=1, description="1 for the first of the run.")
    attempts: int = Field(default=1, ge=1, description="How many the run makes at most.")
    memory_mib: int | None = Field(default=None, ge=1, description="Memory that it was given.")
    time_min: int | None = Field(default=None, ge=1, description="Time that it was given.")
    process: dict[str, Any] = Field(description="Which process of which machine it is.")
    job_id: str | None = Field(default=None, description="The scheduler's job.")
    node: str | None = Field(default=None, description="The scheduler's name of the node.")
    before: str = Field(
        default="", description="What broke off the attempt, or the start of the job, before it."
    )
    started: datetime
    ended: datetime | None = None
    exit_code: int | None = Field(default=None, description="0 when it ended well.")
    cause: Cause | None = Field(default=None, description="Why it did not end well.")
    message: str = Field(default="", description="The same in words.")
    lacked_memory: dict[str, str] = Field(
        default_factory=dict, description="The images that lacked memory, with their errors."
    )
    cancellations: int = Field(
        default=0, ge=0, description="How often nobody knows who cancelled a job of it in the run."
    )
    settled: bool = Field(
        default=False, description="Whether nothing more can be found out about its end."
    )

    def leaves_out(self, run: str | None, attempt: int) -> dict[str, str]:
        """Return the images that a later attempt does not work on, with their errors.

        Slurm calls a job failed in which the kernel killed a process, whatever the job returns,
        and what it tells of its other images is lost to the engine. So the last of three or more
        attempts leaves out what lacked memory in the one before.

        Parameters
        ----------
        run : str or None
            The run of the later attempt.
        attempt : int
            Its number.
        """
        same = run is not None and self.run == run
        last = attempt == self.attempts >= LEAVE_OUT_FROM
        return self.lacked_memory if same and last and self.job_id is not None else {}
