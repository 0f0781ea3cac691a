"""The parameters of segment-objects."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from parfocal.models.base import Parameters
from parfocal.models.label_name import LabelName
from parfocal.models.model_options import ModelOptions
from parfocal.models.segment_options import (
    GlobalThreshold,
    PeakSeeds,
    SeedOptions,
    ThresholdOptions,
)

__all__ = ["MOST_SMOOTHING_PX", "SegmentObjectsParams"]

MOST_SMOOTHING_PX = 50.0
"""The widest smoothing, as a standard deviation in pixels."""


class SegmentObjectsParams(Parameters):
    """Parameters of segment-objects. Pixels are those along X; Z and Y follow the pixel sizes."""

    channel: int | str = Field(default=0, description="Index from 0, or name, of the channel.")
    label_name: LabelName = "nuclei"
    mode: Literal["auto", "plane", "volume"] = Field(
        default="auto",
        description="Objects of single planes or of volumes; auto takes volumes where Z > 1.",
    )
    polarity: Literal["bright", "dark"] = Field(
        default="bright", description="Whether objects are brighter or darker than background."
    )
    smoothing_px: float = Field(
        default=1.0,
        ge=0,
        le=MOST_SMOOTHING_PX,
        description="Standard deviation of the Gaussian smoothing in pixels; 0 for none.",
    )
    smoothing_um: float | None = Field(
        default=None, gt=0, le=100, description="The same in micrometres; replaces smoothing_px."
    )
    model: ModelOptions | None = Field(
        default=None, description="A learned model that finds the objects instead of a threshold."
    )
    threshold: ThresholdOptions = Field(
        default=GlobalThreshold(), description="What separates objects from background."
    )
    seeds: SeedOptions = Field(default=PeakSeeds(), description="How touching objects are divided.")
    edge_fraction: float | None = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="Where the border of an object lies between background (0) and its own "
        "brightness (1); null leaves it at the threshold.",
    )
    fill_holes: bool = Field(
        default=True, description="Whether background that an object encloses belongs to it."
    )
    min_diameter_px: float = Field(
        default=4.0,
        ge=0,
        le=1e6,
        description="Drop objects smaller than the disc or ball of this diameter in pixels.",
    )
    min_diameter_um: float | None = Field(
        default=None, gt=0, le=1e6, description="The same in micrometres; replaces min_diameter_px."
    )
    max_diameter_px: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        description="Drop objects larger than the disc or ball of this one.",
    )
    max_diameter_um: float | None = Field(
        default=None, gt=0, le=1e6, description="The same in micrometres; replaces max_diameter_px."
    )
    whole_mib: int = Field(
        default=1024,
        ge=1,
        le=1 << 20,
        description="Connected regions are divided whole as long as that needs no more memory than "
        "so many MiB; larger ones in overlapping windows, which is told in a warning.",
    )

    @model_validator(mode="after")
    def _keeps_any(self) -> Self:
        # Of different units an image alone can tell.
        unit = "um" if self.min_diameter_um is not None else "px"
        least, most = getattr(self, f"min_diameter_{unit}"), getattr(self, f"max_diameter_{unit}")
        counts = unit == "um" or self.max_diameter_um is None
        if counts and most is not None and most < least:
            msg = f"max_diameter_{unit} ({most:g}) is below min_diameter_{unit} ({least:g})"
            raise ValueError(msg)
        return self
