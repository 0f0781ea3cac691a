"""Services and how calls reach them: sessions, group contexts, locks, faults, errors."""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import Ice
import omero

from .calls import ALL_GROUPS, Call, current_call, entering
from .entities import Entity
from .permissions import check_read

if TYPE_CHECKING:
    from .host import Server
    from .sessions import Session

__all__ = ["Service", "call_for", "check_connection", "operations", "servant"]

logger = logging.getLogger(__name__)

_OPERATION = re.compile(r"^ +(\w+)\._op_(\w+) = IcePy\.Operation\((.*)\)$", re.MULTILINE)
_VOID = re.compile(r", \(\), None, \([^()]*\)$")


class Service:
    """A service of one session.

    Attributes
    ----------
    interface : omero-py's skeleton of the Slice interface
    exclusive : whether a call holds the lock of the store and is one transaction
    identity : under which it is on the server, None when it was closed
    stateful : whether it was opened for one client's use
    """

    interface: ClassVar[Any]
    exclusive: ClassVar[bool] = True

    def __init__(self, server: Server, session: Session) -> None:
        self.server = server
        self.session = session
        self.store = server.store
        self.identity: Ice.Identity | None = None
        self.stateful = False

    @property
    def call(self) -> Call:
        """The call that is being served."""
        return current_call()

    def require(self, kind: str, key: int) -> Entity:
        """Return an entity that the user may see.

        Raises
        ------
        omero.ValidationException
            There is none.
        omero.SecurityViolation
            The user may not see it.
        """
        entity = self.store.get(kind, key)
        if entity is None:
            message = f"No row with the given identifier exists: [{kind}#{key}]"
            raise omero.ValidationException(None, "ome.conditions.ValidationException", message)
        check_read(self.call, entity)
        return entity

    def close(self) -> None:
        """Take the service off the server."""
        if self.identity is not None:
            with contextlib.suppress(Ice.NotRegisteredException):
                self.server.adapter.remove(self.identity)
            self.identity = None


@functools.cache
def operations(interface: type) -> dict[str, bool]:
    """Return the operations of a skeleton and whether each returns nothing."""
    found: dict[str, bool] = {}
    for base in interface.__mro__:
        if base.__module__.startswith(("omero", "Glacier2")):
            found |= _declared(base)
    return found


def _declared(interface: type) -> dict[str, bool]:
    """Return what an interface itself declares, as the module that slice2py made has it."""
    name = interface.__name__
    for module in _modules(name):
        declared = {
            operation: bool(_VOID.search(arguments))
            for of, operation, arguments in _OPERATION.findall(module)
            if of == name
        }
        if declared:
            return declared
    return {}


@functools.cache
def _modules(name: str) -> list[str]:
    """Return the generated modules that define an interface."""
    files = {
        str(module.__file__)
        for key, module in list(sys.modules.items())
        if key.endswith("_ice") and getattr(module, "__file__", None)
    }
    texts = (Path(file).read_text(encoding="utf-8") for file in sorted(files))
    return [text for text in texts if f" {name}._op_" in text]


def call_for(server: Server, session: Session, context: dict[str, str]) -> Call:
    """Return the call that a client makes, in the group that it names or the session's.

    Raises
    ------
    omero.SecurityViolation
        The user is not in the group.
    """
    named = context.get("omero.group", "")
    # A name stands there since the login, which it has chosen the session's group by.
    numbered = named.removeprefix("-").isdigit()
    group_id = int(named) if numbered else session.group.id or 0
    call = Call(server.store, session, group_id)
    if group_id != ALL_GROUPS and group_id not in call.memberships and not call.is_admin:
        message = f"User {session.user.id} is not a member of group {group_id} and cannot login"
        raise omero.SecurityViolation(None, "ome.conditions.SecurityViolation", message)
    if group_id != ALL_GROUPS and server.store.get("ExperimenterGroup", group_id) is None:
        message = f"No such group: {group_id}"
        raise omero.SecurityViolation(None, "ome.conditions.SecurityViolation", message)
    return call


def check_connection(server: Server, current: Any) -> None:
    """Refuse calls over a connection that nobody is logged in by, as Glacier2 does.

    Raises
    ------
    Ice.ObjectNotExistException
        The connection that the session was opened by is gone.
    """
    if not server.router.knows(current.con):
        raise Ice.ObjectNotExistException(current.id, current.facet, current.operation)


@contextlib.contextmanager
def _guard(service: Service) -> Iterator[None]:
    if service.exclusive:
        with service.store.transaction():
            yield
    else:
        yield


def _perform(service: Service, name: str, arguments: tuple[Any, ...], current: Any) -> Any:
    """Serve one call."""
    server, session = service.server, service.session
    label = service.interface.__name__
    server.faults.before(label, name, session.uuid, current)
    check_connection(server, current)
    server.sessions.demand(session.uuid)
    work = getattr(service, name, None)
    if work is None:
        message = f"{label}.{name} is not implemented by the test server"
        raise omero.InternalException(None, "NotImplementedError", message)
    with server.store.lock:
        call = call_for(server, session, current.ctx)
    with entering(call), _guard(service):
        result = work(*arguments)
    server.faults.after(label, name, session.uuid, current)
    return result


def _answer(service: Service, name: str, arguments: tuple[Any, ...]) -> Any:
    """Serve one call, the last argument of which is Ice's; wrap what was not expected."""
    try:
        return _perform(service, name, arguments[:-1], arguments[-1])
    except Ice.Exception:
        raise
    except Exception as error:
        logger.exception("%s.%s", type(service).__name__, name)
        raise omero.InternalException(
            traceback.format_exc(), type(error).__name__, f"Wrapped Exception: {error!r}"
        ) from error


def _asynchronous(name: str, void: bool) -> Callable[..., None]:
    def operation(self: Any, callback: Any, *arguments: Any) -> None:
        try:
            result = _answer(self.service, name, arguments)
        except Ice.Exception as error:
            callback.ice_exception(error)
        else:
            callback.ice_response(*(() if void else (result,)))

    return operation


def _synchronous(name: str) -> Callable[..., Any]:
    def operation(self: Any, *arguments: Any) -> Any:
        return _answer(self.service, name, arguments)

    return operation


@functools.cache
def _servant_class(interface: type) -> type:
    declared = operations(interface)
    methods: dict[str, Any] = {name: _synchronous(name) for name in declared}
    methods |= {f"{name}_async": _asynchronous(name, void) for name, void in declared.items()}
    return type(f"{interface.__name__}Servant", (interface,), methods)


def servant(service: Service) -> Any:
    """Return the Ice object that hands calls to a service."""
    made = _servant_class(service.interface)()
    made.service = service
    return made
