"""Glacier2's router: where clients log in."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import Glacier2
import Ice
import omero
from omero.constants import AGENT, CLIENTUUID, IP

from .entities import Entity
from .factory import ServiceFactory
from .sessions import Session

if TYPE_CHECKING:
    from .host import Server

__all__ = ["Router"]

_SESSION_S = 600


class _Hangup(Ice.ConnectionCallback):
    """Lets the session of a connection go when the connection ends."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def heartbeat(self, connection: Any) -> None:
        """Do nothing: a heartbeat does not count as use."""

    def closed(self, connection: Any) -> None:
        """Let the session go."""
        self._router.leave(connection)


class Router(Glacier2.Router):
    """The router; calls go straight to the server, whose endpoints are the router's own.

    As with the real one a session is tied to the connection that it was opened by: when the
    connection ends the client leaves, and over another connection it is not known.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._clients: dict[str, ServiceFactory] = {}

    def knows(self, connection: Any) -> bool:
        """Whether somebody is logged in by a connection."""
        return connection is None or connection.toString() in self._clients

    def leave(self, connection: Any) -> bool:
        """Log a connection out; return whether it was logged in."""
        factory = self._clients.pop(connection.toString(), None)
        if factory is not None:
            with self._server.store.lock:
                factory.leave()
        return factory is not None

    def _login(self, user: str, password: str, context: dict[str, str]) -> Session | None:
        """Open a session by name and password, or join one whose uuid is the name."""
        server = self._server
        joined = server.sessions.get(user)
        if joined is not None:
            return joined
        person = server.store.find_by("Experimenter", "omeName", user)
        if person is None or server.passwords.get(user) != password:
            return None
        told = {"userAgent": context.get(AGENT), "userIP": context.get(IP)}
        return server.sessions.open(person, self._group(person, context), **told)

    def _group(self, person: Entity, context: dict[str, str]) -> Entity:
        """Return the group to log in to: the one asked for, or the user's default."""
        maps = self._server.store.referrers(person, "GroupExperimenterMap", "child")
        groups = [m["parent"] for m in maps]
        asked = context.get("omero.group", "")
        if not asked or asked == "user":
            return groups[0]
        for group in groups:
            if asked in (str(group.id), group["name"]):
                return group
        reason = f"User {person['omeName']} is not a member of group {asked}"
        raise omero.WrappedCreateSessionException(
            reason, False, -1, "ome.conditions.SecurityViolation"
        )

    def createSession_async(self, callback: Any, user: str, password: str, current: Any) -> None:
        """Log in."""
        try:
            self._server.faults.before("Router", "createSession", "", current)
            with self._server.store.transaction():
                session = self._login(user, password, current.ctx)
                if session is None:
                    raise Glacier2.PermissionDeniedException("Password check failed")
                factory = self._server.join(session, current.ctx.get(CLIENTUUID, ""))
            self._clients[current.con.toString()] = factory
            current.con.setCallback(_Hangup(self))
            self._server.faults.after("Router", "createSession", session.uuid, current)
        except Ice.Exception as error:
            callback.ice_exception(error)
        else:
            callback.ice_response(Glacier2.SessionPrx.uncheckedCast(factory.proxy))

    def destroySession_async(self, callback: Any, current: Any) -> None:
        """Log out."""
        if self.leave(current.con):
            callback.ice_response()
        else:
            callback.ice_exception(Glacier2.SessionNotExistException())

    def refreshSession_async(self, callback: Any, current: Any) -> None:
        """Keep the connection of a session alive; this does not count as use of the session."""
        if self.knows(current.con):
            callback.ice_response()
        else:
            callback.ice_exception(Glacier2.SessionNotExistException())

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
