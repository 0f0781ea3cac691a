"""The tasks of one Slurm allocation: the first hands out, the second is the step, others work.

To dask_jobqueue's SLURMRunner this adds keys of the run's own, and that all tasks end when the
step does, or is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
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
from parfocal.compute.presence import Presence, gone, read_presence
from parfocal.compute.run_folder import RunFolder, check_shared_folder
from parfocal.compute.slurm_queue import cancel_jobs
from parfocal.errors import ConfigurationError, RemoteError
from parfocal.models.compute import SlurmRunner

__all__ = ["open_runner", "part_of_runner"]

logger = logging.getLogger(__name__)

HANDS_OUT, STEP = 0, 1
ADDRESS_FILE, STEP_FILE, END_FILE = "scheduler.json", "step.json", "end"
WORKING, OVER = "working-", "over-"
"""What a worker writes, with its number, when it begins and when it will use nothing more."""

MEET_WITHIN_S = 120.0
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
            _touch(folder / END_FILE)


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


def _touch(path: Path) -> None:
    with contextlib.suppress(OSError):  # whoever waits for it sees that this process has ended
        path.touch()


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
        _take_role(folder.path, {"scheduler_options": options})
        _await_workers(folder.path)
    finally:
        folder.remove()


def _await_workers(folder: Path) -> None:
    """Wait until no worker uses the folder any more, those that come late included."""
    wanted = _rank()[1] - 2
    deadline = time.monotonic() + MEET_WITHIN_S
    while _ended(folder) < wanted and time.monotonic() < deadline:
        time.sleep(POLL_S)


def _ended(folder: Path) -> int:
    """Return how many workers have ended, in order or otherwise."""
    over = {path.name.removeprefix(OVER) for path in folder.glob(f"{OVER}*")}
    begun = {path.name.removeprefix(WORKING): path for path in folder.glob(f"{WORKING}*")}
    lost = {number for number, path in begun.items() if gone(path)}
    return len(over | lost)


def _work(config: SlurmRunner, folder: Path) -> None:
    """Be a worker until the scheduler ends."""
    _await_scheduler(folder)
    number = _rank()[0]
    with Presence(folder / f"{WORKING}{number}"):
        try:
            # One that comes when all is done would wait for a scheduler that is gone.
            if not (folder / END_FILE).exists():
                _take_role(folder, {"worker_options": _worker_options(config, folder)})
        finally:
            _touch(folder / f"{OVER}{number}")


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


def _take_role(folder: Path, options: Mapping[str, Any]) -> None:
    """Be scheduler or worker, as the number of the task says, until that is over."""
    import_jobqueue()
    from dask_jobqueue.slurm import SLURMRunner

    class Runner(SLURMRunner):  # type: ignore[misc]  # dask_jobqueue has no types
        """Ends with the step."""

        async def on_scheduler_start(self, scheduler: Any) -> None:
            await _until_over(scheduler, folder)
            await scheduler.close()

    silence_logs()
    # It sends itself SIGINT when its role is over.
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    file = str(folder / ADDRESS_FILE).replace("{", "{{").replace("}", "}}")
    try:
        Runner(scheduler_file=file, **options)
    except SystemExit as error:
        if error.code:
            raise


async def _until_over(scheduler: Any, folder: Path) -> None:
    """Wait until the step has ended, was killed, or does not come."""
    end, began_s = folder / END_FILE, time.monotonic()
    while not end.exists():
        await asyncio.sleep(POLL_S)
        if lost := _lost_step(folder, time.monotonic() - began_s):
            logger.error("%s: the others end", lost)
            _touch(end)
            break
    await _until_met(scheduler, folder)


def _lost_step(folder: Path, waited_s: float) -> str:
    """Return what has become of the task of the step, nothing where all is well."""
    path = folder / STEP_FILE
    task = f"Task {STEP} of job {_job()}, the step itself,"
    if gone(path):
        process = read_presence(path)
        return f"{task} was killed or lost (process {process['pid']} on {process['host']})"
    late = waited_s > MEET_WITHIN_S and not path.exists()
    return f"{task} has not come within {MEET_WITHIN_S:.0f} s" if late else ""


async def _until_met(scheduler: Any, folder: Path) -> None:
    """Wait until the workers that have begun are connected, so that they hear of the end."""
    deadline = time.monotonic() + MEET_WITHIN_S
    while time.monotonic() < deadline:
        begun = len(list(folder.glob(f"{WORKING}*")))
        if len(scheduler.workers) >= begun - _ended(folder):
            return
        await asyncio.sleep(POLL_S)
