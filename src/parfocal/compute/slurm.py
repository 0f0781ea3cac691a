"""Worker jobs on Slurm that come and go with the work."""

from __future__ import annotations

import atexit
import logging
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from parfocal.compute.cluster import SCHEDULER, Opened, connect, import_jobqueue
from parfocal.compute.run_folder import RunFolder, check_shared_folder
from parfocal.compute.slurm_queue import (
    cancel_jobs,
    check_commands,
    check_partition,
    check_submission,
)
from parfocal.compute.watch import Watch
from parfocal.errors import ConfigurationError, ParfocalError, RemoteError
from parfocal.models.compute import SlurmJobs

if TYPE_CHECKING:
    from dask_jobqueue import SLURMCluster

__all__ = ["check_slurm", "open_slurm", "sbatch_options", "worker_memory_mib"]

logger = logging.getLogger(__name__)

CHANGE = "Change partition, account, cores, memory_mib, walltime_min or sbatch_options."
SUBMIT_WITHIN_S = 90.0
CLOSE_WITHIN_S = 15
ADAPT_EVERY_S = 1
IDLE_CHECKS = 120
"""After how many checks without work a job is given back: two minutes, since queues are slow."""

SHORT_TASK_S = 0.1
"""What is left for fewer workers to do, by the scheduler's estimate, when no more are asked for."""


def check_slurm(config: SlurmJobs) -> None:
    """Find out before any work whether the jobs would be taken.

    Raises
    ------
    ConfigurationError
        If this is a job itself, Slurm's commands or the shared folder are missing, there is no
        such partition, or Slurm rejects the jobs.
    RemoteError
        If Slurm does not answer.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if job and not config.inside_job:
        what = "A job on Slurm would submit jobs of its own"
        remedy = "Use engine slurm-runner or threads inside a job, or set inside_job to true."
        raise ConfigurationError(what, where=f"job {job}", remedy=remedy)
    check_commands()
    check_shared_folder(config.shared_folder)
    if config.partition:
        check_partition(config.partition)
    options = sbatch_options(config, "parfocal-check", "/dev/null")
    check_submission(options, "the worker jobs", CHANGE)


def sbatch_options(config: SlurmJobs, name: str, log: str) -> list[str]:
    """Return the options of sbatch for a worker job.

    Parameters
    ----------
    name : str
        Name of the job.
    log : str
        File for what it prints, in which ``%j`` stands for the job's id.
    """
    chosen = {"partition": config.partition, "account": config.account}
    return [
        f"--job-name={name}",
        f"--output={log}",
        *(f"--{key}={value}" for key, value in chosen.items() if value),
        "--nodes=1",
        "--ntasks=1",
        f"--cpus-per-task={config.cores}",
        f"--mem={config.memory_mib}M",
        f"--time={config.walltime_min}",
        # A worker that comes back by itself would meet the one that replaced it.
        "--no-requeue",
        *config.sbatch_options,
    ]


def worker_memory_mib(config: SlurmJobs) -> int:
    """Return at which memory a worker is restarted: below its job's, which its nanny needs too."""
    return config.memory_mib - max(256, config.memory_mib // 10)


def _worker_options(config: SlurmJobs) -> list[str]:
    """Return options of dask worker: it leaves, and is not restarted, before its job's limit."""
    walltime_s = 60 * config.walltime_min
    margin_s = min(max(60, walltime_s // 10), 600)
    lifetime = [
        "--lifetime",
        f"{walltime_s - margin_s}s",
        "--lifetime-stagger",
        f"{margin_s // 2}s",
    ]
    pages = ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    return [*lifetime, "--no-lifetime-restart", *pages]


PROLOGUE = (
    # A worker that waits until it needs less memory waits for ever; one that is restarted does not.
    "export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False",
    "export DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False",
    "export DASK_DISTRIBUTED__WORKER__MEMORY__TARGET=False",
    # Locks are not to be trusted on shared file systems.
    "export DASK_DISTRIBUTED__WORKER__USE_FILE_LOCKING=False",
)


@contextmanager
def open_slurm(config: SlurmJobs) -> Iterator[Opened]:
    """Submit worker jobs, and more as they are needed; cancel them in the end, however it comes.

    Raises
    ------
    ConfigurationError
        If Slurm rejects the first job.
    RemoteError
        If Slurm does not answer.
    """
    shared = check_shared_folder(config.shared_folder)
    with ExitStack() as stack:
        folder = RunFolder(shared)
        stack.callback(folder.remove)
        stack.enter_context(_surely(lambda: _cancel(folder.jobs)))
        folder.remove_dead(cancel_jobs)
        cluster, refusals = _start(config, folder)
        stack.callback(_close, cluster)
        _submit_first(cluster, config, refusals)
        client = stack.enter_context(connect(cluster))
        watch = Watch(cluster, folder, refusals, _note_arrivals(cluster))
        workers = config.maximum_jobs * config.cores
        yield Opened(client, workers, folder.scratch, check=watch, details={"jobs": folder.jobs})


@contextmanager
def _surely(act: Any) -> Iterator[None]:
    """Do something in the end, also when the interpreter ends before this is left."""
    atexit.register(act)
    try:
        yield
    finally:
        atexit.unregister(act)
        act()


def _cancel(jobs: str) -> None:
    try:
        cancel_jobs(jobs)
    except ParfocalError as error:
        logger.warning("Worker jobs may be left; 'scancel --name=%s' ends them: %s", jobs, error)


def _close(cluster: SLURMCluster) -> None:
    # scancel sees to what is left; distributed asserts that no worker is about to start.
    with suppress(TimeoutError, OSError, RuntimeError, AssertionError):
        cluster.close(timeout=CLOSE_WITHIN_S)


def _start(config: SlurmJobs, folder: RunFolder) -> tuple[SLURMCluster, list[str]]:
    """Start the part that hands work out, without jobs; and return where refusals are told."""
    import_jobqueue()
    from dask_jobqueue import SLURMCluster

    from parfocal.compute.keys import make_keys

    job_class, refusals = _job_class()
    options = sbatch_options(config, folder.jobs, str(folder.logs).replace("%", "%%") + "/%j.log")
    host = {"interface": config.interface} if config.interface else {}
    cluster = SLURMCluster(
        job_cls=job_class,
        job_name=folder.jobs,
        cores=config.cores,
        processes=1,
        memory=f"{worker_memory_mib(config)}MiB",
        python=shlex.quote(sys.executable),
        interface=config.interface,
        protocol="tls://",
        security=make_keys(folder.path),
        death_timeout=config.death_timeout_s,
        local_directory=shlex.quote(str(folder.scratch)),
        # All that the header tells comes from `sbatch_options`.
        job_directives_skip=["#SBATCH"],
        job_extra_directives=[shlex.quote(option) for option in options],
        job_script_prologue=list(PROLOGUE),
        worker_extra_args=_worker_options(config),
        scheduler_options=SCHEDULER | host,
        silence_logs=logging.CRITICAL,
    )
    return cluster, refusals


def _note_arrivals(cluster: SLURMCluster) -> set[Any]:
    """Return a set that the names of workers are added to as they come."""
    from distributed.diagnostics.plugin import SchedulerPlugin

    came = {worker.name for worker in list(cluster.scheduler.workers.values())}

    class Arrivals(SchedulerPlugin):  # type: ignore[misc]  # distributed has no types
        """Notes who comes."""

        def add_worker(self, scheduler: Any, worker: str) -> None:
            came.add(scheduler.workers[worker].name)

    cluster.scheduler.add_plugin(Arrivals())
    return came


def _job_class() -> tuple[type[Any], list[str]]:
    """Return a class of jobs that tells what Slurm said when it refused one."""
    from dask_jobqueue.slurm import SLURMJob

    refusals: list[str] = []

    class Job(SLURMJob):  # type: ignore[misc]  # dask_jobqueue has no types
        """A worker job."""

        async def _submit_job(self, script_filename: str) -> Any:
            try:
                return await super()._submit_job(script_filename)
            except (RuntimeError, OSError) as error:
                refusals.append(" ".join(str(error).partition("stderr:")[2].split()) or str(error))
                raise

    return Job, refusals


def _submit_first(cluster: SLURMCluster, config: SlurmJobs, refusals: list[str]) -> None:
    """Submit the first jobs, and let the cluster see to the others.

    Raises
    ------
    ConfigurationError
        If they are rejected.
    RemoteError
        If Slurm takes too long.
    """
    cluster.scale(jobs=max(1, config.minimum_jobs))
    deadline = time.monotonic() + SUBMIT_WITHIN_S
    while not any(job.job_id for job in list(cluster.workers.values())):
        if refusals:
            what = "Slurm rejects the worker jobs"
            raise ConfigurationError(what, found=refusals[0], remedy=CHANGE)
        if time.monotonic() > deadline:
            what = "Slurm takes too long to accept a job"
            raise RemoteError(what, where="sbatch", remedy="Try again.")
        time.sleep(0.05)
    cluster.adapt(
        minimum_jobs=config.minimum_jobs,
        maximum_jobs=config.maximum_jobs,
        interval=f"{ADAPT_EVERY_S}s",
        wait_count=IDLE_CHECKS,
        target_duration=f"{SHORT_TASK_S}s",
    )
