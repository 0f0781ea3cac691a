"""Where the work of a repeated run is done: in this environment, or in one that was made."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from parfocal.engine.lock_file import LOCK, LOCK_VARIABLE
from parfocal.engine.repeat.checkout import Checkout
from parfocal.engine.repeat.facts import SNAKEFILE, Facts
from parfocal.engine.repeat.tools import clean_environment

__all__ = ["Place", "Work", "place_at", "place_here", "work_in"]


@dataclass(frozen=True)
class Work:
    """What is to be done in an environment.

    Parameters
    ----------
    folder : Path
        Where; all that is written lies in it.
    reads : collection of Path
        The files and folders of this machine that are read besides.
    network : bool
        Whether something is fetched.
    """

    folder: Path
    reads: Collection[Path] = ()
    network: bool = False


@dataclass(frozen=True)
class Place:
    """An environment that there is: what it has, and how a Python is started in it.

    Parameters
    ----------
    name : str
        What it is called in messages.
    facts : Facts
    python : str
        Its Python.
    workflow : Path
        The Snakefile, as that Python sees it.
    variables : mapping of str to str
        The variables of what is started.
    here : bool
        Whether it is the environment of this process.
    """

    name: str
    facts: Facts
    python: str
    workflow: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    here: bool = False

    def check(self, work: Work) -> None:
        """Refuse work that cannot be done in it.

        Raises
        ------
        InputError
            If something cannot be read there.
        """

    def start(self, work: Work) -> list[str]:  # noqa: ARG002
        """Return the beginning of a command: what starts its Python for some work."""
        return [self.python]


def place_here(facts: Facts, workflow: Path) -> Place:
    """Return the environment of this process."""
    path = _first(Path(sys.executable).parent)
    variables = os.environ | {"PATH": path}
    return Place("this one", facts, sys.executable, workflow, variables, here=True)


def place_at(checkout: Checkout, stack: ExitStack, python: str) -> Place:
    """Return the environment of a checkout, made where it is not there; see `Checkout.open`."""
    facts = checkout.open(stack, python)
    told = {
        "PARFOCAL_COMMIT": checkout.commit,
        "PARFOCAL_LOCK_DIGEST": facts.lock_digest,
        LOCK_VARIABLE: str(checkout.folder / LOCK),
    }
    variables = clean_environment(PATH=_first(checkout.python.parent), **told)
    folder, python = checkout.folder, str(checkout.python)
    return Place(str(folder), facts, python, folder / SNAKEFILE, variables)


def work_in(place: Place, work: Work, arguments: Sequence[str]) -> int:
    """Run the Python of an environment, and return its exit code. What it tells goes to stderr."""
    command = [*place.start(work), *arguments]
    process = subprocess.Popen(
        command, cwd=work.folder, env=dict(place.variables), stdout=sys.stderr.fileno()
    )
    try:
        return process.wait()
    finally:
        if process.poll() is None:  # stopped: Snakemake ends its jobs, and unlocks the folder
            process.terminate()
            process.wait()


def _first(programs: Path) -> str:
    """Return a PATH by which rules find the ``parfocal`` of an environment."""
    return f"{programs}{os.pathsep}{os.environ.get('PATH', '')}"
