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
_UNCONFIGURED = ("configuration source", "configuration file")
"""What Slurm says where it was installed, but not told of a cluster."""

_FOR_NOW = "node configuration is not available"
"""What Slurm says of a request that no node can meet, or none that is up."""

_UNREACHABLE = "Unable to contact slurm controller"
_DOWN = "down,drained,draining,fail,future,maint,no_respond,power_down,unknown"
ELSEWHERE = "Run on a node that may submit jobs, or choose another engine or profile."
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
            raise ConfigurationError(what, where=name, remedy=ELSEWHERE)


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
        remedy = "Name one that there is, or none for Slurm's default."
        raise ConfigurationError(what, where=missing[0], expected=expected, remedy=remedy)


def check_submission(options: Sequence[str], jobs: str, remedy: str) -> None:
    """Let Slurm judge a job without submitting it.

    Parameters
    ----------
    options : sequence of str
        Those of sbatch.
    jobs : str
        What jobs they are, for messages.
    remedy : str
        What the user can change.

    Raises
    ------
    ConfigurationError
        With Slurm's words, if it rejects the job.
    RemoteError
        If Slurm does not answer.
    """
    try:
        _run("sbatch", "--test-only", *options, "--wrap=true")
    except RemoteError as error:
        said = str(error.found)
        if _UNREACHABLE in said:
            raise
        if _FOR_NOW in said and _any_down(options):
            logger.warning("Slurm could not start %s now, and some nodes are down: %s", jobs, said)
            return
        what = f"Slurm rejects {jobs}"
        raise ConfigurationError(what, found=said, remedy=remedy) from error


def _any_down(options: Sequence[str]) -> bool:
    """Tell whether nodes that a job could go to take none now, but may again."""
    partitions = [option for option in options if option.startswith("--partition=")]
    told = _run("sinfo", "--noheader", f"--states={_DOWN}", "--format=%P %D", *partitions)
    rows = [line.split() for line in told.splitlines() if line.strip()]
    # Without one it is the default, which is marked.
    return any(count != "0" and (partitions or name.endswith("*")) for name, count in rows)


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
    ConfigurationError
        If Slurm is not configured on this machine.
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
        if any(words in said for words in _UNCONFIGURED):
            what = "Slurm is installed here, but not configured"
            raise ConfigurationError(what, where=command[0], found=said, remedy=ELSEWHERE)
        raise _no_answer(command[0], said)
    return done.stdout


def _no_answer(command: str, found: object) -> RemoteError:
    what = "Slurm does not do what it is asked"
    remedy = "Try again, or ask those who run the cluster."
    return RemoteError(what, where=command, found=found, remedy=remedy)
