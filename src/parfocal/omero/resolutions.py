"""The resolutions in which an OMERO server keeps the pixels of an image."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parfocal.errors import RemoteError
from parfocal.omero.connection import Connection
from parfocal.omero.faults import what_omero_raises

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

__all__ = ["Resolution", "factor_of", "read_resolutions"]


@dataclass(frozen=True)
class Resolution:
    """One resolution of the planes of an image.

    Attributes
    ----------
    number : int or None
        What the server calls it; None of an image that it keeps in one resolution only.
    height, width : int
        Size of its planes, in pixels.
    factor_y, factor_x : float
        How many pixels of the full resolution one of its pixels stands for along Y and X.
    """

    number: int | None
    height: int
    width: int
    factor_y: float = 1.0
    factor_x: float = 1.0


def read_resolutions(
    connection: Connection, pixels_id: int, height: int, width: int
) -> tuple[Resolution, ...]:
    """Return the resolutions of an image, the full one first.

    Parameters
    ----------
    connection : Connection
        To the server.
    pixels_id : int
        Id of the pixels.
    height, width : int
        Size of a plane at full resolution.

    Raises
    ------
    RemoteError
        If the server fails, or tells resolutions of which none is the full one.
    InputError
        If the pixels are gone.
    """

    def ask(gateway: BlitzGateway) -> list[tuple[int, int]]:
        store = gateway.c.sf.createRawPixelsStore(gateway.SERVICE_OPTS)
        try:
            store.setPixelsId(pixels_id, False, gateway.SERVICE_OPTS)
            if store.getResolutionLevels(gateway.SERVICE_OPTS) == 1:
                return []
            told = store.getResolutionDescriptions(gateway.SERVICE_OPTS)
            return [(each.sizeY, each.sizeX) for each in told]
        finally:
            with suppress(*what_omero_raises()):
                store.close()

    sizes = sorted(connection.call(ask), key=math.prod, reverse=True)
    if not sizes:
        return (Resolution(None, height, width),)
    if sizes[0] != (height, width):
        what = "The OMERO server tells resolutions that are not those of the image"
        where, found = f"{connection.server.uri}, Pixels {pixels_id}", f"(Y, X) {sizes}"
        raise RemoteError(what, where=where, expected=f"(Y, X) {(height, width)}", found=found)
    # OMERO counts from the coarsest one on.
    return tuple(
        Resolution(len(sizes) - 1 - level, *size, *factor_of((height, width), size))
        for level, size in enumerate(sizes)
    )


def factor_of(full: tuple[int, int], reduced: tuple[int, int]) -> tuple[float, float]:
    """Return by how much a plane was made smaller along Y and X.

    The server does not say so: it is a power of two, else a whole number, where such a one gives
    the size of the plane along both axes, rounded up or down; else the ratio of the sizes.

    Parameters
    ----------
    full, reduced : (int, int)
        Sizes along Y and X.
    """
    longer = 0 if full[0] >= full[1] else 1
    ratio = full[longer] / reduced[longer]
    for factor in (2 ** round(math.log2(ratio)), round(ratio)):
        fits = [
            part in (max(1, whole // factor), -(-whole // factor))
            for whole, part in zip(full, reduced, strict=True)
        ]
        if all(fits):
            return float(factor), float(factor)
    return full[0] / reduced[0], full[1] / reduced[1]
