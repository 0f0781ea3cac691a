"""The resource model, and what it says of the images of a sheet."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from parfocal.models.base import Model
from parfocal.models.record import Prediction

__all__ = ["Fit", "ImageSize", "JobCost", "ResourceModel", "Resources", "SizeResources"]


class ImageSize(Model):
    """How large an image is, as far as its source says before its pixels are read."""

    shape: tuple[int, int, int, int, int] = Field(description="T, C, Z, Y, X.")
    dtype: str = Field(description="numpy name of the data type, such as uint16.")
    pixel_um: tuple[float | None, float | None, float | None] = Field(
        default=(None, None, None), description="Distances of pixels along Z, Y, X."
    )


class Fit(Model):
    """Memory and time of a step as sums of its features, each times a coefficient."""

    memory_mb: dict[str, float] = Field(description="MB (10^6 bytes) for one of each feature.")
    time_s: dict[str, float] = Field(description="Seconds for one of each feature.")
    variants: tuple[str, ...] = Field(
        default=(), description="Methods that it was fitted to, such as filter.method=median."
    )
    runs: int = Field(default=0, ge=0, description="How many runs it was fitted to.")


class JobCost(Model):
    """What a job takes besides its largest image, and besides its work."""

    memory_mb: float = Field(default=300.0, ge=0, description="Supervisor and engine.")
    time_s: float = Field(default=600.0, ge=0, description="Start of programs, waiting for disks.")
    process_mb: float = Field(
        default=80.0, ge=0, description="What a process takes besides that works for others."
    )


class ResourceModel(Model):
    """What steps are expected to take."""

    format: Literal["parfocal-resource-model-2"] = "parfocal-resource-model-2"
    provenance: str = Field(description="What it was fitted to, in words.")
    assumed: ImageSize = Field(description="The size of images whose size is not known.")
    other: Fit = Field(description="For steps and methods that it was not fitted to.")
    job: JobCost = JobCost()
    steps: dict[str, Fit] = Field(description="By the name of the step.")


class SizeResources(Model):
    """What the steps take for images of one size."""

    size: ImageSize
    assumed: bool = Field(default=False, description="Whether the size is not known.")
    steps: dict[str, Prediction]


class Resources(Model):
    """What the steps of a run take for the images of its sheet."""

    format: Literal["parfocal-resources-1"] = "parfocal-resources-1"
    run: str | None = Field(default=None, description="The run of the engine that it is for.")
    states: dict[str, str] = Field(description="State of each image's source, by image_id.")
    images: dict[str, int] = Field(description="Which of the sizes each image has.")
    sizes: tuple[SizeResources, ...]
