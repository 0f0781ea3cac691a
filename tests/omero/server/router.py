"""Glacier2's router: where clients log in."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import Glacier2
import Ice

from .entities import Entity
from .sessions import Session

if TYPE_CHECKING:
    from .host import Server

__all__ = ["Router"]

_SESSION_S = 600


class Router(Glacier2.Router):
    """The router; calls go straight to the server, whose endpoints are the router's own."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connections: dict[str, str] = {}

    def _login(self, user: str, password: str, context: dict[str, str]) -> Session | None:
        """Open a session by name and password, or join one whose uuid is the name."""
        server = self._server
        joined = server.sessions.get(user)
        if joined is not None:
            return joined
        person = server.store.find_by("Experimenter", "omeName", user)
        if person is None or server.passwords.get(user) != password:
            return None
        return server.sessions.open(person, self._group(person, context))

    def _group(self, person: Entity, context: dict[str, str]) -> Entity:
        """Return the group to log in to: the one asked for, or the first that is not for all."""
        maps = self._server.store.referrers(person, "GroupExperimenterMap", "child")
        groups = [m["parent"] for m in maps]
        asked = context.get("omero.group", "")
        return next((g for g in groups if asked in (str(g.id), g["name"])), groups[0])

    def createSession_async(self, callback: Any, user: str, password: str, current: Any) -> None:
        """Log in."""
        try:
            self._server.faults.before("Router", "createSession", "", current)
            with self._server.store.transaction():
                session = self._login(user, password, current.ctx)
                if session is not None:
                    session.references += 1
                    session.touch()
            if session is None:
                refused = Glacier2.PermissionDeniedException("Password check failed")
                callback.ice_exception(refused)
                return
            self._connections[current.con.toString()] = session.uuid
            self._server.faults.after("Router", "createSession", session.uuid, current)
        except Ice.Exception as error:
            callback.ice_exception(error)
        else:
            callback.ice_response(Glacier2.SessionPrx.uncheckedCast(self._server.factory(session)))

    def destroySession_async(self, callback: Any, current: Any) -> None:
        """Log out: let the session of this connection go."""
        key = self._connections.pop(current.con.toString(), None)
        session = None if key is None else self._server.sessions.get(key)
        if session is None:
            callback.ice_exception(Glacier2.SessionNotExistException())
            return
        with self._server.store.lock:
            self._server.leave(session)
        callback.ice_response()

    def refreshSession_async(self, callback: Any, current: Any) -> None:
        """Keep the session of this connection alive."""
        session = self._server.sessions.get(self._connections.get(current.con.toString(), ""))
        if session is None:
            callback.ice_exception(Glacier2.SessionNotExistException())
            return
        session.touch()
        callback.ice_response()

    def getClientProxy(self, current: Any = None) -> None:
        """Say that clients route through the router's own endpoints."""

    def getServerProxy(self, current: Any = None) -> Any:
        """Return an object at the endpoints that callbacks are reached by."""
        return self._server.adapter.createProxy(Ice.Identity("dummy", ""))

    def addProxies(self, proxies: Any, current: Any = None) -> list[Any]:
        """Take note of the objects that a client calls; none is ever dropped."""
        return []

    def getCategoryForClient(self, current: Any = None) -> str:
        """Return a category for the callbacks of a client."""
        return uuid.uuid4().hex[:8]

    def getSessionTimeout(self, current: Any = None) -> int:
        """Return after how many seconds an idle connection is dropped."""
        return _SESSION_S

    def getACMTimeout(self, current: Any = None) -> int:
        """Return how often the connection is to be kept alive, in seconds."""
        return _SESSION_S // 10
