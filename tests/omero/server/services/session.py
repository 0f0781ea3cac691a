"""ISession: sessions seen from within one."""

from __future__ import annotations

from typing import Any

import omero
import omero.api
from omero.rtypes import unwrap
from tests.omero.server.checks import refuse
from tests.omero.server.entities import Entity
from tests.omero.server.render import render, render_one
from tests.omero.server.servants import Service
from tests.omero.server.sessions import Session

__all__ = ["SessionService"]


class SessionService(Service):
    """Opens, closes and tells of sessions."""

    interface = omero.api.ISession

    def _readable(self, key: str) -> Session:
        found = self.server.sessions.get(key)
        if found is None:
            message = f"No session with uuid {key}"
            raise omero.RemovedSessionException(
                None, "ome.conditions.RemovedSessionException", message
            )
        if found.user is not self.call.user and not self.call.is_admin:
            refuse("Cannot read a session of another user")
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
        if self.session.entity["sudoer"] is not None:
            refuse("Cannot create a user session from a session that another user opened")
        return self._open(live_ms, idle_ms, group, self.call.user, None)

    def createSessionWithTimeout(self, principal: Any, live_ms: int) -> Any:
        return self.createSessionWithTimeouts(principal, live_ms, self.session.entity["timeToIdle"])

    def createSessionWithTimeouts(self, principal: Any, live_ms: int, idle_ms: int) -> Any:
        person = self.store.find_by("Experimenter", "omeName", principal.name)
        if person is None:
            message = f"No such user: {principal.name}"
            raise omero.ApiUsageException(None, "ome.conditions.ApiUsageException", message)
        if person is not self.call.user and not self.call.is_admin:
            refuse("Only administrators may open sessions of others")
        if idle_ms == 0 and not self.call.is_admin:
            refuse("Cannot disable timeToIdle. Value must be between 1 and 36000000")
        return self._open(live_ms, idle_ms, principal.group, person, self.call.user)

    def _open(
        self, live_ms: int, idle_ms: int, group: str, person: Entity, sudoer: Entity | None
    ) -> Any:
        maps = self.store.referrers(person, "GroupExperimenterMap", "child")
        groups = [m["parent"] for m in maps]
        chosen = next((g for g in groups if g["name"] == group), groups[0])
        session = self.server.sessions.open(person, chosen, idle_ms, live_ms, sudoer=sudoer)
        session.references += 1
        return render_one(self.call, session.entity, "owner")

    def getInput(self, key: str, name: str) -> Any:
        return self._readable(key).inputs.get(name)

    def setInput(self, key: str, name: str, value: Any) -> None:
        self._readable(key).inputs[name] = value

    def getInputKeys(self, key: str) -> list[str]:
        return list(self._readable(key).inputs)

    def getInputs(self, key: str) -> dict[str, Any]:
        return self._readable(key).inputs

    def getOutput(self, key: str, name: str) -> Any:
        return self._readable(key).outputs.get(name)

    def setOutput(self, key: str, name: str, value: Any) -> None:
        self._readable(key).outputs[name] = value

    def getOutputKeys(self, key: str) -> list[str]:
        return list(self._readable(key).outputs)

    def getOutputs(self, key: str) -> dict[str, Any]:
        return self._readable(key).outputs
