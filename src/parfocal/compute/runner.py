"""The tasks of one Slurm allocation: the first hands out, the second is the step, others work.

To dask_jobqueue's SLURMRunner this adds keys of the run's own, and that all tasks end when the
step does, or is killed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from parfocal.compute.cluster import (
    SCHEDULER,
    NoWorkers,
    Opened,
    connect,
    import_jobqueue,
    silence_logs,
)
from parfocal.compute.presence import Presence, read_presence
from parfocal.compute.run_folder import RunFolder, check_shared_folder
from parfocal.compute.slurm_queue import cancel_jobs
from parfocal.compute.tasks import (
    END_FILE,
    MEET_WITHIN_S,
    OVER,
    STEP,
    STEP_FILE,
    WORKING,
    Tasks,
    touch,
)
from parfocal.errors import ConfigurationError, RemoteError
from parfocal.models.compute import SlurmRunner

__all__ = ["open_runner", "part_of_runner"]

logger = logging.getLogger(__name__)

HANDS_OUT = 0
ADDRESS_FILE = "scheduler.json"

REACH_WITHIN_S = 60.0
"""How long a worker looks for the task that hands out, which has told its address."""

POLL_S = 0.5


@contextmanager
def part_of_runner(config: SlurmRunner) -> Iterator[bool]:
    """Take this task's part; the step's goes on in the body, the others return when it is over.

    Yields
    ------
    bool
        Whether this task goes on with the step.

    Raises
    ------
    ConfigurationError
        If this is no task of a job step, there are not enough, or the shared folder is missing.
    RemoteError
        If the tasks do not meet.
    """
    rank, _ = _rank()
    folder = _folder(config)
    if rank != STEP:
        _hand_out(config, folder) if rank == HANDS_OUT else _work(config, folder)
        yield False
        return
    _await_scheduler(folder)
    with Presence(folder / STEP_FILE):
        try:
            yield True
        finally:
            touch(folder / END_FILE)


@contextmanager
def open_runner(config: SlurmRunner) -> Iterator[Opened]:
    """Connect the step to the other tasks.

    Raises
    ------
    ConfigurationError, RemoteError
        See `part_of_runner`.
    """
    from parfocal.compute.keys import read_keys

    _, tasks = _rank()
    folder = _folder(config)
    address = _await_scheduler(folder)
    by = f"task {HANDS_OUT} of job {_job()}"
    with connect(address, by, security=read_keys(folder)) as client:
        check = NoWorkers(client)
        workers = (tasks - 2) * _threads()
        details = {"tasks": tasks}
        yield Opened(client, workers, folder / "scratch", check=check, by=by, details=details)


def _rank() -> tuple[int, int]:
    """Return the number of this task and how many there are."""
    remedy = "Start the command with 'srun --ntasks=N', N at least 3, inside an allocation."
    try:
        rank, tasks = int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_STEP_NUM_TASKS"])
    except (KeyError, ValueError) as error:
        what = "Engine slurm-runner works in the tasks of a job step, and this is none"
        raise ConfigurationError(what, remedy=remedy) from error
    if tasks < 3:
        what = "Engine slurm-runner needs a task to hand out, one for the step, and workers"
        raise ConfigurationError(what, expected="3 tasks or more", found=tasks, remedy=remedy)
    return rank, tasks


def _job() -> str:
    return os.environ.get("SLURM_JOB_ID", "0")


def _threads() -> int:
    return int(os.environ.get("SLURM_CPUS_PER_TASK", "1"))


def _folder(config: SlurmRunner) -> Path:
    """Return the folder that all tasks of the job step name alike."""
    shared = check_shared_folder(config.shared_folder)
    names = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
    return shared / "-".join(["parfocal", *(os.environ.get(name, "0") for name in names)])


def _await_scheduler(folder: Path) -> str:
    """Return the address of the task that hands out, when it is ready."""
    deadline = time.monotonic() + MEET_WITHIN_S
    while time.monotonic() < deadline:
        if address := read_presence(folder / ADDRESS_FILE).get("address"):
            return str(address)
        time.sleep(POLL_S)
    what = "The task that hands out the work does not show up"
    remedy = "See its messages; all nodes must see the shared folder at the same path."
    raise RemoteError(what, where=folder, remedy=remedy)


def _hand_out(config: SlurmRunner, path: Path) -> None:
    """Be the scheduler until the step is over, then remove the folder."""
    from parfocal.compute.keys import make_keys

    folder = RunFolder(path.parent, path.name.removeprefix("parfocal-"))
    try:
        folder.remove_dead(cancel_jobs)
        options = SCHEDULER | {
            "protocol": "tls://",
            "security": make_keys(folder.path),
            "interface": config.interface,
        }
        tasks = Tasks(folder.path)
        _take_role(tasks, {"scheduler_options": options})
        _await_workers(tasks)
    finally:
        folder.remove()


def _await_workers(tasks: Tasks) -> None:
    """Wait until no worker uses the folder any more, those that come late included."""
    wanted = _rank()[1] - 2
    deadline = time.monotonic() + MEET_WITHIN_S
    while tasks.ended() < wanted and time.monotonic() < deadline:
        time.sleep(POLL_S)


def _work(config: SlurmRunner, folder: Path) -> None:
    """Be a worker until the scheduler ends."""
    _await_scheduler(folder)
    number = _rank()[0]
    with Presence(folder / f"{WORKING}{number}"):
        try:
            # One that comes when all is done would wait for a scheduler that is gone.
            if not (folder / END_FILE).exists():
                _take_role(Tasks(folder), {"worker_options": _worker_options(config, folder)})
        finally:
            touch(folder / f"{OVER}{number}")


def _worker_options(config: SlurmRunner, folder: Path) -> dict[str, Any]:
    from parfocal.compute.keys import read_keys

    return {
        "security": read_keys(folder),
        "protocol": "tls://",
        "interface": config.interface,
        "nthreads": _threads(),
        "memory_limit": 0,  # Slurm bounds it
        "local_directory": str(folder / "scratch"),
        "death_timeout": REACH_WITHIN_S,
        "dashboard": False,
        "dashboard_address": "127.0.0.1:0",
    }


def _take_role(tasks: Tasks, options: Mapping[str, Any]) -> None:
    """Be scheduler or worker, as the number of the task says, until that is over."""
    import_jobqueue()
    from dask_jobqueue.slurm import SLURMRunner

    class Runner(SLURMRunner):  # type: ignore[misc]  # dask_jobqueue has no types
        """Ends with the step."""

        async def on_scheduler_start(self, scheduler: Any) -> None:
            await _until_over(scheduler, tasks)
            await scheduler.close()

    silence_logs()
    # It sends itself SIGINT when its role is over.
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    file = str(tasks.folder / ADDRESS_FILE).replace("{", "{{").replace("}", "}}")
    try:
        Runner(scheduler_file=file, **options)
    except SystemExit as error:
        if error.code:
            raise


async def _until_over(scheduler: Any, tasks: Tasks) -> None:
    """Wait until the step has ended, was killed, or does not come.

    Looks are made by a thread: the loop that hands out goes on while the folder does not answer.
    """
    while not await asyncio.to_thread(tasks.is_over):
        await asyncio.sleep(POLL_S)
        if lost := await asyncio.to_thread(tasks.lost_step):
            logger.error("%s: the others end", lost)
            await asyncio.to_thread(tasks.end)
            break
    await _until_met(scheduler, tasks)


async def _until_met(scheduler: Any, tasks: Tasks) -> None:
    """Wait until the workers that have begun are connected, so that they hear of the end."""
    deadline = time.monotonic() + MEET_WITHIN_S
    while time.monotonic() < deadline:
        if len(scheduler.workers) >= await asyncio.to_thread(tasks.living):
            return
        await asyncio.sleep(POLL_S)
