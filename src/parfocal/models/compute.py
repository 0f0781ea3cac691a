"""Where the blocks of an image are worked on: threads, processes, or a cluster."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from parfocal.errors import ConfigurationError
from parfocal.models.base import Model, explain_validation

__all__ = [
    "ComputeConfig",
    "ExistingCluster",
    "LocalProcesses",
    "LocalThreads",
    "SlurmJobs",
    "SlurmRunner",
    "check_compute",
]

_OWN_OPTIONS = (
    *("account", "array", "cpus-per-task", "error", "job-name", "mem", "mem-per-cpu", "ntasks"),
    *("output", "partition", "time", "wrap"),
)


def _sbatch_option(text: str) -> str:
    name = re.fullmatch(r"--([a-z][a-z0-9-]*)(=[^\n\r]+)?", text)
    if not name:
        msg = f"{text!r} is not of the form --name or --name=value"
        raise ValueError(msg)
    if name[1] in _OWN_OPTIONS:
        msg = f"--{name[1]} is set by the other fields"
        raise ValueError(msg)
    return text


PathText = Annotated[str, Field(min_length=1, pattern=r"^[^\n\r]+$")]
SlurmName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._,+-]+$")]
SbatchOption = Annotated[str, AfterValidator(_sbatch_option)]

SHARED_FOLDER = "Folder that all nodes see at the same path, for keys, logs and scratch files."
INTERFACE = "Network interface between the nodes, such as ib0; by default that of the host name."


class LocalThreads(Model):
    """Threads of the process itself, as many as the step may use."""

    engine: Literal["threads"] = "threads"


class LocalProcesses(Model):
    """Processes of this machine, with one thread each."""

    engine: Literal["processes"]
    workers: int | None = Field(
        default=None,
        strict=True,
        ge=1,
        le=1024,
        description="How many; by default as many as the step may use threads.",
    )


class SlurmJobs(Model):
    """Worker jobs that come and go with the work; the process itself hands it out."""

    engine: Literal["slurm"]
    shared_folder: PathText = Field(description=SHARED_FOLDER)
    partition: SlurmName | None = Field(
        default=None, description="Partition of the worker jobs; by default Slurm's own."
    )
    account: SlurmName | None = Field(default=None, description="Account that the jobs go to.")
    cores: int = Field(
        default=4, strict=True, ge=1, le=1024, description="Cores of a job: its threads."
    )
    memory_mib: int = Field(
        default=8192, strict=True, ge=1024, le=33_554_432, description="Memory of a job."
    )
    walltime_min: int = Field(
        default=120,
        strict=True,
        ge=3,
        le=43_200,
        description="Time limit of a job; workers leave before it.",
    )
    minimum_jobs: int = Field(
        default=0, strict=True, ge=0, le=1000, description="Jobs that are kept without work too."
    )
    maximum_jobs: int = Field(default=4, strict=True, ge=1, le=1000, description="Jobs, at most.")
    death_timeout_s: int = Field(
        default=60,
        strict=True,
        ge=10,
        le=3600,
        description="How long a worker looks for whoever hands out the work before it ends.",
    )
    inside_job: bool = Field(
        default=False,
        strict=True,
        description="Whether a process that is in a Slurm job itself may submit jobs.",
    )
    interface: SlurmName | None = Field(default=None, description=INTERFACE)
    sbatch_options: tuple[SbatchOption, ...] = Field(
        default=(), max_length=32, description="Further options of sbatch, such as --qos=long."
    )

    @model_validator(mode="after")
    def _check_jobs(self) -> Self:
        if self.minimum_jobs > self.maximum_jobs:
            msg = "minimum_jobs must not be above maximum_jobs"
            raise ValueError(msg)
        return self


class SlurmRunner(Model):
    """The tasks of one allocation: one hands out, one is the step, all others work."""

    engine: Literal["slurm-runner"]
    shared_folder: PathText = Field(description=SHARED_FOLDER)
    interface: SlurmName | None = Field(default=None, description=INTERFACE)


class ExistingCluster(Model):
    """A dask cluster that somebody else started and will stop."""

    engine: Literal["client"]
    scheduler_file: PathText | None = Field(
        default=None, description="File that the scheduler wrote its address to."
    )
    address: str | None = Field(
        default=None, pattern=r"^(tcp|tls)://\S+$", description="Address of the scheduler."
    )
    tls_ca_file: PathText | None = Field(
        default=None, description="Certificate of the authority, as PEM."
    )
    tls_cert_file: PathText | None = Field(default=None, description="Own certificate, as PEM.")
    tls_key_file: PathText | None = Field(default=None, description="Key of it, as PEM.")
    shared_folder: PathText | None = Field(
        default=None,
        description="Folder that all workers see at the same path, for scratch files; by default "
        "scratch files lie beside the output.",
    )

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        if (self.scheduler_file is None) == (self.address is None):
            msg = "give either scheduler_file or address"
            raise ValueError(msg)
        tls = (self.tls_ca_file, self.tls_cert_file, self.tls_key_file)
        if any(tls) and not all(tls):
            msg = "tls_ca_file, tls_cert_file and tls_key_file go together"
            raise ValueError(msg)
        return self


ComputeConfig = Annotated[
    LocalThreads | LocalProcesses | SlurmJobs | SlurmRunner | ExistingCluster,
    Field(discriminator="engine"),
]
"""What ``--compute`` and the key ``compute`` of a workflow's configuration say."""


class _Wrapped(Model):
    """Lets problems be told with the names of the fields."""

    compute: ComputeConfig


def check_compute(values: object, where: str) -> ComputeConfig:
    """Return a checked configuration.

    Parameters
    ----------
    values : object
        What was read from a file or the command line.
    where : str
        Where it was, for messages.

    Raises
    ------
    ConfigurationError
        If there is no such engine, or a field is unknown or out of its bounds.
    """
    try:
        return _Wrapped.model_validate({"compute": values}).compute
    except ValidationError as error:
        what = "The configuration of compute is not valid"
        remedy = "docs/howto/compute.md describes the engines and their fields."
        found = explain_validation(error, _Wrapped)
        raise ConfigurationError(what, where=where, found=found, remedy=remedy) from error
