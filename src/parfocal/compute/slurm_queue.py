"""What Slurm's commands say and do."""

from __future__ import annotations

import logging
import shutil
import subprocess
import time
from collections.abc import Sequence

from parfocal.errors import ConfigurationError, RemoteError

__all__ = [
    "cancel_jobs",
    "check_commands",
    "check_partition",
    "check_submission",
    "job_states",
]

logger = logging.getLogger(__name__)

COMMANDS = ("sbatch", "scancel", "sinfo", "squeue")
TIMEOUT_S = 60
GONE_WITHIN_S = 15.0
POLL_S = 0.5


def check_commands() -> None:
    """Make sure that Slurm's commands are there.

    Raises
    ------
    ConfigurationError
        If one is not.
    """
    for name in COMMANDS:
        if shutil.which(name) is None:
            what = "Slurm's command is not on PATH"
            remedy = "Run on a node that may submit jobs, or choose another engine."
            raise ConfigurationError(what, where=name, remedy=remedy)


def check_partition(name: str) -> None:
    """Make sure that partitions exist.

    Parameters
    ----------
    name : str
        One, or several with commas between them.

    Raises
    ------
    ConfigurationError
        If one does not.
    RemoteError
        If Slurm does not answer.
    """
    known = sorted(set(_run("sinfo", "--noheader", "--format=%R").split()))
    missing = [part for part in name.split(",") if part not in known]
    if missing:
        what = "There is no such partition"
        expected = ", ".join(known) or "any, but Slurm has none"
        raise ConfigurationError(what, where=missing[0], expected=expected)


def check_submission(options: Sequence[str]) -> None:
    """Let Slurm judge a job without submitting it.

    Parameters
    ----------
    options : sequence of str
        Those of sbatch.

    Raises
    ------
    ConfigurationError
        With Slurm's words, if it rejects the job.
    """
    try:
        _run("sbatch", "--test-only", *options, "--wrap=true")
    except RemoteError as error:
        what = "Slurm rejects the worker jobs"
        remedy = "Change partition, account, cores, memory_mib, walltime_min or sbatch_options."
        raise ConfigurationError(what, found=error.found, remedy=remedy) from error


def job_states(name: str) -> dict[str, str]:
    """Return the state of each job of a name that is not over, by job id.

    Raises
    ------
    RemoteError
        If Slurm does not answer.
    """
    text = _run("squeue", "--noheader", f"--name={name}", "--format=%A %T %r")
    rows = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return dict(rows)


def cancel_jobs(name: str) -> None:
    """Cancel all jobs of a name, and wait a while until they are gone.

    Raises
    ------
    RemoteError
        If Slurm does not answer.
    """
    _run("scancel", f"--name={name}")
    deadline = time.monotonic() + GONE_WITHIN_S
    while job_states(name):
        if time.monotonic() > deadline:
            logger.warning("Jobs named %s are cancelled, but not gone yet", name)
            return
        time.sleep(POLL_S)


def _run(*command: str) -> str:
    """Return what a command of Slurm's prints.

    Raises
    ------
    RemoteError
        If it fails or does not answer.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _no_answer(command[0], error) from error
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
        raise _no_answer(command[0], said)
    return done.stdout


def _no_answer(command: str, found: object) -> RemoteError:
    what = "Slurm does not do what it is asked"
    remedy = "Try again, or ask those who run the cluster."
    return RemoteError(what, where=command, found=found, remedy=remedy)
