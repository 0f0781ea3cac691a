"""Why a worker died, and whether it may live longer another time."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from parfocal.models.job_attempt import Cause

__all__ = ["Death", "explain_death"]


@dataclass(frozen=True)
class Death:
    """What ended a worker.

    Parameters
    ----------
    code : int
        The exit code that a shell would tell: 128 + n for signal n.
    text : str
        The same in words.
    again : str or None
        The cause, where another attempt may end better. A crash comes back.
    """

    code: int
    text: str
    again: Cause | None = None


def explain_death(code: int, kills_before: int | None, kills: int | None) -> Death:
    """Explain the end of a worker.

    Parameters
    ----------
    code : int
        Its exit code; -n for signal n.
    kills_before, kills : int or None
        How often the kernel had killed for lack of memory when the worker began, and when it
        ended. Where that is not known, who was killed is taken to have lacked memory.
    """
    if code >= 0:
        return Death(code, f"the process ended with exit code {code}")
    if code == -signal.SIGKILL:
        text = "the process was killed (SIGKILL)"
        if kills is None or kills_before is None:
            return Death(128 - code, f"{text}, most often because memory ran out", "memory")
        if kills > kills_before:
            return Death(128 - code, f"{text}, because memory ran out", "memory")
        return Death(128 - code, f"{text}, and the kernel saw no lack of memory", "killed")
    again: Cause | None = "killed" if code == -signal.SIGTERM else None
    text = f"the process was ended by {signal.Signals(-code).name}"
    if code == -signal.SIGBUS:
        text += ": a file could not be read in memory, as when its disk fails, is full, or is gone"
    return Death(128 - code, text, again)
