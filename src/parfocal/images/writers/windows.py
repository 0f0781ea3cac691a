"""The range of values in which viewers show each channel at first."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Region

__all__ = ["Windows"]


class Windows:
    """The lowest and highest finite value of each channel, gathered from several threads.

    Parameters
    ----------
    channels : int
        How many channels there are.
    """

    def __init__(self, channels: int) -> None:
        self._low: list[Any] = [None] * channels
        self._high: list[Any] = [None] * channels
        self._lock = threading.Lock()

    def note(self, region: Region, block: NDArray[Any]) -> None:
        """Take note of `block` (T, C, Z, Y, X) at `region`."""
        for index, channel in enumerate(np.moveaxis(block, 1, 0), region[1].start):
            values = channel[np.isfinite(channel)] if channel.dtype.kind == "f" else channel
            if not values.size:
                continue
            low, high = values.min().item(), values.max().item()
            with self._lock:
                known = self._low[index] is not None
                self._low[index] = min(low, self._low[index]) if known else low
                self._high[index] = max(high, self._high[index]) if known else high

    def shown(self) -> list[tuple[float, float]]:
        """Return (low, high) for each channel, two different values; (0, 1) if there is none."""
        pairs = zip(self._low, self._high, strict=True)
        return [
            (0, 1) if low is None else (low, high if high > low else low + 1) for low, high in pairs
        ]
