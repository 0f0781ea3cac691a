"""How much of a network Parfocal takes: requests at once, and bytes a second."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Self

from parfocal.core.rate import Rate, shared_rate
from parfocal.models.transfer import TransferLimits

__all__ = ["Limits"]

_IN_FLIGHT = 32


@dataclass(frozen=True)
class Limits:
    """What downloads may take.

    Parameters
    ----------
    in_flight : int
        How many requests may be under way at once.
    rate : Rate, optional
        How fast bytes may come; None for as fast as they do.
    """

    in_flight: int = _IN_FLIGHT
    rate: Rate | None = None

    @classmethod
    def from_environment(cls) -> Self:
        """Return the limits that the environment sets; the rate is that of the whole process.

        Raises
        ------
        ConfigurationError
            If a variable is no number, or out of bounds.
        """
        stated = TransferLimits.from_environment()
        rate = shared_rate(stated.mb_per_s * 1e6) if stated.mb_per_s else None
        return cls(stated.requests or _IN_FLIGHT, rate)

    async def take(self, size: int) -> None:
        """Wait until `size` more bytes have had their time."""
        if self.rate is not None:
            await asyncio.sleep(self.rate.take(size))
