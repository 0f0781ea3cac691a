"""What is known about one image besides its pixels."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from parfocal.models.base import Model

__all__ = ["AXES", "Channel", "ImageMetadata"]

AXES = "TCZYX"
"""The canonical order of axes; an image has some of them, Y and X always."""


class Channel(Model):
    """One channel of an image."""

    name: str | None = Field(default=None, description="Name of the channel.")
    color: Annotated[str, Field(pattern="^[0-9A-F]{6}$")] | None = Field(
        default=None, description="Display colour as RRGGBB."
    )
    excitation_nm: float | None = Field(default=None, gt=0, description="Excitation wavelength.")
    emission_nm: float | None = Field(default=None, gt=0, description="Emission wavelength.")


class ImageMetadata(Model):
    """Axes, sizes, scales and channels of one image, as its source states them.

    Nothing is guessed: what the source does not say is None.
    """

    name: str = Field(description="Name of the image; any text.")
    axes: str = Field(description="Axes in canonical order, a part of TCZYX with Y and X.")
    shape: tuple[Annotated[int, Field(ge=1)], ...] = Field(description="Size along each axis.")
    dtype: str = Field(description="numpy name of the data type, such as uint16.")
    z_um: float | None = Field(default=None, gt=0, description="Distance of planes in micrometres.")
    y_um: float | None = Field(default=None, gt=0, description="Pixel height in micrometres.")
    x_um: float | None = Field(default=None, gt=0, description="Pixel width in micrometres.")
    time_increment_s: float | None = Field(
        default=None, gt=0, description="Time between two time points in seconds."
    )
    stage_z_um: float | None = Field(default=None, description="Place of the stage along Z.")
    stage_y_um: float | None = Field(default=None, description="Place of the stage along Y.")
    stage_x_um: float | None = Field(default=None, description="Place of the stage along X.")
    channels: tuple[Channel, ...] = Field(default=(), description="One a channel, or none.")
    rgb: bool = Field(default=False, description="Whether the channels are red, green, blue.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if [a for a in AXES if a in self.axes] != list(self.axes) or "YX" not in self.axes:
            msg = f"axes must be a part of {AXES} in that order with Y and X, not {self.axes}"
            raise ValueError(msg)
        if len(self.shape) != len(self.axes):
            msg = f"shape {self.shape} has not one size for each axis of {self.axes}"
            raise ValueError(msg)
        if self.channels and len(self.channels) != self.size("C"):
            msg = f"{len(self.channels)} channels described, {self.size('C')} in the pixels"
            raise ValueError(msg)
        return self

    def size(self, axis: str) -> int:
        """Return the size along `axis`; 1 where the image does not have it."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1

    @property
    def shape5(self) -> tuple[int, int, int, int, int]:
        """The shape in all five axes TCZYX, with 1 for those that are missing."""
        t, c, z, y, x = (self.size(axis) for axis in AXES)
        return t, c, z, y, x

    def channel_names(self) -> list[str]:
        """Return a unique name for each channel: its own, or ``channel_<index>``."""
        described = self.channels or (Channel(),) * self.size("C")
        names: list[str] = []
        for index, channel in enumerate(described):
            name = channel.name or f"channel_{index}"
            names.append(name if name not in names else f"{name}_{index}")
        return names
