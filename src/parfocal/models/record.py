"""The record of one attempt at one step on one image."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from parfocal.models.base import Model

__all__ = ["Artifact", "Engine", "Failure", "Prediction", "Record"]


class Artifact(Model):
    """One input or output of a step."""

    role: str = Field(description="Name of the step's input or output.")
    kind: str = Field(description="What it is, such as ome-zarr, table or file.")
    uri: str = Field(description="Path relative to the results folder, or absolute path, or URI.")
    size_bytes: int | None = Field(default=None, ge=0, description="Size of all its files.")
    digest: str = Field(description="sha256:<hex> or zarr-merkle-sha256:<hex>.")


class Engine(Model):
    """What started the step."""

    name: str = Field(description="shell, snakemake, galaxy, python.")
    version: str | None = Field(default=None, description="Version of the engine.")
    job_id: str | None = Field(default=None, description="Its job id, or the cluster's.")


class Failure(Model):
    """Why an attempt failed."""

    type: str = Field(description="Name of the exception class.")
    message: str = Field(description="What, where, expected, found and remedy in one line.")
    exit_code: int = Field(description="2 input, 3 remote, 4 verification, 1 a bug, 128+n signal.")


class Prediction(Model):
    """Memory and time that a step is expected to take for one image."""

    memory_bytes: int = Field(ge=0, description="Largest resident set of the process.")
    time_s: float = Field(ge=0, description="Wall time.")


class Record(Model):
    """One attempt, written when it starts and again when it ends."""

    format: Literal["parfocal-record-1"] = "parfocal-record-1"
    step: str = Field(description="Name of the step, such as segment-objects.")
    step_version: str = Field(description="Version of the step's behaviour.")
    parfocal_version: str = Field(description="Version of the package.")
    python_version: str | None = Field(default=None, description="Version of Python.")
    image_id: str = Field(description="The row of the sample sheet, or the output's name.")
    attempt: int = Field(ge=1, description="1 for the first attempt at this step and image.")
    key: str | None = Field(
        default=None, description="Digest of step, version, parameters, inputs."
    )
    status: Literal["started", "done", "failed"] = "started"
    parameters: dict[str, Any] = Field(default_factory=dict)
    row: dict[str, str] = Field(default_factory=dict, description="The row of the sample sheet.")
    inputs: tuple[Artifact, ...] = ()
    outputs: tuple[Artifact, ...] = ()
    started: datetime
    ended: datetime | None = None
    cpu_s: float | None = Field(default=None, ge=0, description="User and system time.")
    peak_memory_bytes: int | None = Field(
        default=None, ge=0, description="Largest resident set of the process so far."
    )
    threads: int | None = Field(default=None, ge=1, description="Threads that it might use.")
    predicted: Prediction | None = Field(
        default=None, description="What the resource model said beforehand."
    )
    host: str
    pid: int
    engine: Engine
    image_digest: str | None = Field(default=None, description="Digest of the container image.")
    container_id: str | None = Field(
        default=None, description="Id of the container image: digest of its configuration."
    )
    lock_digest: str | None = Field(default=None, description="sha256 of the lock file.")
    unlocked: dict[str, str] | None = Field(
        default=None,
        description="Installed versions of packages that the lock file names in others; null where "
        "nobody looked.",
    )
    commit: str | None = Field(default=None, description="Commit of the workflow.")
    seed: int | None = None
    warnings: tuple[str, ...] = ()
    details: dict[str, Any] = Field(
        default_factory=dict, description="What the step found worth telling, such as counts."
    )
    error: Failure | None = None
    digest_lists: dict[str, str] = Field(
        default_factory=dict,
        description="Digests of the files of each OME-Zarr that it made, by the digest of the "
        "whole, where there is no results folder to keep them in.",
    )
    written_as: Artifact | None = Field(
        default=None,
        description="The record as its job wrote it, where it was laid out anew since.",
    )
