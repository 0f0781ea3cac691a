"""Watches worker jobs while their results are waited for."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parfocal.compute.run_folder import RunFolder
from parfocal.compute.slurm_queue import job_states
from parfocal.errors import ConfigurationError, RemoteError, WorkerDiedError

__all__ = ["Watch"]

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
TELL_EVERY_S = 60.0
GIVE_UP_AFTER = 3
"""How many jobs may end one after another before any worker of theirs has come."""

ENDING = "COMPLETING"
LOG_CHARACTERS = 600


class Watch:
    """Called while results are waited for: has jobs replaced that ended early, or gives up.

    A job that ends before its worker came is missed by nobody: the cluster goes on waiting for it.

    Parameters
    ----------
    cluster : dask_jobqueue.SLURMCluster
        The cluster.
    folder : RunFolder
        That of the run.
    refusals : sequence of str
        What Slurm said when it refused jobs; it grows.
    came : set
        Names of the workers that have come, dead ones too; it grows.
    """

    def __init__(
        self, cluster: Any, folder: RunFolder, refusals: Sequence[str], came: set[Any]
    ) -> None:
        self._cluster = cluster
        self._folder = folder
        self._refusals = refusals
        self._told = 0
        self._ended = 0
        self._came = came
        self._looked_s = self._said_s = time.monotonic()

    def __call__(self) -> None:
        """Look after the jobs.

        Raises
        ------
        ConfigurationError
            If no job is left, and Slurm refuses others.
        WorkerDiedError
            If job after job ends before its worker came.
        """
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = now_s
        here = {worker.name for worker in list(self._cluster.scheduler.workers.values())}
        if here:
            self._ended = 0
        jobs = dict(self._cluster.workers)
        self._tell_refusals(any(job.job_id for job in jobs.values()))
        absent = {name: job.job_id for name, job in jobs.items() if job.job_id}
        absent = {name: job for name, job in absent.items() if name not in here}
        if absent:
            self._look_for(absent, now_s)

    def _look_for(self, absent: dict[Any, str], now_s: float) -> None:
        """Forget jobs that are no longer in the queue, so that the cluster submits others."""
        try:
            states = job_states(self._folder.jobs)
        except RemoteError as error:
            logger.debug("The queue cannot be asked: %s", error)
            return
        for name, job in absent.items():
            if states.get(job, ENDING).startswith(ENDING):
                if name in self._came:
                    logger.warning("Worker job %s is lost", job)
                else:
                    logger.warning("Worker job %s ended before its worker came", job)
                    self._ended += 1
                self._cluster.loop.add_callback(self._cluster.workers.pop, name, None)
        if self._ended >= GIVE_UP_AFTER:
            what = "Job after job ended before its worker came"
            remedy = "See whether all nodes see the shared folder and this installation."
            found = _last_log(self._folder.logs) or "nothing in their logs"
            raise WorkerDiedError(what, where=self._folder.jobs, found=found, remedy=remedy)
        if now_s - self._said_s > TELL_EVERY_S:
            self._said_s = now_s
            logger.info("Waiting for worker jobs: %s", ", ".join(sorted(states.values())))

    def _tell_refusals(self, any_left: bool) -> None:
        new, self._told = list(self._refusals[self._told :]), len(self._refusals)
        if new and not any_left:
            what = "Slurm rejects the worker jobs, and none is left"
            remedy = "Change maximum_jobs, cores, memory_mib, walltime_min or sbatch_options."
            raise ConfigurationError(what, found=new[-1], remedy=remedy)
        for words in new:
            logger.warning("Slurm refused a further worker job: %s", words)


def _last_log(folder: Path) -> str | None:
    """Return the end of what the job that wrote last has written."""
    logs = sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime)
    if not logs:
        return None
    text = logs[-1].read_text(encoding="utf-8", errors="replace")
    return " ".join(text.split())[-LOG_CHARACTERS:] or None
