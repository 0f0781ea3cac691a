"""How much of a network Parfocal takes: requests at once, and bytes a second."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, field
from typing import Self

from parfocal.errors import ConfigurationError

__all__ = ["IN_FLIGHT_VARIABLE", "RATE_VARIABLE", "Limits"]

IN_FLIGHT_VARIABLE = "PARFOCAL_REMOTE_IN_FLIGHT"
RATE_VARIABLE = "PARFOCAL_REMOTE_MB_PER_S"

_IN_FLIGHT = 32
_MOST_IN_FLIGHT = 256


@dataclass
class Limits:
    """What the downloads of a process may take together.

    Parameters
    ----------
    in_flight : int
        How many requests may be under way at once.
    bytes_per_s : float, optional
        How fast bytes may come; None for as fast as they do.
    """

    in_flight: int = _IN_FLIGHT
    bytes_per_s: float | None = None
    _free_at: float = field(default=0.0, init=False, repr=False)

    @classmethod
    def from_environment(cls) -> Self:
        """Return the limits that the environment sets.

        Raises
        ------
        ConfigurationError
            If a variable is no number, or out of bounds.
        """
        count = _number(IN_FLIGHT_VARIABLE, 1, _MOST_IN_FLIGHT)
        rate = _number(RATE_VARIABLE, 0.001, 1e6)
        return cls(int(count or _IN_FLIGHT), rate * 1e6 if rate else None)

    async def take(self, size: int) -> None:
        """Wait until `size` more bytes have had their time."""
        if self.bytes_per_s is None:
            return
        now = time.monotonic()
        self._free_at = max(self._free_at, now) + size / self.bytes_per_s
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)


def _number(variable: str, least: float, most: float) -> float | None:
    text = os.environ.get(variable, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not least <= value <= most:
        what = "An environment variable is not a number in its bounds"
        expected = f"{least:g} to {most:g}"
        raise ConfigurationError(what, where=variable, expected=expected, found=repr(text))
    return value
