"""The port at which tests tell the server what is to go wrong: a line of JSON each way."""

from __future__ import annotations

import json
import logging
import socketserver
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .data import seed_data

if TYPE_CHECKING:
    from .host import Server

__all__ = ["FaultPort"]

logger = logging.getLogger(__name__)


class FaultPort:
    """Serves `Control` on the loopback.

    Parameters
    ----------
    server : Server
    port : int
        0 is one that is free.
    save : callable
        Writes the state of the server into its folder.
    """

    def __init__(self, server: Server, port: int, save: Callable[[], None]) -> None:
        self._server, self._save = server, save
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                for line in self.rfile:
                    self.wfile.write(json.dumps(outer.answer(line)).encode() + b"\n")

        class Listener(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self._listener = Listener(("127.0.0.1", port), Handler)
        self.port: int = self._listener.server_address[1]
        self._thread = threading.Thread(
            target=self._listener.serve_forever, daemon=True, name="faults"
        )

    def start(self) -> None:
        """Listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._listener.shutdown()
        self._listener.server_close()

    def answer(self, line: bytes) -> dict[str, Any]:
        """Return the answer to one line."""
        try:
            request = json.loads(line)
            work = getattr(self, f"_op_{request.pop('op')}")
            return {"result": work(**request)}
        except Exception as error:
            logger.exception("%s", line)
            return {"error": f"{type(error).__name__}: {error}"}

    def _op_add(self, rule: dict[str, Any]) -> int:
        return self._server.faults.add(rule)

    def _op_seen(self, rule: int) -> int:
        return self._server.faults.seen(rule)

    def _op_reset(self) -> None:
        self._server.faults.reset()

    def _op_journal(self, service: str, method: str, since: int) -> list[dict[str, Any]]:
        return self._server.faults.journal(since, service, method)

    def _op_last(self) -> int:
        return self._server.faults.last()

    def _op_silent(self, seconds: float) -> None:
        self._server.faults.be_silent(seconds)

    def _op_away(self, seconds: float) -> None:
        self._server.faults.be_away(seconds)

    def _op_disk(self, free: int) -> None:
        self._server.faults.disk.free = free

    def _op_policy(self, policy: list[str]) -> None:
        self._server.store.policy = frozenset(policy)

    def _op_sessions(self) -> list[dict[str, Any]]:
        return [
            {"session": session.uuid, "user": session.user["omeName"]}
            for session in self._server.sessions.all()
        ]

    def _op_kill(self, session: str | None, user: str | None) -> int:
        found = [
            one["session"]
            for one in self._op_sessions()
            if one["session"] == session or one["user"] == user
        ]
        for key in found:
            self._server.sessions.kill(key)
        return len(found)

    def _op_seed(self, what: str, values: dict[str, Any]) -> dict[str, Any]:
        options = {name: values.pop(name) for name in ("user", "group") if name in values}
        return seed_data(self._server, what, values, **options)

    def _op_save(self) -> None:
        self._save()
