"""ISession: sessions seen from within one."""

from __future__ import annotations

from typing import Any

import omero
import omero.api
from omero.rtypes import unwrap
from tests.omero.server.render import render, render_one
from tests.omero.server.servants import Service
from tests.omero.server.sessions import Session

__all__ = ["SessionService"]


class SessionService(Service):
    """Opens, closes and tells of sessions."""

    interface = omero.api.ISession

    def __init__(self, server: Any, session: Session) -> None:
        super().__init__(server, session)
        self._input: dict[tuple[str, str], Any] = {}
        self._output: dict[tuple[str, str], Any] = {}

    def _readable(self, key: str) -> Session:
        found = self.server.sessions.get(key)
        if found is None:
            message = f"No session with uuid {key}"
            raise omero.RemovedSessionException(
                None, "ome.conditions.RemovedSessionException", message
            )
        if found.user is not self.call.user and not self.call.is_admin:
            message = "Cannot read a session of another user"
            raise omero.SecurityViolation(None, "ome.conditions.SecurityViolation", message)
        return found

    def getSession(self, key: str) -> Any:
        return render_one(self.call, self._readable(key).entity, "owner")

    def getReferenceCount(self, key: str) -> int:
        return self._readable(key).references

    def closeSession(self, incoming: Any) -> int:
        session = self._readable(unwrap(incoming.uuid))
        remaining = self.server.sessions.release(session)
        return remaining if remaining > 0 else -2

    def _own(self) -> list[Any]:
        mine = [s.entity for s in self.server.sessions.all() if s.user is self.call.user]
        return render(self.call, mine)

    def getMyOpenSessions(self) -> list[Any]:
        return self._own()

    def getMyOpenAgentSessions(self, agent: str) -> list[Any]:
        return [s for s in self._own() if unwrap(s.userAgent) == agent]

    def getMyOpenClientSessions(self) -> list[Any]:
        return self._own()

    def createUserSession(self, live_ms: int, idle_ms: int, group: str) -> Any:
        return self._open(live_ms, idle_ms, group)

    def createSessionWithTimeout(self, principal: Any, live_ms: int) -> Any:
        return self.createSessionWithTimeouts(principal, live_ms, self.session.entity["timeToIdle"])

    def createSessionWithTimeouts(self, principal: Any, live_ms: int, idle_ms: int) -> Any:
        person = self.store.find_by("Experimenter", "omeName", principal.name)
        if person is not self.call.user and not self.call.is_admin:
            message = "Only administrators may open sessions of others"
            raise omero.SecurityViolation(None, "ome.conditions.SecurityViolation", message)
        return self._open(live_ms, idle_ms, principal.group, person)

    def _open(self, live_ms: int, idle_ms: int, group: str, person: Any = None) -> Any:
        person = person or self.call.user
        maps = self.store.referrers(person, "GroupExperimenterMap", "child")
        groups = [m["parent"] for m in maps]
        chosen = next((g for g in groups if g["name"] == group), groups[0])
        session = self.server.sessions.open(person, chosen, idle_ms, live_ms)
        session.references += 1
        return render_one(self.call, session.entity, "owner")

    def getInput(self, key: str, name: str) -> Any:
        return self._input.get((key, name))

    def setInput(self, key: str, name: str, value: Any) -> None:
        self._input[key, name] = value

    def getInputKeys(self, key: str) -> list[str]:
        return [name for of, name in self._input if of == key]

    def getInputs(self, key: str) -> dict[str, Any]:
        return {name: value for (of, name), value in self._input.items() if of == key}

    def getOutput(self, key: str, name: str) -> Any:
        return self._output.get((key, name))

    def setOutput(self, key: str, name: str, value: Any) -> None:
        self._output[key, name] = value

    def getOutputKeys(self, key: str) -> list[str]:
        return [name for of, name in self._output if of == key]

    def getOutputs(self, key: str) -> dict[str, Any]:
        return {name: value for (of, name), value in self._output.items() if of == key}
