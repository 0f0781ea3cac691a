"""How fast bytes may come: for all transfers of a process together."""

from __future__ import annotations

import threading
import time
from functools import cache

__all__ = ["Rate", "shared_rate"]


class Rate:
    """A number of bytes a second, which all that come take their time from.

    Parameters
    ----------
    bytes_per_s : float
        How fast bytes may come.
    """

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._lock = threading.Lock()
        self._free_at = 0.0

    def take(self, size: int) -> float:
        """Note that `size` bytes have come; return for how many seconds to ask for no more."""
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + size / self._bytes_per_s
            return self._free_at - now


@cache
def shared_rate(bytes_per_s: float) -> Rate:
    """Return the rate of this process, the same one for the same number."""
    return Rate(bytes_per_s)
