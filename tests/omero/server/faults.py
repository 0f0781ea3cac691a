"""What goes wrong at which call, and a journal of all calls."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any

import Glacier2
import Ice
import omero

__all__ = ["Disk", "FaultRuleError", "Faults", "Rule"]

ACTIONS = ("refuse", "drop", "delay", "kill")
JOURNAL_LENGTH = 500_000
_EXCEPTIONS = {
    "PermissionDeniedException": Glacier2.PermissionDeniedException,
    "CannotCreateSessionException": Glacier2.CannotCreateSessionException,
    "ObjectNotExistException": Ice.ObjectNotExistException,
}


class FaultRuleError(ValueError):
    """A rule that no call could ever meet, or that does nothing that is known."""


@dataclass
class Rule:
    """One fault: at the nth call that fits, and for as many calls as told.

    Attributes
    ----------
    service, method : str
        Names as in the Slice definitions (``RawPixelsStore``, ``getTile``); ``*`` stands for any.
    action : {'refuse', 'drop', 'delay', 'kill'}
        Raise an exception; close the connection; wait; end the caller's session.
    nth, times : int
        The first call that it is done to, from 1, and to how many in a row.
    when : {'before', 'after'}
        Before the work is done, or after it, so that only the answer is lost.
    exception, message : str
        Of ``refuse``: a class of `omero`, or one of Glacier2 or Ice.
    seconds : float
        Of ``delay``.
    """

    service: str = "*"
    method: str = "*"
    action: str = "refuse"
    nth: int = 1
    times: int = 1
    when: str = "before"
    exception: str = "ResourceError"
    message: str = "asked for by a test"
    seconds: float = 0.0
    id: int = 0
    seen: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.action not in ACTIONS or self.when not in ("before", "after"):
            raise FaultRuleError(f"{self.action!r} {self.when!r}")
        if self.nth < 1 or self.times < 1:
            raise FaultRuleError(f"nth {self.nth}, times {self.times}")
        self.to_raise()

    @classmethod
    def of(cls, values: dict[str, Any], number: int) -> Rule:
        """Return the rule that a request describes."""
        unknown = set(values) - {f.name for f in fields(cls) if f.init}
        if unknown:
            raise FaultRuleError(f"unknown: {', '.join(sorted(unknown))}")
        return cls(**{**values, "id": number})

    def fits(self, service: str, method: str, when: str) -> bool:
        """Tell whether a call is one that the rule counts."""
        return (
            self.when == when
            and fnmatchcase(service, self.service)
            and fnmatchcase(method, self.method)
        )

    def due(self) -> bool:
        """Count a call that fits; tell whether it is one to spoil."""
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times

    def to_raise(self) -> Exception:
        """Return the exception of ``refuse``."""
        kind = _EXCEPTIONS.get(self.exception) or getattr(omero, self.exception, None)
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise FaultRuleError(f"no exception {self.exception}")
        if issubclass(kind, omero.ServerError):
            return kind(None, f"ome.conditions.{self.exception}", self.message)
        return kind() if issubclass(kind, Ice.LocalException) else kind(self.message)


class Disk:
    """How many bytes can still be written; None is without end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.free: int | None = None

    def demand(self, size: int) -> None:
        """Take bytes of what is free.

        Raises
        ------
        omero.ResourceError
            If fewer are left, as the real server words it.
        """
        with self._lock:
            if self.free is None:
                return
            if size > self.free:
                raise omero.ResourceError(
                    None, "ome.conditions.ResourceError", "No space left on device"
                )
            self.free -= size


class Faults:
    """The rules, the silences, the disk, and what was called.

    Parameters
    ----------
    kill : callable
        Ends the session of a key.
    """

    def __init__(self, kill: Callable[[str], None]) -> None:
        self.disk = Disk()
        self._kill = kill
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._numbers = itertools.count(1)
        self._rules: list[Rule] = []
        self._journal: deque[dict[str, Any]] = deque(maxlen=JOURNAL_LENGTH)
        self._silent_until = self._away_until = 0.0
        self._released = threading.Event()

    def add(self, values: dict[str, Any]) -> int:
        """Take in a rule; return its number."""
        rule = Rule.of(values, next(self._ids))
        with self._lock:
            self._rules.append(rule)
        return rule.id

    def seen(self, number: int) -> int:
        """Return how many calls fitted a rule so far."""
        with self._lock:
            return next((rule.seen for rule in self._rules if rule.id == number), 0)

    def reset(self) -> None:
        """Forget all rules and silences, let late calls go on, give the disk back.

        The journal stays.
        """
        with self._lock:
            self._rules.clear()
            self._silent_until = self._away_until = 0.0
            self.disk.free = None
            self._released.set()
            self._released = threading.Event()

    def be_silent(self, seconds: float) -> None:
        """Take calls and answer none of them for a while; then go on with them."""
        self._silent_until = time.monotonic() + seconds

    def be_away(self, seconds: float) -> None:
        """Close the connection of whoever calls for a while, logins among them."""
        self._away_until = time.monotonic() + seconds

    def journal(
        self, since: int = 0, service: str = "*", method: str = "*"
    ) -> list[dict[str, Any]]:
        """Return the calls after the one of a number, oldest first."""
        with self._lock:
            calls = list(self._journal)
        return [
            call
            for call in calls
            if call["n"] > since
            and fnmatchcase(call["service"], service)
            and fnmatchcase(call["method"], method)
        ]

    def last(self) -> int:
        """Return the number of the last call."""
        with self._lock:
            return self._journal[-1]["n"] if self._journal else 0

    def before(self, service: str, method: str, session: str | None, current: Any) -> None:
        """Note a call, and spoil it where a rule says so.

        Raises
        ------
        Exception
            What the client is to be sent instead of an answer.
        """
        with self._lock:
            entry = {"n": next(self._numbers), "at": time.time(), "service": service}
            group = current.ctx.get("omero.group", "") if current is not None else ""
            self._journal.append({**entry, "method": method, "session": session, "group": group})
        self._wait_out_silence()
        if time.monotonic() < self._away_until:
            _drop(current)
        self._spoil(service, method, "before", session, current)

    def after(self, service: str, method: str, session: str | None, current: Any) -> None:
        """Spoil the answer to a call whose work is done; raises as `before` does."""
        self._spoil(service, method, "after", session, current)

    def _wait_out_silence(self) -> None:
        while True:
            released = self._released  # before the look at the time, or a reset could be missed
            left = self._silent_until - time.monotonic()
            if left <= 0:
                return
            released.wait(left)

    def _spoil(
        self, service: str, method: str, when: str, session: str | None, current: Any
    ) -> None:
        if not self._rules:
            return
        with self._lock:
            fitting = [rule for rule in self._rules if rule.fits(service, method, when)]
            due = [rule for rule in fitting if rule.due()]
            released = self._released
        for rule in due:
            if rule.action == "delay":
                released.wait(rule.seconds)
            else:
                self._do(rule, session, current)

    def _do(self, rule: Rule, session: str | None, current: Any) -> None:
        if rule.action == "kill" and session is not None:
            self._kill(session)
        elif rule.action == "drop":
            _drop(current)
        elif rule.action == "refuse":
            raise rule.to_raise()


def _drop(current: Any) -> None:
    """Close the connection of a call, so that no answer reaches the client."""
    if current is not None and current.con is not None:
        current.con.close(True)
    raise Ice.ObjectNotExistException  # nobody hears it
