"""The service factory: what a client gets when it logs in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import omero
import omero.api

from . import commands, tables
from .calls import entering
from .checks import refuse
from .render import render, render_one
from .servants import Service, call_for, check_connection
from .services import STATEFUL, STATELESS

if TYPE_CHECKING:
    from .host import Server
    from .sessions import Session

__all__ = ["ServiceFactory"]


class ServiceFactory(omero.api.ServiceFactory):
    """One session as one client sees it.

    Attributes
    ----------
    client : the client's uuid
    proxy : its own
    """

    def __init__(self, server: Server, session: Session, client: str) -> None:
        self.client = client
        self.proxy: Any = None
        self._server = server
        self._session = session
        self._services: dict[str, tuple[Service, Any]] = {}
        self._closes = True

    def _enter(self, name: str, current: Any) -> None:
        """Check that a call may go on."""
        self._server.faults.before("ServiceFactory", name, self._session.uuid, current)
        check_connection(self._server, current)
        self._server.sessions.demand(self._session.uuid)

    def open_stateless(self, name: str, current: Any) -> Any:
        """Return the proxy of a service of which a session has one."""
        self._enter(name, current)
        if name not in self._services:
            self._services[name] = self._open(STATELESS, name)
        return self._services[name][1]

    def open_stateful(self, name: str, current: Any) -> Any:
        """Return the proxy of a service that the client closes."""
        self._enter(name, current)
        service, proxy = self._open(STATEFUL, name)
        assert service.identity is not None
        service.stateful = True
        self._services[service.identity.name] = (service, proxy)
        return proxy

    def _open(self, known: dict[str, type[Service]], name: str) -> tuple[Service, Any]:
        kind = known.get(name)
        if kind is None:
            message = f"{name} is not implemented by the test server"
            raise omero.InternalException(None, "NotImplementedError", message)
        service = kind(self._server, self._session)
        proxy = self._server.add_service(service, "service")
        typed = getattr(omero.api, f"{kind.interface.__name__}Prx")
        return service, typed.uncheckedCast(proxy)

    def close_all(self) -> None:
        """Close every service of the session."""
        for service, _ in self._services.values():
            service.close()
        self._services.clear()

    def getByName(self, name: str, current: Any = None) -> Any:
        """Return a service that is open, or one by its Slice name, such as "omero.api.IQuery"."""
        if name in self._services:
            return self._services[name][1]
        short = name.rpartition(".")[2].removeprefix("I")
        return self.open_stateless(f"get{short}Service", current)

    def createByName(self, name: str, current: Any = None) -> Any:
        """Return a new stateful service by its Slice name."""
        return self.open_stateful(f"create{name.rpartition('.')[2]}", current)

    def sharedResources(self, current: Any = None) -> Any:
        """Return the proxy of tables and repositories."""
        self._enter("sharedResources", current)
        return tables.shared_resources(self._server, self._session)

    def submit_async(self, callback: Any, request: Any, current: Any = None) -> None:
        """Start a command."""
        try:
            self._enter("submit", current)
            handle = commands.submit(self._server, self._session, request, current)
        except omero.ServerError as error:
            callback.ice_exception(error)
        else:
            callback.ice_response(handle)

    def setSecurityContext(self, context: Any, current: Any = None) -> Any:
        """Make a group the one that calls work in when they name none; return the former."""
        self._enter("setSecurityContext", current)
        stateful = [
            service
            for service, _ in self._services.values()
            if service.stateful and service.identity
        ]
        if stateful:
            refuse(f"{self._session.uuid} has active stateful services: {len(stateful)}")
        with self._server.store.lock:
            call = call_for(self._server, self._session, {"omero.group": str(context.id.val)})
            former = self._session.group
            self._session.group = call.group_for_writing()
            return render_one(call, former)

    def getSecurityContexts(self, current: Any = None) -> list[Any]:
        """Return the groups of the user."""
        self._enter("getSecurityContexts", current)
        with self._server.store.lock, entering(self._call(current)) as call:
            groups = (self._server.store.get("ExperimenterGroup", n) for n in call.memberships)
            return render(call, [group for group in groups if group is not None])

    def _call(self, current: Any) -> Any:
        return call_for(self._server, self._session, current.ctx)

    def closeOnDestroy(self, current: Any = None) -> None:
        """End the session when the last client leaves."""
        self._closes = True

    def detachOnDestroy(self, current: Any = None) -> None:
        """Keep the session when the last client leaves."""
        self._closes = False

    def activeServices(self, current: Any = None) -> list[str]:
        """Return the names of the services that are open."""
        return sorted(self._services)

    def keepAlive(self, proxy: Any, current: Any = None) -> bool:
        """Keep the session, and a service when one is given, from timing out."""
        self._enter("keepAlive", current)
        return proxy is None or self._server.adapter.find(proxy.ice_getIdentity()) is not None

    def keepAllAlive(self, proxies: list[Any], current: Any = None) -> int:
        """Keep services alive; return the bits of those that are gone."""
        alive = [self.keepAlive(proxy, current) for proxy in proxies]
        return sum(0 if lives else 1 << bit for bit, lives in enumerate(alive))

    def setCallback(self, callback: Any, current: Any = None) -> None:
        """Take note of whom to tell of the end; clients find it out by themselves."""

    def subscribe(self, topic: str, proxy: Any, current: Any = None) -> None:
        """Do nothing: there are no topics."""

    def leave(self) -> None:
        """Let this client's hold on the session go: close it, when the last client leaves."""
        self._server.forget(self)
        if self._closes:
            self._server.sessions.release(self._session)
        else:
            self._session.references -= 1

    def destroy(self, current: Any = None) -> None:
        """Log this client out."""
        self._server.router.leave(current.con)


def _opener(name: str, opens: str) -> Any:
    def operation(self: ServiceFactory, current: Any = None) -> Any:
        return getattr(self, opens)(name, current)

    return operation


for _name in STATELESS:
    setattr(ServiceFactory, _name, _opener(_name, "open_stateless"))
for _name in STATEFUL:
    setattr(ServiceFactory, _name, _opener(_name, "open_stateful"))
