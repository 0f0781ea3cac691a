"""Lengths in pixels or micrometres along Z, Y and X."""

from __future__ import annotations

import math

from parfocal.errors import InputError
from parfocal.models.image import ImageMetadata

__all__ = ["Spacing", "along_axes", "in_pixels", "spacing_of"]

Spacing = tuple[float, float, float]
"""Distances of pixels along Z, Y, X, in pixels of X."""


def spacing_of(metadata: ImageMetadata) -> Spacing:
    """Return the distances of pixels along Z, Y, X as multiples of that along X.

    A distance that the image does not tell counts as 1, as do all when X is not told.
    """
    if metadata.x_um is None:
        return 1.0, 1.0, 1.0
    z = metadata.z_um / metadata.x_um if metadata.z_um else 1.0
    y = metadata.y_um / metadata.x_um if metadata.y_um else 1.0
    return z, y, 1.0


def in_pixels(
    length_px: float | None,
    length_um: float | None,
    metadata: ImageMetadata,
    most_px: float = math.inf,
) -> float:
    """Return a length in pixels of X, given in pixels or else in micrometres.

    Raises
    ------
    InputError
        If it is given in micrometres and the image does not tell its pixel size, or it is more
        than `most_px` pixels.
    """
    if length_um is None:
        return length_px or 0.0
    if metadata.x_um is None:
        what = "A length in micrometres needs the pixel size, which the image does not tell"
        raise InputError(
            what,
            where=metadata.name,
            expected="a pixel size along X",
            found="none",
            remedy="Give the length in pixels, or state the pixel size when converting the image.",
        )
    length = length_um / metadata.x_um
    if length > most_px:
        what = "A length in micrometres is too many pixels of this image"
        raise InputError(
            what,
            where=metadata.name,
            expected=f"at most {most_px:g} pixels, {most_px * metadata.x_um:g} um",
            found=f"{length_um:g} um, {length:.0f} pixels",
            remedy="Give a smaller length, or take a smaller level of the image.",
        )
    return length


def along_axes(length: float, spacing: Spacing, *, planar: bool) -> Spacing:
    """Return a length in pixels of X as numbers of pixels along Z, Y, X; 0 along Z if planar."""
    z, y, x = spacing
    return 0.0 if planar else length / z, length / y, length / x
