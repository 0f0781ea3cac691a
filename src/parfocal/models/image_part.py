"""Which part of an image is wanted, or was fetched: a resolution, and a region of it."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from parfocal.models.base import Model

__all__ = ["FetchedPart", "PixelRegion"]

_Range = Annotated[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1)]], Field()]


class PixelRegion(Model):
    """A part of an image along each axis, in pixels, planes, channels or time points from 0 on."""

    t: _Range | None = Field(
        default=None, description="First time point, and that behind the last."
    )
    c: _Range | None = Field(default=None, description="First channel, and that behind the last.")
    z: _Range | None = Field(default=None, description="First plane, and that behind the last.")
    y: _Range | None = Field(default=None, description="First row, and that behind the last.")
    x: _Range | None = Field(default=None, description="First column, and that behind the last.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for axis, part in self.parts().items():
            if part[0] >= part[1]:
                msg = f"{axis} must be [start, stop] with start < stop, not {list(part)}"
                raise ValueError(msg)
        return self

    def parts(self) -> dict[str, tuple[int, int]]:
        """Return start and stop of the axes that are cut, by their names in capitals."""
        found = {axis: getattr(self, axis.lower()) for axis in "TCZYX"}
        return {axis: part for axis, part in found.items() if part is not None}


class FetchedPart(Model):
    """The part of an image that was fetched, where it is not the whole."""

    level: int = Field(ge=0, description="Resolution of the source, 0 for the full one.")
    region: dict[str, tuple[int, int]] = Field(
        description="[start, stop] along each axis, in pixels of that resolution."
    )
