"""Call the programs that make an environment: without a shell, and for a bounded time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from parfocal.errors import ConfigurationError

__all__ = ["call", "clean_environment"]

_OURS = ["COMMIT", "LOCK", "LOCK_DIGEST", "IMAGE_DIGEST", "IMAGE_ID", "PROJECT", "SOURCE", "ENGINE"]
_OURS += ["RUN", "ATTEMPTS"]
_GIT = ("DIR", "WORK_TREE", "INDEX_FILE", "OBJECT_DIRECTORY", "COMMON_DIR", "NAMESPACE", "PREFIX")
_FOREIGN = frozenset(
    {f"PARFOCAL_{name}" for name in _OURS}
    | {f"GIT_{name}" for name in _GIT}
    | {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
)


def clean_environment(**more: str) -> dict[str, str]:
    """Return the variables of this process without those that tell of its own environment."""
    kept = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    return kept | more


def call(
    command: Sequence[str],
    *,
    timeout_s: float,
    folder: Path | None = None,
    variables: Mapping[str, str] | None = None,
    shown: bool = False,
) -> str:
    """Run a program, and return what it told.

    Parameters
    ----------
    timeout_s : float
        After that it is ended, with all that it started.
    folder : Path, optional
        Where to run it.
    variables : mapping of str to str, optional
        Its environment, if not that of this process without what tells of its own.
    shown : bool
        Whether what it tells goes to stderr, and is not returned.

    Raises
    ------
    ConfigurationError
        If there is no such program, it fails, or takes longer.
    """
    name = " ".join(command[:2]) if len(command) > 1 and command[1][0] != "-" else command[0]
    if shutil.which(command[0]) is None:
        what = f"There is no {command[0]}"
        raise ConfigurationError(what)
    out = sys.stderr.fileno() if shown else subprocess.PIPE
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=clean_environment() if variables is None else variables,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=out,
        start_new_session=True,
    )
    try:
        told, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        what = f"'{name}' took too long"
        raise ConfigurationError(what, expected=f"at most {timeout_s:.0f} s") from error
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode:
        what = f"'{name}' failed"
        lines = (errors or b"").decode("utf-8", "replace").strip().splitlines() or ["see above"]
        found = f"exit code {process.returncode}: {ascii(lines[-1])[1:-1]}"
        raise ConfigurationError(what, found=found)
    return (told or b"").decode("utf-8", "replace")
