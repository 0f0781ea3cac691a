"""What the scheduler says of a job."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess

__all__ = ["LIVING", "job_state", "restart_cause"]

logger = logging.getLogger(__name__)

LIVING = (
    *("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING"),
    *("STAGE_OUT", "RESIZING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"),
)
"""States of Slurm of jobs that have not ended, or will begin again."""

_STEP_LACKED_MEMORY = re.compile(r"\bDerivedExitCode=\d+:125\b")
"""A step lacked memory (signal 125 to Slurm), and the job that started it only failed."""

_LOST = ("DOWN", "FAIL", "ERROR", "REBOOT", "POWERING_DOWN", "POWERED_DOWN", "NOT_RESPONDING")
_TIMEOUT_S = 30.0


def job_state(job_id: str) -> tuple[str, int | None] | None:
    """Ask Slurm for the state of a job.

    The controller knows jobs for some minutes after their end, the accounting for good, where
    there is one; it alone tells who cancelled a job.

    Parameters
    ----------
    job_id : str
        The job.

    Returns
    -------
    tuple of (str, int or None), or None
        The state, such as ``RUNNING``, ``TIMEOUT`` or ``OUT_OF_MEMORY``, and the id of the user
        who cancelled the job, as far as that is known. None where Slurm is not there, does not
        answer, or does not know the job.
    """
    job = _ask("scontrol", "--details", "--oneliner", "show", "job", job_id)
    shown = re.search(r"\bJobState=(\w+)", job)
    if shown and shown[1] == "FAILED" and _STEP_LACKED_MEMORY.search(job):
        return "OUT_OF_MEMORY", None
    if shown and shown[1] != "CANCELLED":
        return shown[1], None
    told = _ask("sacct", "-j", job_id, "-X", "--noheader", "--parsable2", "--format=State")
    counted = re.match(r"(\w+)(?: by (\d+))?", told)
    if counted:
        return counted[1], int(counted[2]) if counted[2] else None
    return (shown[1], None) if shown else None


def restart_cause(job_id: str, node: str | None) -> tuple[str, str] | None:
    """Ask Slurm why it started a job once more.

    The accounting keeps how each start ended; without one the state of the node tells it, as
    long as the node has not come back.

    Parameters
    ----------
    job_id : str
        The job.
    node : str or None
        Where it ran before, by Slurm's name.

    Returns
    -------
    tuple of (str, str), or None
        What Slurm says of the start before, such as ``NODE_FAIL``, or ``REQUEUED`` where it does
        not say; and the same in words. None where it did not start the job once more.
    """
    if not re.search(r"\bRestarts=[1-9]", _ask("scontrol", "--oneliner", "show", "job", job_id)):
        return None
    shown = _ask("scontrol", "--oneliner", "show", "node", node) if node else ""
    state = re.search(r"\bState=(\S+)", shown)
    if state and any(word in state[1] for word in _LOST):
        reason = re.search(r"\bReason=(.*?)(?: \[|$)", shown)
        why = f" ({reason[1]})" if reason else ""
        return "NODE_FAIL", f"Slurm says {state[1].replace('*', '')} of node {node}{why}"
    fields = ("--duplicates", "--noheader", "--parsable2", "--format=State")
    starts = _ask("sacct", "-j", job_id, "-X", *fields).split("\n")
    ended = re.match(r"\w+", starts[-2]) if len(starts) > 1 else None
    name = ended[0] if ended else "REQUEUED"
    where = f" on node {node}" if node else ""
    return name, f"Slurm says {name} of the start before of job {job_id}{where}"


def _ask(program: str, *arguments: str) -> str:
    """Return what a program of Slurm prints; nothing where it is not there or fails."""
    found = shutil.which(program)
    if found is None:
        return ""
    try:
        done = subprocess.run(
            [found, *arguments], capture_output=True, text=True, check=True, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError) as error:
        logger.debug("%s did not answer: %s", program, error)
        return ""
    return done.stdout.strip()
