"""One session on an OMERO server: opened over a checked connection, kept alive, closed.

A session that was opened with a password is ours, and ended when it is closed. One that was joined
by its key belongs to somebody else, and is left as it is.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from parfocal.core.process_end import before_end
from parfocal.errors import ConfigurationError, RemoteError
from parfocal.models.omero_server import OmeroServer
from parfocal.omero.credentials import Credentials
from parfocal.omero.faults import what_omero_raises
from parfocal.omero.loading import load_omero
from parfocal.omero.tls import Trust, check_server, fingerprint_of

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

__all__ = ["OmeroSession", "open_session"]

logger = logging.getLogger(__name__)

KEEP_ALIVE_S = 60.0
CALL_TIMEOUT_S = 900
"""How long one call may take; the server works on large saves and queries for minutes."""

_MISSED = 3
"""After how many signs of life that are not answered a connection is dead: four minutes."""

_CLOSE_TIMEOUT_S = 5
_CONNECT_TIMEOUT_S = 20


class OmeroSession:
    """A live session; `open_session` makes it.

    Attributes
    ----------
    gateway : BlitzGateway
        omero-py's view of it; reads across all groups unless told otherwise.
    trust : Trust
        Why the server is trusted.
    key : str
        Of the session: a secret.
    user_id, user_name, group_id, group_name
        Whose it is, and the group that new objects go to unless told otherwise.
    """

    def __init__(self, client: Any, gateway: BlitzGateway, trust: Trust, *, owned: bool) -> None:
        context = client.getSession().getAdminService().getEventContext()
        self.gateway = gateway
        self.trust = trust
        self.owned = owned
        self.key: str = client.getSessionId()
        self.user_id: int = context.userId
        self.user_name: str = context.userName
        self.group_id: int = context.groupId
        self.group_name: str = context.groupName
        self._client = client
        self._keep_alive = _KeepAlive(client)
        self._keep_alive.start()
        if not _LIVE:
            before_end(_close_all)
        _LIVE.add(self)

    def use_group(self, group_id: int) -> None:
        """Let all calls from now on be made in one group; -1 stands for all of the user's."""
        self._client.getImplicitContext().put("omero.group", str(group_id))
        self.gateway.SERVICE_OPTS.setOmeroGroup(group_id)

    def ping(self) -> None:
        """Make the cheapest call there is; the session's time to idle starts anew."""
        self._client.getSession().keepAlive(None)

    def server_version(self) -> str:
        """Return the version that the server tells."""
        return str(self._client.getSession().getConfigService().getVersion())

    def time_to_idle_s(self) -> float:
        """Return how long the server keeps the session when nobody uses it."""
        service = self._client.getSession().getSessionService()
        return float(service.getSession(self.key).timeToIdle.val) / 1000

    def leave_open(self) -> None:
        """Let the session go on when it is closed here, for others to join by its key."""
        self._client.getSession().detachOnDestroy()
        self.owned = False

    def close(self) -> None:
        """End the session if it is ours, else leave it; errors of the server do not matter."""
        self._keep_alive.stop()
        _LIVE.discard(self)
        with suppress(*what_omero_raises()):
            self._client.getSession().ice_invocationTimeout(1000 * _CLOSE_TIMEOUT_S).ice_ping()
            if self.owned:
                self._client.destroySession(self.key)
            self._client.closeSession()
        _drop(self._client)

    def abandon(self) -> None:
        """Drop the connection, which is lost, without a word to the server."""
        self._keep_alive.stop()
        _LIVE.discard(self)
        _drop(self._client)

    def leave_to_parent(self) -> None:
        """Forget in a forked process what belongs to the process that forked it."""
        self._keep_alive.stop()
        # Else omero-py would end the parent's session when it is cleared away here.
        self._client._BaseClient__ic = None  # noqa: SLF001


def open_session(server: OmeroServer, credentials: Credentials) -> OmeroSession:
    """Check the server's certificate, connect, and log in.

    Raises
    ------
    InputError
        If omero-py is not installed.
    ConfigurationError
        If the login is refused, or the connection would not be encrypted.
    RemoteError
        If the certificate is not to be trusted.
    OSError, Ice.Exception, omero.ClientError
        If the server does not answer, or breaks off.
    """
    omero = load_omero()
    trust = check_server(server)
    client = _client(omero, _initialization(server, trust))
    try:
        _check_peer(client, server, trust)
        _log_in(client, server, credentials)
        gateway = _gateway(client)
        session = OmeroSession(client, gateway, trust, owned=not credentials.joins)
        session.use_group(-1)
    except BaseException:
        _drop(client)
        raise
    return session


def _client(omero: Any, properties: Any) -> Any:
    """Return a client of omero-py, without the handler that it gives the root logger.

    With that, all messages of a program that has its own handlers elsewhere are told twice.
    """
    before = list(logging.root.handlers)
    client = omero.client(id=properties)
    for handler in set(logging.root.handlers) - set(before):
        logging.root.removeHandler(handler)
    return client


def _initialization(server: OmeroServer, trust: Trust) -> Any:
    """Return the properties of an Ice communicator that verifies its peer.

    They are made from nothing, so that no file named by ``ICE_CONFIG`` changes them.
    Source: https://doc.zeroc.com/ice/3.6/property-reference
    """
    import Ice

    data = Ice.InitializationData()
    data.properties = Ice.createProperties()
    path = f' -r "{server.path}"' if server.path else ""
    endpoint = f'{server.transport} -h "{server.host}" -p {server.actual_port}{path}'
    settings = {
        "omero.host": server.host,
        "omero.port": str(server.actual_port),
        "Ice.Default.Router": f"OMERO.Glacier2/router:{endpoint}",
        "Ice.Default.InvocationTimeout": str(1000 * CALL_TIMEOUT_S),
        "Ice.Override.ConnectTimeout": str(1000 * _CONNECT_TIMEOUT_S),
        "Ice.Override.CloseTimeout": str(1000 * _CLOSE_TIMEOUT_S),
    }
    if server.encrypted:
        settings["IceSSL.VerifyPeer"] = "2"
        settings["IceSSL.CheckCertName"] = "1" if trust.named else "0"
        if trust.authorities:
            settings["IceSSL.CAs"] = str(trust.authorities)
    for name, value in settings.items():
        data.properties.setProperty(name, value)
    return data


def _check_peer(client: Any, server: OmeroServer, trust: Trust) -> None:
    """Refuse to log in over a connection whose certificate is not the one that was checked."""
    router = client.getRouter(client.getCommunicator())
    router.ice_ping()
    if not server.encrypted:
        return
    peer = router.ice_getCachedConnection().getInfo()
    found = fingerprint_of(peer.certs[0]) if peer.certs else "none"
    if found != trust.fingerprint:
        what = "The OMERO server showed two different certificates"
        remedy = "Run again; if it happens again, tell whoever runs the server."
        raise RemoteError(
            what, where=server.address, expected=trust.fingerprint, found=found, remedy=remedy
        )


def _log_in(client: Any, server: OmeroServer, credentials: Credentials) -> None:
    import Glacier2
    import omero

    client.setAgent("parfocal")
    refused = (
        Glacier2.PermissionDeniedException,
        omero.AuthenticationException,
        omero.ExpiredCredentialException,
    )
    try:
        factory = client.createSession(credentials.user or credentials.secret, credentials.secret)
    except refused:
        # Without what the server says: of a session, that would be its key.
        raise _refusal(server, credentials) from None
    if credentials.joins:
        factory.detachOnDestroy()


def _refusal(server: OmeroServer, credentials: Credentials) -> ConfigurationError:
    again = f"parfocal login {server.uri}"
    if credentials.joins:
        what = "The OMERO session has expired, or is of another server"
        remedy = f"Log in again: {again}"
    else:
        what = "The OMERO server does not take this user and password"
        remedy = f"Check both, and try them: {again}"
    return ConfigurationError(what, where=server.uri, found=credentials.origin, remedy=remedy)


def _gateway(client: Any) -> BlitzGateway:
    """Return a gateway that never opens another connection, which would not verify its peer."""
    import Ice
    from omero.gateway import BlitzGateway

    class Gateway(BlitzGateway):  # type: ignore[misc]
        def connect(self, sUuid: str | None = None) -> bool:  # noqa: ARG002, N803
            raise Ice.ConnectionLostException

    return Gateway(client_obj=client)


def _drop(client: Any) -> None:
    """Close the connection of `client` without asking the server."""
    with suppress(*what_omero_raises()):
        client.getCommunicator().destroy()
    with suppress(*what_omero_raises()):
        client.closeSession()


class _KeepAlive(threading.Thread):
    """Tells the server regularly that the session is still used, and finds out when it is dead.

    A call that waits for an answer would else wait in vain, for as long as a call may take.
    """

    def __init__(self, client: Any) -> None:
        super().__init__(name="omero-keep-alive", daemon=True)
        self._client = weakref.ref(client)
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> None:
        missed = 0
        while missed < _MISSED and not self._stopped.wait(KEEP_ALIVE_S):
            client = self._client()
            factory = client.getSession(blocking=False) if client else None
            if factory is None:
                return
            missed = 0 if self._is_answered(factory) else missed + 1
        client = self._client()
        if client and not self._stopped.is_set():
            logger.warning("The OMERO server has not answered for long; the connection is dropped")
            with suppress(*what_omero_raises()):
                client.getCommunicator().destroy()  # so that calls that wait fail, and are repeated

    def _is_answered(self, factory: Any) -> bool:
        """Return whether the server says anything at all."""
        import Ice

        try:
            factory.ice_invocationTimeout(int(1000 * KEEP_ALIVE_S / 3)).keepAlive(None)
        except Ice.TimeoutException:
            return False
        except what_omero_raises() as error:
            # The next call finds out, and opens another session.
            logger.debug("keep-alive failed: %s", type(error).__name__)
        return True


_LIVE: set[OmeroSession] = set()
_INHERITED: list[OmeroSession] = []


def _close_all() -> None:
    for session in list(_LIVE):
        session.close()


def _after_fork() -> None:
    for session in _LIVE:
        session.leave_to_parent()
    # Kept, since to clear them away would touch the connections of the parent.
    _INHERITED.extend(_LIVE)
    _LIVE.clear()


os.register_at_fork(after_in_child=_after_fork)
