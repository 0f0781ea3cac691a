"""A job: one step with its parameters and the paths of one image; and how it ended."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from parfocal.compute import Compute
from parfocal.core.digest import size_of
from parfocal.core.step import Port, Step
from parfocal.engine.paths import relative_uri
from parfocal.errors import InputError, OutputExistsError
from parfocal.models.base import Parameters
from parfocal.models.compute import LocalThreads
from parfocal.models.record import Artifact, Engine, Prediction
from parfocal.models.sheet import Row

__all__ = ["Job", "Result", "check_paths", "engine_from_environment", "refuse_existing"]


@dataclass(frozen=True)
class Job:
    """What is to be done: a step, its parameters, and the paths of one image.

    Parameters
    ----------
    results : Path, optional
        The results folder that records go to; a job without one keeps no numbered records.
    record : Path, optional
        Where else to write the record.
    compute : Compute
        Where blocks of the image are worked on.
    existing : {"refuse", "replace", "reuse"}
        What becomes of outputs that are there already: ``refuse`` is an error, ``replace``
        makes them anew, and ``reuse`` takes those with the same key as done and replaces
        all others.
    predicted : Prediction, optional
        What the resource model said; the record tells it.
    names : dict of str to str
        What the step sees input files called, by the names of the ports, if not as they are.
    broken_off : str
        What broke off the last attempt at the batch, for the record that it left, if it did.
    """

    step: Step
    params: Parameters
    inputs: dict[str, Path]
    outputs: dict[str, Path]
    image_id: str
    row: Row | None = None
    results: Path | None = None
    record: Path | None = None
    threads: int = 1
    compute: Compute = field(default_factory=lambda: Compute(LocalThreads(), 1))
    existing: Literal["refuse", "replace", "reuse"] = "refuse"
    progress: Callable[[int, int], None] | None = None
    predicted: Prediction | None = None
    names: dict[str, str] = field(default_factory=dict)
    broken_off: str = ""

    @property
    def primary(self) -> Path:
        """The output that the lease and the stamp stand beside."""
        return self.outputs[self.step.outputs[0].name]

    @property
    def shared(self) -> bool:
        """Whether the outputs serve several images, such as the originals of one file."""
        if self.results is None:
            return False
        return self.image_id not in Path(relative_uri(self.primary, self.results)).parts[1:]

    def artifact(self, port: Port, path: Path, digest: str) -> Artifact:
        """Return the record's entry for an input or output."""
        return Artifact(
            role=port.name,
            kind=_kind(port, digest),
            uri=relative_uri(path, self.results),
            size_bytes=size_of(path),
            digest=digest,
        )


@dataclass
class Result:
    """How a job ended: the digests of its outputs by role, or the error."""

    digests: dict[str, str]
    reused: bool = False
    error: BaseException | None = None


def _kind(port: Port, digest: str) -> str:
    if port.kind != "image":
        return port.kind
    return "ome-zarr" if digest.startswith("zarr-") else "file"


def check_paths(job: Job) -> None:
    """Make sure that all paths are there and that nothing is written into an input.

    Raises
    ------
    InputError
        If a required input is not given, or an output lies at, in or around an input or another
        output.
    """
    for port in job.step.inputs:
        if port.required and port.name not in job.inputs:
            what = f"The input '{port.name}' is not given"
            remedy = f"Fill in what the path {port.path} of the input is made of."
            raise InputError(what, where=job.image_id, remedy=remedy)
    taken = {f"input '{name}'": path.resolve() for name, path in job.inputs.items()}
    # What works on the whole results folder puts its output there too.
    roomy = {f"input '{port.name}'" for port in job.step.inputs if port.path == "."}
    for name, path in job.outputs.items():
        final = path.resolve()
        for other, place in taken.items():
            inside = final.is_relative_to(place) and (final == place or other not in roomy)
            if inside or place.is_relative_to(final):
                what = f"The output '{name}' lies at, in or around the {other}"
                remedy = "A step never writes into its inputs: name another output."
                raise InputError(what, where=path, remedy=remedy)
        taken[f"output '{name}'"] = final


def refuse_existing(job: Job) -> None:
    """Make sure that nothing lies where the outputs go.

    Raises
    ------
    OutputExistsError
        If something does.
    """
    for name, path in job.outputs.items():
        if path.exists() or path.is_symlink():
            what = f"The output '{name}' exists already"
            remedy = "Name another output, or add --replace to put the new one in its place."
            raise OutputExistsError(what, where=path, expected="nothing there", remedy=remedy)


def engine_from_environment() -> Engine:
    """Return what runs this process, from ``PARFOCAL_ENGINE`` and the variables of its job.

    The command line says that it is a shell, unless an engine has said otherwise.
    """
    name, _, version = os.environ.get("PARFOCAL_ENGINE", "python").partition(" ")
    job_id = os.environ.get("SLURM_JOB_ID")
    # Galaxy tells the number of a job by the folder of the job alone, in which this one lies.
    home = os.environ.get("_GALAXY_JOB_HOME_DIR")
    if name == "galaxy" and home:
        job_id = Path(home).parent.name
    return Engine(name=name, version=version or None, job_id=job_id)
