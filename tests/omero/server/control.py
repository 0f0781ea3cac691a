"""The client of a test server's port of faults: imports nothing of OMERO."""

from __future__ import annotations

import json
import socket
from typing import Any

__all__ = ["Control", "ControlError"]

TIMEOUT_S = 120.0


class ControlError(RuntimeError):
    """The server did not take a request; the text says why."""


class Control:
    """Makes a test server fail as told, and asks it what was called.

    Parameters
    ----------
    port : int
        On the loopback; the server prints it as ``faults``.
    """

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, op: str, **values: Any) -> Any:
        """Send one request; return what the server answers.

        Raises
        ------
        ControlError
            If the server refuses it.
        """
        with socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S) as connection:
            connection.sendall(json.dumps({"op": op, **values}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                answer = json.loads(lines.readline() or b'{"error": "no answer"}')
        if "error" in answer:
            raise ControlError(answer["error"])
        return answer["result"]

    def refuse(
        self, service: str, method: str, exception: str = "ResourceError", **rule: Any
    ) -> int:
        """Answer a call by an exception of `omero`; return the number of the rule.

        Parameters
        ----------
        service, method : str
            As in the Slice definitions; ``*`` stands for any.
        exception : str
            Name of the class, ``ConcurrencyException`` for one.
        **rule
            ``nth`` (1), ``times`` (1), ``when`` (``before``, or ``after`` the work was done),
            ``message``.
        """
        return self._add("refuse", service, method, exception=exception, **rule)

    def drop(self, service: str, method: str, **rule: Any) -> int:
        """Close the connection at a call, before or after its work is done."""
        return self._add("drop", service, method, **rule)

    def delay(self, service: str, method: str, seconds: float, **rule: Any) -> int:
        """Answer a call late, or when `reset` is called if that is sooner."""
        return self._add("delay", service, method, seconds=seconds, **rule)

    def kill_at(self, service: str, method: str, **rule: Any) -> int:
        """End the caller's session at a call."""
        return self._add("kill", service, method, **rule)

    def _add(self, action: str, service: str, method: str, **rule: Any) -> int:
        return int(
            self.ask("add", rule={"action": action, "service": service, "method": method, **rule})
        )

    def seen(self, rule: int) -> int:
        """Return how many calls fitted a rule so far."""
        return int(self.ask("seen", rule=rule))

    def reset(self) -> None:
        """Forget all rules and silences, let late calls go on, and give the disk back."""
        self.ask("reset")

    def journal(
        self, service: str = "*", method: str = "*", since: int = 0
    ) -> list[dict[str, Any]]:
        """Return the calls after number `since`: n, at, service, method, session, group."""
        return list(self.ask("journal", service=service, method=method, since=since))

    def last(self) -> int:
        """Return the number of the last call."""
        return int(self.ask("last"))

    def sessions(self) -> list[dict[str, Any]]:
        """Return the sessions that are open: key and user of each."""
        return list(self.ask("sessions"))

    def kill(self, session: str | None = None, user: str | None = None) -> int:
        """End the session of a key, or all of a user; return how many."""
        return int(self.ask("kill", session=session, user=user))

    def be_silent(self, seconds: float) -> None:
        """Leave all calls unanswered for a while."""
        self.ask("silent", seconds=seconds)

    def be_away(self, seconds: float) -> None:
        """Close the connection of whoever calls for a while."""
        self.ask("away", seconds=seconds)

    def fill_disk(self, free: int = 0) -> None:
        """Let so many bytes be written and no more, until `reset`."""
        self.ask("disk", free=free)

    def restrict_download(self, *policy: str) -> None:
        """Set who may have original files: of ``+read``, ``+write``, ``+image``, ``+plate``."""
        self.ask("policy", policy=list(policy))

    def seed(self, what: str, **values: Any) -> dict[str, Any]:
        """Have the server make data of its own, such as a plate; see data.py for what it can."""
        return dict(self.ask("seed", what=what, values=values))

    def save(self) -> None:
        """Write the state into the server's folder, as it does when it stops."""
        self.ask("save")
