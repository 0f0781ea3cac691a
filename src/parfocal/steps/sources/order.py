"""What is to be fetched, and where to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from parfocal.core.step import Context
from parfocal.models.image_part import PixelRegion

__all__ = ["Order", "Part", "PixelOrigin"]

PixelOrigin = Literal["auto", "original", "raw"]


@dataclass(frozen=True)
class Part:
    """Which resolution and region of an image is wanted.

    Attributes
    ----------
    level : int, optional
        0 for the full resolution.
    max_pixel_um : float, optional
        In place of `level`: the coarsest level whose pixels are not larger.
    region : PixelRegion, optional
        In pixels of that level.
    """

    level: int | None = None
    max_pixel_um: float | None = None
    region: PixelRegion | None = None

    def __bool__(self) -> bool:
        """Whether it is not the whole image."""
        return (self.level, self.max_pixel_um, self.region) != (None, None, None)


@dataclass(frozen=True)
class Order:
    """What a fetcher is told.

    Attributes
    ----------
    text : str
        The source as the user wrote it.
    folder : Path
        Where what comes goes to; it exists and is empty.
    part : Part
        Which part of the image.
    context : Context
        Of the step.
    pixels : {'auto', 'original', 'raw'}
        From where pixels of an OMERO server are taken.
    attachments : bool
        Whether files that are attached to an image there come along.
    """

    text: str
    folder: Path
    part: Part
    context: Context
    pixels: PixelOrigin = "auto"
    attachments: bool = False
