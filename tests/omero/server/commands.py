"""Commands that clients submit: deleting, moving, giving, and what they ask about graphs."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import Ice
import omero
import omero.api
import omero.cmd
from omero.rtypes import rlong

from .calls import ALL_GROUPS, Call, current_call, entering, now_ms
from .entities import Entity
from .graphs import Graph, GraphError, by_class, java_name, targets
from .merge import Merger
from .model import KINDS, kind_of
from .permissions import Right
from .render import render
from .servants import call_for

if TYPE_CHECKING:
    from .host import Server
    from .sessions import Session

__all__ = ["perform", "submit"]

logger = logging.getLogger(__name__)

_CONTAINED_BY = ("fileset", "image", "pixels", "plate", "plateAcquisition", "roi", "well")


class _Work:
    """One command, and what is to be done when its changes are kept.

    Requests about graphs look into all groups of the user, whatever the call's group is.
    """

    def __init__(self, server: Server, session: Session) -> None:
        self.server = server
        self.call = Call(server.store, session, ALL_GROUPS)
        self.store = server.store
        self.afterwards: list[Callable[[], None]] = []

    def do(self, request: Any) -> Any:
        """Return the response to a request.

        Raises
        ------
        GraphError, omero.ServerError
        """
        work = getattr(self, f"_{type(request).__name__}", None)
        if work is None:
            raise GraphError(f"{request.ice_id()} is not implemented by the test server")
        return work(request)

    def _DoAll(self, request: Any) -> Any:
        response = omero.cmd.DoAllRsp()
        response.responses = [self.do(one) for one in request.requests]
        now = now_ms()
        response.status = [_status(found, now, now) for found in response.responses]
        return response

    def _Save(self, request: Any) -> Any:
        call = current_call()
        merger = Merger(call)
        saved = merger.save_all([request.obj])
        return omero.api.SaveRsp(render(call, saved, merger.fetched)[0])

    def _graph(self, request: Any, right: Right) -> Graph:
        graph = Graph(self.call, right, request.childOptions)
        graph.take(targets(self.call, request.targetObjects))
        return graph

    def _Delete2(self, request: Any) -> Any:
        graph = self._graph(request, Right.DELETE)
        graph.check()
        if not request.dryRun:
            graph.delete()
            self.afterwards.append(lambda: self._remove_bytes(graph))
        return omero.cmd.Delete2Response(deletedObjects=by_class(graph.members))

    def _remove_bytes(self, graph: Graph) -> None:
        for entity in graph.members:
            if entity.kind.name == "Pixels":
                self.server.pixel_files.remove(entity.id or 0)
            elif entity.kind.name == "OriginalFile":
                self.server.original_files.remove(entity)

    def _Chgrp2(self, request: Any) -> Any:
        group = self.store.get("ExperimenterGroup", request.groupId)
        if group is None or (group.id not in self.call.memberships and not self.call.is_admin):
            raise GraphError(f"user is not a member of group {request.groupId}")
        graph = self._graph(request, Right.CHGRP)
        cut = [link for link in graph.members if link.kind.is_link and not _whole(link, graph)]
        moved = [entity for entity in graph.members if entity not in cut]
        for link in cut:
            del graph.members[link]
        if not request.dryRun:
            for link in cut:
                self.store.remove(link)
            graph.unlink()
            for entity in moved:
                if not entity.kind.is_system:
                    self.store.set_details(entity, "group", group)
        return omero.cmd.Chgrp2Response(by_class(moved), by_class(cut))

    def _Chown2(self, request: Any) -> Any:
        owner = self.store.get("Experimenter", request.userId)
        if owner is None:
            raise GraphError(f"there is no user {request.userId}")
        first = targets(self.call, request.targetObjects)
        former = {entity.details.owner for entity in first}
        graph = self._graph(request, Right.CHOWN)
        given = [entity for entity in graph.members if entity.details.owner in former]
        if not request.dryRun:
            for entity in given:
                self.store.set_details(entity, "owner", owner)
        return omero.cmd.Chown2Response(by_class(given), {})

    def _Chmod2(self, request: Any) -> Any:
        groups = targets(self.call, request.targetObjects)
        for group in groups:
            if not (self.call.is_admin or self.call.leads(group)):
                raise GraphError(f"not permitted to chmod {group}")
            if not request.dryRun:
                self.store.set_details(group, "permissions", request.permissions)
        return omero.cmd.Chmod2Response(by_class(groups), {})

    def _SkipHead(self, request: Any) -> Any:
        wanted = tuple(kind_of(name).name for name in request.startFrom)
        graph = Graph(self.call, Right.DELETE, request.childOptions)
        graph.take(targets(self.call, request.targetObjects))
        found: dict[str, list[int]] = {}
        for entity in graph.members:
            if any(entity.kind.is_a(name) for name in wanted):
                found.setdefault(entity.kind.name, []).append(entity.id or 0)
        request.request.targetObjects = found
        request.request.dryRun = request.dryRun
        return self.do(request.request)

    def _FindChildren(self, request: Any) -> Any:
        graph = Graph(self.call, Right.LINK)
        graph.take(targets(self.call, request.targetObjects))
        return omero.cmd.FoundChildren(by_class(_of(graph.members, request.typesOfChildren)))

    def _FindParents(self, request: Any) -> Any:
        found: dict[Entity, None] = {}
        waiting = targets(self.call, request.targetObjects)
        while waiting:
            entity = waiting.pop()
            for other in _parents(self.call, entity):
                if other not in found:
                    found[other] = None
                    waiting.append(other)
        return omero.cmd.FoundParents(by_class(_of(found, request.typesOfParents)))

    def _LegalGraphTargets(self, request: Any) -> Any:
        names = sorted(java_name(kind) for kind in KINDS.values() if not kind.is_system)
        return omero.cmd.LegalGraphTargetsResponse(names)

    def _UsedFilesRequest(self, request: Any) -> Any:
        image = targets(self.call, {"Image": [request.imageId]})[0]
        entries = self._entries(image)
        files = [entry["originalFile"].id for entry in entries]
        response = omero.cmd.UsedFilesResponse()
        response.binaryFilesThisSeries = files
        response.binaryFilesOtherSeries = []
        response.companionFilesThisSeries, response.companionFilesOtherSeries = [], []
        return response

    def _OriginalMetadataRequest(self, request: Any) -> Any:
        image = targets(self.call, {"Image": [request.imageId]})[0]
        response = omero.cmd.OriginalMetadataResponse()
        response.filesetId = rlong(image["fileset"].id) if image["fileset"] is not None else None
        response.globalMetadata, response.seriesMetadata = {}, {}
        return response

    def _entries(self, image: Entity) -> list[Entity]:
        fileset = image["fileset"]
        return [] if fileset is None else self.store.collection(fileset, "usedFiles")


def _whole(link: Entity, graph: Graph) -> bool:
    return link["parent"] in graph.members and link["child"] in graph.members


def _of(entities: Any, names: list[str]) -> list[Entity]:
    wanted = [kind_of(name).name for name in names or ()]
    return [one for one in entities if not wanted or any(one.kind.is_a(n) for n in wanted)]


def _parents(call: Call, entity: Entity) -> list[Entity]:
    links = (link for link in call.store.all_referrers(entity) if link.kind.is_link)
    found = [link["parent"] for link in links if link["child"] is entity]
    held = (entity[name] for name in _CONTAINED_BY if name in entity.kind.fields)
    found += [parent for parent in held if parent is not None]
    return found + call.store.referrers(entity, "WellSample", "image")


def _status(response: Any, started: int, stopped: int) -> Any:
    """Return how a command that has ended went, with its times in ms since 1970."""
    failed = isinstance(response, omero.cmd.ERR)
    flag = omero.cmd.State.FAILURE if failed else omero.cmd.State.SUCCESS
    return omero.cmd.Status(
        flags=[flag],
        currentStep=1,
        steps=1,
        startTime=started,
        stopTime=stopped,
    )


def _failure(request: Any, error: Exception) -> Any:
    """Return the response that tells of an error."""
    kind = omero.cmd.GraphException if isinstance(error, GraphError) else omero.cmd.ERR
    message = getattr(error, "message", None) or str(error)
    parameters = {"message": message, "stacktrace": traceback.format_exc()}
    response = kind(request.ice_id(), "graph-fail", parameters)
    if isinstance(error, GraphError):
        response.message = message
    return response


class _Handle(omero.cmd.Handle):
    """What a client waits on."""

    def __init__(self, server: Server, session: Session, request: Any, current: Any) -> None:
        self._server, self._session, self._request = server, session, request
        self._current = current
        self._lock = threading.Lock()
        self._response: Any = None
        self._callbacks: list[Any] = []
        self._started, self._stopped = now_ms(), 0
        self.identity: Any = None

    def run(self, call: Call) -> None:
        """Do the work, then tell everyone who wants to know."""
        name = type(self._request).__name__
        faults, key = self._server.faults, self._session.uuid
        work = _Work(self._server, self._session)
        try:
            faults.before("Command", name, key, self._current)
            with entering(call), self._server.store.transaction():
                response = work.do(self._request)
            for afterwards in work.afterwards:
                afterwards()
            faults.after("Command", name, key, self._current)
        except (GraphError, Ice.Exception) as error:
            response = _failure(self._request, error)
        except Exception as error:
            logger.exception("%s", name)
            response = _failure(self._request, error)
        with self._lock:
            self._stopped = now_ms()
            self._response, callbacks = response, list(self._callbacks)
        for callback in callbacks:
            self._tell(callback)

    def _tell(self, callback: Any) -> None:
        try:
            callback.finished(self._response, self.getStatus())
        except Ice.Exception:
            logger.info("the client of a command has gone", exc_info=True)

    def addCallback(self, callback: Any, current: Any = None) -> None:
        """Tell of the end, over the connection that the client has opened."""
        if current is None or current.con is None:
            return
        proxy = omero.cmd.CmdCallbackPrx.uncheckedCast(
            current.con.createProxy(callback.ice_getIdentity())
        )
        with self._lock:
            self._callbacks.append(proxy)
            done = self._response is not None
        if done:
            threading.Thread(target=self._tell, args=(proxy,), daemon=True).start()

    def removeCallback(self, callback: Any, current: Any = None) -> None:
        """Tell no longer of the end."""
        identity = callback.ice_getIdentity()
        with self._lock:
            self._callbacks = [one for one in self._callbacks if one.ice_getIdentity() != identity]

    def getRequest(self, current: Any = None) -> Any:
        """Return what was asked for."""
        return self._request

    def getResponse(self, current: Any = None) -> Any:
        """Return how it ended, None before."""
        return self._response

    def getStatus(self, current: Any = None) -> Any:
        """Return how far it is."""
        if self._response is None:
            return omero.cmd.Status(steps=1, startTime=self._started)
        return _status(self._response, self._started, self._stopped)

    def cancel(self, current: Any = None) -> bool:
        """Refuse: what runs is ended."""
        return False

    def close(self, current: Any = None) -> None:
        """Forget the command."""
        if self.identity is not None and self._server.adapter.find(self.identity) is not None:
            self._server.adapter.remove(self.identity)


def submit(server: Server, session: Session, request: Any, current: Any) -> Any:
    """Start a command in a thread of its own; return the proxy of its handle.

    Raises
    ------
    omero.SecurityViolation
        If it is for a group that the user is not in.
    """
    with server.store.lock:
        call = call_for(server, session, {} if current is None else current.ctx)
    handle = _Handle(server, session, request, current)
    proxy = server.add_servant(handle, "handle")
    handle.identity = proxy.ice_getIdentity()
    threading.Thread(target=handle.run, args=(call,), daemon=True, name="command").start()
    return omero.cmd.HandlePrx.uncheckedCast(proxy)


def perform(server: Server, session: Session, request: Any, call: Call) -> Any:
    """Do a command at once; return its handle, which is no Ice object."""
    handle = _Handle(server, session, request, None)
    handle.run(call)
    return handle
