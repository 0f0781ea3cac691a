"""The range of values in which viewers show each channel at first."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Readable, Shape, iter_blocks, whole

__all__ = ["channel_windows"]


def channel_windows(level: Readable, block: Shape) -> list[tuple[float, float]]:
    """Find the lowest and highest finite value of each channel.

    Parameters
    ----------
    level : Readable
        The smallest level of an image.
    block : tuple of int
        How much of it (T, C, Z, Y, X) to read at once.

    Returns
    -------
    list of (low, high)
        For each channel two different values; (0, 1) where none is finite.
    """
    known: dict[int, tuple[Any, Any]] = {}
    for region in iter_blocks(whole(level.shape5), block):
        pixels = np.moveaxis(level.read(region), 1, 0)
        for index, channel in enumerate(pixels, region[1].start):
            found = _extremes(channel)
            if found:
                low, high = known.get(index, found)
                known[index] = min(low, found[0]), max(high, found[1])
    pairs = (known.get(index, (0, 1)) for index in range(level.shape5[1]))
    return [(low, high if high > low else low + 1) for low, high in pairs]


def _extremes(values: NDArray[Any]) -> tuple[Any, Any] | None:
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    return (finite.min().item(), finite.max().item()) if finite.size else None
