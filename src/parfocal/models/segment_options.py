"""How objects are told from background, and from each other."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from parfocal.models.base import Model

__all__ = [
    "MOST_MEAN_PX",
    "GlobalThreshold",
    "LocalThreshold",
    "ManualThreshold",
    "NoSeeds",
    "PeakSeeds",
    "SeedOptions",
    "ThresholdOptions",
]


class GlobalThreshold(Model):
    """One threshold for the whole image, found from its histogram."""

    method: Literal["otsu", "li", "triangle", "isodata"] = Field(
        default="li",
        description="How it is found; triangle and li find dimmer objects than otsu and isodata.",
    )


class ManualThreshold(Model):
    """A threshold that the user gives."""

    method: Literal["manual"] = "manual"
    value: float = Field(
        allow_inf_nan=False, description="Pixels beyond this value, in units of the image."
    )


MOST_MEAN_PX = 200.0
"""The widest local mean, as a standard deviation in pixels."""


class LocalThreshold(Model):
    """A threshold that follows the mean brightness around each pixel."""

    method: Literal["local"] = "local"
    sigma_px: float = Field(
        default=15.0,
        gt=0,
        le=MOST_MEAN_PX,
        description="Standard deviation of the Gaussian mean in pixels of X; about the size of "
        "an object.",
    )
    sigma_um: float | None = Field(
        default=None, gt=0, le=1000, description="The same in micrometres; replaces sigma_px."
    )
    offset: float = Field(
        default=0.0,
        allow_inf_nan=False,
        description="By how much a pixel exceeds the mean, in units of the image; choose it above "
        "the noise of the background.",
    )


class NoSeeds(Model):
    """What touches is one object."""

    method: Literal["none"] = "none"


class PeakSeeds(Model):
    """Touching objects are divided by a watershed from peaks."""

    method: Literal["distance", "intensity", "combined"] = Field(
        default="combined",
        description="Peaks of the distance to the border, of the brightness, or of their product.",
    )
    prominence: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="By which part of its height a peak must rise above the saddle to a higher "
        "one to be an object of its own. More divides less.",
    )


ThresholdOptions = Annotated[
    GlobalThreshold | ManualThreshold | LocalThreshold, Field(discriminator="method")
]
"""What separates objects from background."""

SeedOptions = Annotated[NoSeeds | PeakSeeds, Field(discriminator="method")]
"""How touching objects are divided."""
