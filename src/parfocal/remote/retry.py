"""How often, and for how long, a server is asked again that has failed."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from parfocal.remote.faults import Fault

__all__ = ["Retry", "Server", "Tries", "server_of"]


@dataclass(frozen=True)
class Retry:
    """How often a request is tried, and how long to wait in between.

    The wait doubles from `first_wait_s` to `longest_wait_s`, of which a random part of up
    to a half is left out, so that many jobs do not come back at the same moment. A server that
    has delivered something before, and then nothing any more, is asked for `patience_s` seconds,
    since it will come back.
    """

    attempts: int = 6
    first_wait_s: float = 0.5
    longest_wait_s: float = 20.0
    patience_s: float = 300.0

    def wait_s(self, attempt: int) -> float:
        """Return how long to wait after the `attempt` that failed, counted from 1."""
        longest = min(self.longest_wait_s, self.first_wait_s * 2.0 ** min(attempt - 1, 16))
        return longest * random.uniform(0.5, 1.0)


@dataclass
class Server:
    """What a process knows of a server.

    Attributes
    ----------
    delivered_at : float, optional
        When it delivered something last, by the monotonic clock; None if it never did, or was
        given up since, so that not all images of a batch wait for it one after the other.
    """

    delivered_at: float | None = None


_SERVERS: dict[str, Server] = {}


def server_of(address: str) -> Server:
    """Return what this process knows of the server at an address."""
    return _SERVERS.setdefault(address, Server())


class Tries:
    """The failures of one request, and whether it is worth another try.

    What counts is a failure since which the server delivered something, to this request or to
    others: then the server is there, and the fault is with what is asked for.

    Parameters
    ----------
    retry : Retry
        How often to try.
    server : Server
        Who is asked.

    Attributes
    ----------
    count : int
        How many failures there were.
    in_row : int
        How many of them since the request got on.
    """

    def __init__(self, retry: Retry, server: Server) -> None:
        self.count = 0
        self.in_row = 0
        self._retry = retry
        self._server = server
        self._counted = 0
        self._most = 0
        self._since = 0.0

    def again(self, fault: Fault, received: int = 0) -> bool:
        """Note a failure; return whether to try again.

        Parameters
        ----------
        fault : Fault
            What went wrong.
        received : int
            How many bytes have come of what is asked for, in all tries.
        """
        again = self._is_worth(fault, received)
        if not again and fault.away:
            self._server.delivered_at = None
        return again

    def _is_worth(self, fault: Fault, received: int) -> bool:
        now = time.monotonic()
        if received > self._most:
            self._most, self._counted, self.in_row = received, 0, 0
        self.count += 1
        self.in_row += 1
        delivered_at = self._server.delivered_at
        is_there = delivered_at is not None and delivered_at > self._since
        if not self._counted or is_there or not fault.away:
            self._counted += 1
            self._since = now
        if not fault.retried or self._counted >= self._retry.attempts:
            return False
        waited_s = now - self._since
        knows = delivered_at is not None
        return self.in_row < self._retry.attempts or (knows and waited_s < self._retry.patience_s)
