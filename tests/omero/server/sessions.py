"""Sessions: opened by login, joined by their uuid, idle out, end."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import omero
import omero.model
import omero.sys

from .calls import ALL_GROUPS, Call, now_ms
from .entities import Entity
from .permissions import group_type
from .store import Store

__all__ = ["Session", "Sessions", "event_context"]

IDLE_MS = 600_000


class Session:
    """A login, which several clients may share.

    Attributes
    ----------
    uuid : its key
    entity : its row
    user, group : who logged in, and the group that calls work in when they name none
    references : how many clients use it
    inputs, outputs : values that its clients leave for each other
    """

    def __init__(self, entity: Entity, user: Entity, group: Entity) -> None:
        self.uuid: str = entity["uuid"]
        self.entity = entity
        self.user = user
        self.group = group
        self.references = 0
        self.inputs: dict[str, Any] = {}
        self.outputs: dict[str, Any] = {}
        self._started = self._used = time.monotonic()

    def touch(self) -> None:
        """Note that the session is in use."""
        self._used = time.monotonic()

    @property
    def expired(self) -> bool:
        """Whether it was idle, or alive, for longer than it may."""
        now = time.monotonic()
        idle, alive = self.entity["timeToIdle"], self.entity["timeToLive"]
        idled = bool(idle) and (now - self._used) * 1000 > idle
        return idled or (bool(alive) and (now - self._started) * 1000 > alive)


class Sessions:
    """All sessions that are open, and why others are not.

    Attributes
    ----------
    on_end : called with a session that has ended
    """

    def __init__(self, store: Store) -> None:
        self.on_end: Callable[[Session], None] = lambda _: None
        self._store = store
        self._open: dict[str, Session] = {}
        self._ended: dict[str, type[Exception]] = {}

    def open(
        self,
        user: Entity,
        group: Entity,
        idle_ms: int = IDLE_MS,
        live_ms: int = 0,
        **told: Any,
    ) -> Session:
        """Open a session; ``told`` is what else is known: userAgent, userIP, sudoer."""
        values: dict[str, Any] = {
            "uuid": str(uuid.uuid4()),
            "owner": user,
            "node": self._store.find_by("Node", "uuid", "main"),
            "started": now_ms(),
            "timeToIdle": idle_ms,
            "timeToLive": live_ms,
            "defaultEventType": "User",
            **told,
        }
        session = Session(self._store.add("Session", values), user, group)
        self._open[session.uuid] = session
        return session

    def get(self, key: str) -> Session | None:
        """Return a session that is open."""
        session = self._open.get(key)
        if session is not None and session.expired:
            self._end(session, omero.SessionTimeoutException)
            return None
        return session

    def all(self) -> list[Session]:
        """Return the sessions that are open."""
        found = [self.get(key) for key in list(self._open)]
        return [session for session in found if session is not None]

    def demand(self, key: str) -> Session:
        """Return a session that is open, and note that it is in use.

        Raises
        ------
        omero.SessionTimeoutException
            It has timed out.
        omero.RemovedSessionException
            It was closed, or there was none.
        """
        session = self.get(key)
        if session is None:
            raised = self._ended.get(key, omero.RemovedSessionException)
            raise raised(None, f"ome.conditions.{raised.__name__}", f"No session {key}")
        session.touch()
        return session

    def release(self, session: Session) -> int:
        """Let one client go; close the session when it was the last. Return how many remain."""
        session.references -= 1
        if session.references <= 0:
            self.kill(session.uuid)
        return session.references

    def kill(self, key: str) -> None:
        """Close a session whoever uses it."""
        session = self._open.get(key)
        if session is not None:
            self._end(session, omero.RemovedSessionException)

    def _end(self, session: Session, reason: type[Exception]) -> None:
        if self._open.pop(session.uuid, None) is None:
            return
        self._ended[session.uuid] = reason
        self._store.set(session.entity, "closed", now_ms())
        self.on_end(session)


def event_context(call: Call) -> Any:
    """Return what a client is told of who it is."""
    session, store = call.session, call.store
    group_id = session.group.id if call.group_id == ALL_GROUPS else call.group_id
    group = store.get("ExperimenterGroup", group_id or 0) or session.group
    privileges = [each["value"] for each in store.all("AdminPrivilege")]
    return omero.sys.EventContext(
        shareId=-1,
        sessionId=session.entity.id,
        sessionUuid=session.uuid,
        userId=call.user.id,
        userName=call.user["omeName"],
        groupId=group.id,
        groupName=group["name"],
        isAdmin=call.is_admin,
        adminPrivileges=privileges if call.is_admin else [],
        eventId=-1,
        eventType="User",
        memberOfGroups=list(call.memberships),
        leaderOfGroups=[n for n, owner in call.memberships.items() if owner],
        groupPermissions=omero.model.PermissionsI(group_type(group)),
    )
