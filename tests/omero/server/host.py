"""The server as a whole: its database, its sessions and its Ice endpoints."""

from __future__ import annotations

import contextlib
import gc
import pickle
import secrets
import socket
import uuid
from pathlib import Path
from typing import Any

import Ice

from . import tables
from .factory import ServiceFactory
from .faults import Faults
from .incoming import register_factories
from .original_files import OriginalFiles
from .pixel_files import PixelFiles
from .router import Router
from .seed import seed
from .servants import Service, servant
from .sessions import Session, Sessions
from .store import Store

__all__ = ["Server"]

_PROPERTIES = {
    "Ice.Plugin.IceSSL": "IceSSL:createIceSSL",
    "IceSSL.VerifyPeer": "0",
    "Ice.ThreadPool.Server.Size": "4",
    "Ice.ThreadPool.Server.SizeMax": "32",
    "Ice.MessageSizeMax": "250000",
    "Ice.ACM.Server.Timeout": "0",
}
_PORTS = range(20_000, 32_000)


def _free_port() -> int:
    """Return a port that nothing listens at, none of those that clients get to call from."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Server:
    """An OMERO server on the loopback interface.

    Attributes
    ----------
    folder : where it keeps files
    store, sessions : its database and who is logged in
    settings : what administrators changed of the configuration
    passwords : by user
    router : who is connected
    faults : called before and after every call, to make things go wrong
    pixel_files, original_files : what is kept on disk
    ssl_port, tcp_port, wss_port : where it listens; web sockets at the path ``/omero-ws``
    """

    def __init__(
        self,
        folder: Path,
        certificate: Path,
        key: Path,
        ssl_port: int = 0,
        tcp_port: int = 0,
        wss_port: int = 0,
    ) -> None:
        self.folder = folder
        self.store = Store()
        self.sessions = Sessions(self.store)
        self.sessions.on_end = self._end
        self.faults = Faults(self.sessions.kill)
        self.pixel_files = PixelFiles(folder / "Pixels", self.faults.disk)
        self.original_files = OriginalFiles(folder)
        self.database_uuid = str(uuid.uuid4())
        self.settings: dict[str, str] = {}
        self.ssl_port = ssl_port or _free_port()
        self.tcp_port = tcp_port or _free_port()
        self.wss_port = wss_port or _free_port()
        self.passwords = seed(self.store)
        self.communicator = self._communicator(certificate, key)
        self.adapter = self.communicator.createObjectAdapter("OMERO")
        self._factories: dict[str, list[ServiceFactory]] = {}
        self.router = Router(self)

    def _communicator(self, certificate: Path, key: Path) -> Any:
        data = Ice.InitializationData()
        data.properties = Ice.createProperties()
        endpoints = [
            f"ssl -p {self.ssl_port} -h 127.0.0.1",
            f"tcp -p {self.tcp_port} -h 127.0.0.1",
            f"wss -p {self.wss_port} -h 127.0.0.1 -r /omero-ws",
        ]
        for name, value in {
            **_PROPERTIES,
            "IceSSL.CertFile": str(certificate),
            "IceSSL.KeyFile": str(key),
            "OMERO.Endpoints": ":".join(endpoints),
        }.items():
            data.properties.setProperty(name, value)
        communicator = Ice.initialize(data)
        register_factories(communicator)
        return communicator

    def start(self) -> None:
        """Listen."""
        # Rows live long: looking through them again and again would be most of the work.
        gc.freeze()
        gc.set_threshold(100_000, 50, 100)
        self.adapter.add(self.router, Ice.Identity("router", "OMERO.Glacier2"))
        self.adapter.activate()

    def stop(self) -> None:
        """Stop listening and let all clients go."""
        self.communicator.destroy()

    def save(self, path: Path) -> None:
        """Write the database to a file."""
        with self.store.lock:
            kept = (self.database_uuid, self.passwords, self.settings, self.store.dump())
        path.write_bytes(pickle.dumps(kept))

    def load(self, path: Path) -> None:
        """Read the database that an earlier server wrote, before this one listens."""
        self.database_uuid, self.passwords, self.settings, rows = pickle.loads(path.read_bytes())
        self.store.restore(rows)

    def add_servant(self, made: Any, category: str, name: str = "") -> Any:
        """Put an Ice object on the server; return its proxy."""
        return self.adapter.add(made, Ice.Identity(name or str(uuid.uuid4()), category))

    def add_service(self, service: Service, category: str) -> Any:
        """Put a service on the server; return its proxy."""
        identity = Ice.Identity(f"{service.session.uuid}/{uuid.uuid4()}", category)
        proxy = self.adapter.add(servant(service), identity)
        service.identity = identity
        return proxy

    def join(self, session: Session, client: str) -> ServiceFactory:
        """Let a client use a session; return what it uses it by."""
        factory = ServiceFactory(self, session, client or str(uuid.uuid4()))
        identity = Ice.Identity(session.uuid, factory.client)
        if self.adapter.find(identity) is not None:
            self.adapter.remove(identity)
        factory.proxy = self.adapter.add(factory, identity)
        self._factories.setdefault(session.uuid, []).append(factory)
        session.references += 1
        session.touch()
        return factory

    def forget(self, factory: ServiceFactory) -> None:
        """Take what a client used a session by off the server."""
        factory.close_all()
        with contextlib.suppress(Ice.NotRegisteredException, Ice.ObjectAdapterDeactivatedException):
            self.adapter.remove(factory.proxy.ice_getIdentity())

    def _end(self, session: Session) -> None:
        """Take a session that has ended off the server."""
        for factory in self._factories.pop(session.uuid, []):
            self.forget(factory)
        tables.close_all(session)
