"""What single tests of this folder need beside Galaxy."""

from __future__ import annotations

import subprocess

from tests.galaxy.configuration import ROOT

__all__ = ["make_ready"]

SETUP_TIMEOUT_S = 1200


def make_ready(suite: str) -> None:
    """Make the component of another suite ready.

    Raises
    ------
    RuntimeError
        It cannot be had on this machine. Nothing is skipped: who asks for these tests asks for all.
    """
    done = subprocess.run(
        ["bash", ROOT / "tests" / suite / "setup.sh"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SETUP_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{suite}: {done.stdout.strip()}{done.stderr.strip()}")
