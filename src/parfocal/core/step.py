"""What a step is: its name, parameters, inputs, outputs, exactness and work."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from parfocal.core.scheduler import Scheduler, Threads
from parfocal.models.base import Parameters
from parfocal.models.sheet import Row

__all__ = [
    "Check",
    "Context",
    "Exactness",
    "Port",
    "Run",
    "State",
    "Step",
    "exact",
    "numeric",
]

logger = logging.getLogger(__name__)

Kind = Literal[
    "ome-zarr", "image", "table", "json", "html", "png", "file", "folder", "crate", "sheet"
]


@dataclass(frozen=True)
class Port:
    """A named input or output of a step.

    Parameters
    ----------
    name : str
        Name of the port; the command line's option is ``--name``.
    kind : str
        What lies there. ``ome-zarr``, ``folder`` and ``crate`` are folders, an ``image`` is an
        OME-Zarr or an OME-TIFF.
    path : str
        Where it lies below the results folder in a batch. It may name fields of
        the step's parameters, ``{image_id}``, ``{source_key}`` and columns of the sheet.
    help : str
        One line for the command line and the documentation.
    required : bool
        Whether the step cannot run without it.
    """

    name: str
    kind: Kind
    path: str
    help: str
    required: bool = True


@dataclass(frozen=True)
class Exactness:
    """Whether a step gives the same bytes always, or label images that agree within a tolerance.

    Attributes
    ----------
    tolerance : float
        Of two label images, the part of the objects that may be without a match: 1 - F1, at an
        overlap (intersection over union) of 0.5. None may, where it is 0.
    parameter : str
        Name of the parameter with which, where it is given, the step is numeric; else it is exact.
    unless : str
        The same in words, for the reader of its page.
    """

    tolerance: float = 0.0
    parameter: str = ""
    unless: str = ""

    @property
    def is_exact(self) -> bool:
        """True where the same inputs give the same bytes, whatever the parameters are."""
        return self.tolerance == 0.0

    def is_numeric_with(self, settings: Iterable[tuple[str, str]]) -> bool:
        """Return whether a step is numeric with parameters, told by names with dots and texts."""
        return not self.is_exact and any(
            name.startswith(f"{self.parameter}.") or (name == self.parameter and text != "null")
            for name, text in settings
        )


def exact() -> Exactness:
    """Return the exactness of a step that gives the same bytes always."""
    return Exactness()


def numeric(tolerance: float, *, parameter: str, unless: str) -> Exactness:
    """Return the exactness of a step whose label images, with a parameter, agree to a tolerance."""
    return Exactness(tolerance, parameter, unless)


def _no_progress(done: int, total: int) -> None:
    """Ignore progress."""


@dataclass
class Context:
    """What a running step may use and tell.

    Attributes
    ----------
    image_id : str
        The image's name in tables and records: that of the row, else of the image's file.
    row : Row or None
        The row of the sample sheet, in a batch.
    threads : int
        How many threads the step may use.
    distributed : Scheduler, optional
        Where blocks of the image are worked on instead of in threads.
    scratch : Path
        An empty folder of the attempt's own, removed at the end.
    progress : callable
        Called as ``progress(done, total)``.
    warnings : list of str
        What the record must tell; add with `warn`.
    details : dict
        Counts and findings for the record, JSON values only.
    digests : dict of Path to str
        Digests of finished outputs that the step had to take itself; others the engine takes.
    """

    scratch: Path
    image_id: str = "image"
    row: Row | None = None
    threads: int = 1
    distributed: Scheduler | None = None
    progress: Callable[[int, int], None] = _no_progress
    warnings: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    digests: dict[Path, str] = field(default_factory=dict)

    @property
    def scheduler(self) -> Scheduler:
        """Where blocks of the image are worked on."""
        return self.distributed or Threads(self.threads)

    def warn(self, message: str) -> None:
        """Keep `message` for the record, and log it."""
        logger.warning(message)
        self.warnings.append(message)

    def warn_of(self, what: str, items: Sequence[str], at_most: int = 3) -> None:
        """Warn, where there are any, of how many `items` there are, and name the first."""
        if items:
            more = f" and {len(items) - at_most} more" if len(items) > at_most else ""
            self.warn(f"{len(items)} {what}: {', '.join(items[:at_most])}{more}")


State = Callable[[Any, Row | None], str]
"""``state(params, row)``: what decides the outputs besides parameters and inputs, such as the
size and the modification time of a source that is not an input; part of the reuse key."""

Check = Callable[[Mapping[str, Path], Any], None]
"""``check(inputs, params)``: raise what `Run` would raise, whatever the images hold. It is called
when a workflow is planned, with the inputs that the sheet names, and before any work."""

Run = Callable[[Mapping[str, Path], Mapping[str, Path], Any, Context], None]
"""``run(inputs, outputs, params, context)``: read the inputs, write the outputs.

Each path of `outputs` does not exist yet (but see `Step.resumable`) and lies beside its final
place. The caller publishes it by rename when `run` returns and removes it when `run` raises. Of an
optional input that is not given, `inputs` has no entry.
"""


@dataclass(frozen=True)
class Step:
    """A step, from which command, schema, rule, tool check, page and record follow.

    Parameters
    ----------
    name : str
        Verb and noun: ``segment-objects``.
    version : str
        Raised whenever the same inputs would give other outputs.
    summary : str
        One line.
    params : type of Parameters
        The model of its parameters.
    inputs, outputs : tuple of Port
        In the order of the command line.
    run : callable
        The work; see `Run`.
    exactness : Exactness
        ``exact()`` or ``numeric(...)``.
    scope : {"image", "run"}
        Whether it works on one image, or on the results of a whole run.
    state : callable, optional
        See `State`.
    check : callable, optional
        See `Check`.
    resumable : bool
        Whether `run` may find at its first output, where that is a folder, what an interrupted
        attempt at the very same work left there, and goes on with it.
    tells_differences : bool
        Whether its outputs say what differs where `run` raises VerificationError, and are then
        published too; never where they are what was verified.
    """

    name: str
    version: str
    summary: str
    params: type[Parameters]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    run: Run
    exactness: Exactness
    scope: Literal["image", "run"] = "image"
    state: State | None = None
    check: Check | None = None
    resumable: bool = False
    tells_differences: bool = False

    @property
    def folder(self) -> str:
        """Name of its folders below the results folder: the name with underscores."""
        return self.name.replace("-", "_")

    @property
    def from_sheet(self) -> tuple[Port, ...]:
        """The inputs whose whole path is a column of the sheet, such as ``{flat_field}``."""
        return tuple(port for port in self.inputs if re.fullmatch(r"\{\w+\}", port.path))
