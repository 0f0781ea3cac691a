"""OMERO.tables: omero-py's own servants over HDF files, and the shared resources that open them."""

from __future__ import annotations

import functools
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import Ice
import IcePy
import omero
import omero.grid
import omero.hdfstorageV2
import omero.tables

from .calls import ALL_GROUPS, entering
from .commands import perform
from .entities import Entity
from .managed import repositories
from .permissions import Right, can_read, rights
from .render import render_one
from .servants import call_for, operations
from .services.raw_file import RawFile

if TYPE_CHECKING:
    from .host import Server
    from .sessions import Session

__all__ = ["SharedResources", "close_all", "shared_resources"]

MIMETYPE = "OMERO.tables"
_OPEN: dict[str, list[_Table]] = {}  # by the key of a session
_WRITING = frozenset({"addData", "initialize", "setAllMetadata", "setMetadata", "update"})


class _Host:
    """What a table wants of the process that it lives in."""

    def __init__(self, server: Server) -> None:
        self.communicator = server.communicator
        self.stop_event = threading.Event()


class _Owner:
    """The session of a table as the table sees it: rights, the file's bytes, deletion."""

    def __init__(self, server: Server, session: Session) -> None:
        self._server, self._session = server, session

    def ice_getIdentity(self) -> Ice.Identity:
        """Return the name of the session."""
        return Ice.Identity(self._session.uuid, "session")

    def getAdminService(self) -> _Owner:
        """Return what answers `canUpdate`."""
        return self

    def canUpdate(self, file: Any, context: dict[str, str]) -> bool:
        """Tell whether the user may change a table."""
        with self._server.store.lock:
            call = call_for(self._server, self._session, context)
            entity = self._server.store.get("OriginalFile", file.id.val)
            return entity is not None and Right.EDIT in rights(call, entity)

    def createRawFileStore(self, context: dict[str, str]) -> _FileOfTable:
        """Return the bytes under a table."""
        return _FileOfTable(self._server, self._session, context)

    def submit(self, request: Any) -> Any:
        """Do a command of the user's."""
        call = call_for(self._server, self._session, {"omero.group": str(ALL_GROUPS)})
        return perform(self._server, self._session, request, call)


class _FileOfTable:
    """A raw file store in the group that a table names; takes the context as a client would."""

    def __init__(self, server: Server, session: Session, context: dict[str, str]) -> None:
        self._call = call_for(server, session, context)
        self._store = RawFile(server, session)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        def called(*arguments: Any) -> Any:
            with entering(self._call):
                return method(*arguments[:-1])

        return called


class _Table(omero.tables.TableI):
    """A table that faults can be put into."""

    def __init__(self, server: Server, session: Session, file: Any, **options: Any) -> None:
        self._server, self._session = server, session
        path = server.original_files.files / str(file.id.val)
        super().__init__(
            _Host(server),
            file,
            str(path),
            _Owner(server, session),
            omero.hdfstorageV2.HDFLIST,
            uuid=str(uuid.uuid4()),
            adapter=server.adapter,
            **options,
        )


def _spoilable(name: str) -> Any:
    """Return an operation of tables that the faults see first, as they do of services."""
    original = getattr(omero.tables.TableI, name)

    @functools.wraps(original)
    def operation(self: _Table, *arguments: Any) -> Any:
        if not arguments or not isinstance(arguments[-1], IcePy.Current):
            return original(self, *arguments)  # a table calls itself
        *given, current = arguments
        server, session = self._server, self._session
        server.faults.before("Table", name, session.uuid, current)
        server.sessions.demand(session.uuid)
        if name in _WRITING:
            _check_disk(server, given)
        result = original(self, *given, current)
        server.faults.after("Table", name, session.uuid, current)
        return result

    return operation


def _check_disk(server: Server, given: list[Any]) -> None:
    """Fail as PyTables does on a full disk, which omero.tables passes on as its own bug."""
    columns = given[0] if given and isinstance(given[0], list) else []
    values = sum(len(getattr(column, "values", None) or []) for column in columns)
    try:
        server.faults.disk.demand(8 * values)
    except omero.ResourceError:
        raise omero.InternalException(
            "No space left on device",
            "HDF5ExtError",
            "Problems appending the records.",
        ) from None


for _name in operations(omero.grid.Table):
    setattr(_Table, _name, _spoilable(_name))


class SharedResources(omero.grid.SharedResources):
    """Opens tables and tells the repositories."""

    def __init__(self, server: Server, session: Session) -> None:
        self._server, self._session = server, session

    @contextmanager
    def _served(self, name: str, current: Any) -> Iterator[Any]:
        """Serve one call, which may be spoiled before it and after it."""
        self._server.faults.before("SharedResources", name, self._session.uuid, current)
        self._server.sessions.demand(self._session.uuid)
        with self._server.store.lock:
            call = call_for(self._server, self._session, current.ctx)
        with entering(call):
            yield call
        self._server.faults.after("SharedResources", name, self._session.uuid, current)

    def areTablesEnabled(self, current: Any = None) -> bool:
        """Tell that there are tables."""
        return True

    def repositories(self, current: Any = None) -> Any:
        """Return the repositories of the server."""
        with self._served("repositories", current) as call:
            return repositories(self._server, self._session, call)

    def newTable(self, repository: int, path: str, current: Any = None) -> Any:
        """Make a table that has no columns yet."""
        name = PurePosixPath("/", path)
        with self._served("newTable", current) as call:
            with self._server.store.transaction():
                values = {
                    "name": name.name,
                    "path": f"{str(name.parent).rstrip('/')}/",
                    "mimetype": MIMETYPE,
                    "size": 0,
                    "hasher": self._server.store.find_by("ChecksumAlgorithm", "value", "SHA1-160"),
                }
                file = self._server.store.add("OriginalFile", values, call.new_details())
            return self._serve(file, call)

    def openTable(self, file: Any, current: Any = None) -> Any:
        """Open a table, None when the file is not one."""
        with self._served("openTable", current) as call:
            with self._server.store.lock:
                entity = self._server.store.get("OriginalFile", file.id.val)
                if entity is None or not can_read(call, entity):
                    return None
            if not self._server.original_files.path(entity).is_file():
                return None
            return self._serve(entity, call)

    def _serve(self, file: Entity, call: Any) -> Any:
        with entering(call), self._server.store.lock:
            sent = render_one(call, file, "details.group", "details.owner")
        context = {"omero.group": str(file.details.group.id)} if file.details.group else {}
        table = _Table(self._server, self._session, sent, call_context=context)
        _OPEN.setdefault(self._session.uuid, []).append(table)
        return omero.grid.TablePrx.uncheckedCast(self._server.adapter.add(table, table.id))


def shared_resources(server: Server, session: Session) -> Any:
    """Return the proxy of a session's shared resources."""
    proxy = server.add_servant(SharedResources(server, session), "shared")
    return omero.grid.SharedResourcesPrx.uncheckedCast(proxy)


def close_all(session: Session) -> None:
    """Close the tables that a session has left open."""
    for table in _OPEN.pop(session.uuid, []):
        if not table._closed:
            omero.tables.TableI.close(table)
