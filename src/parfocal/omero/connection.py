"""A connection to an OMERO server that outlives lost sessions and short outages."""

from __future__ import annotations

import logging
import math
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from parfocal.core.closing import Closing
from parfocal.errors import ConfigurationError
from parfocal.models.omero_server import OmeroServer
from parfocal.omero.credentials import Credentials, find_credentials
from parfocal.omero.faults import Fault, fault_of, what_omero_raises
from parfocal.omero.loading import load_omero
from parfocal.omero.session import OmeroSession, open_session

if TYPE_CHECKING:
    from omero.gateway import BlitzGateway

__all__ = ["PATIENCE_VARIABLE", "Connection", "borrow", "connect", "give_back"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
_Key = tuple[int, OmeroServer, Credentials | None]

PATIENCE_VARIABLE = "PARFOCAL_OMERO_PATIENCE_S"

_PATIENCE_S = 300.0
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 20.0
_ONCE_MORE_S = 15.0
"""The patience with a server that was given up, so that images do not wait one after the other."""

_GIVEN_UP: set[OmeroServer] = set()
"""The servers that were waited for in vain, and have not answered since."""

_STALE_S = 30.0


class Connection(Closing):
    """A connection to an OMERO server.

    It is opened when it is first used. One thread uses it at a time; others wait. A process that
    is forked from this one has a connection of its own.

    Parameters
    ----------
    server : OmeroServer
        The server.
    credentials : Credentials, optional
        By default what `find_credentials` finds, each time that a session is opened.
    patience_s : float, optional
        How long to try again when the server does not answer; by default what
        ``PARFOCAL_OMERO_PATIENCE_S`` says, or five minutes.

    Raises
    ------
    InputError
        If omero-py is not installed.
    ConfigurationError
        If ``PARFOCAL_OMERO_PATIENCE_S`` is not a number.
    """

    def __init__(
        self,
        server: OmeroServer,
        credentials: Credentials | None = None,
        *,
        patience_s: float | None = None,
    ) -> None:
        load_omero()
        self.server = server
        self.credentials = credentials
        self._patience_s = _patience_s() if patience_s is None else patience_s
        self._lock = threading.RLock()
        self._session: OmeroSession | None = None
        self._group_id = -1
        self._pid = os.getpid()
        self._used_at = 0.0

    @property
    def session(self) -> OmeroSession:
        """The live session, which is opened if there is none; it changes after a loss."""
        return self._try(lambda session: session)

    @property
    def gateway(self) -> BlitzGateway:
        """omero-py's view of the live session; for one use, since it changes after a loss."""
        return self.session.gateway

    @property
    def user_id(self) -> int:
        """The id of the user who is logged in."""
        return self.session.user_id

    @property
    def user_name(self) -> str:
        """The login name of that user."""
        return self.session.user_name

    @property
    def group_id(self) -> int:
        """The id of the group that new objects go to, unless `in_group` says otherwise."""
        return self.session.group_id

    def call(self, work: Callable[[BlitzGateway], T]) -> T:
        """Return what `work` does with a live gateway; do it again after a loss.

        Parameters
        ----------
        work : callable
            It must be safe to repeat, and make what it needs of the gateway anew each time:
            services of a lost session are gone.

        Raises
        ------
        RemoteError
            If the server does not answer or recover for as long as the patience lasts.
        InputError
            If the login, a permission, or an object is missing, or the data is not valid.
        """
        return self._try(lambda session: work(session.gateway))

    def once(self, work: Callable[[BlitzGateway], T]) -> T:
        """Return what `work` does with a live gateway, without repeating it: for writes.

        Before it begins, a lost connection is opened again. After an error that came from the
        connection, nobody knows whether the server has done the work.

        Raises
        ------
        RemoteError
            If the connection is lost, or the server fails.
        InputError
            As `call` raises it.
        """
        with self._lock:
            session = self._try(lambda session: session if self._is_fresh else _pinged(session))
            try:
                result = work(session.gateway)
            except what_omero_raises() as error:
                fault = self._fault(error)
                raise fault.error from None
            self._used_at = time.monotonic()
            return result

    @contextmanager
    def in_group(self, group_id: int) -> Iterator[None]:
        """Make all calls of the block in one group, such as that of an object that is written to.

        Outside of such a block, all groups that the user is in are read.

        Parameters
        ----------
        group_id : int
            The group; -1 stands for all.
        """
        with self._lock:
            before, self._group_id = self._group_id, group_id
            if self._session:
                self._session.use_group(group_id)
            try:
                yield
            finally:
                self._group_id = before
                if self._session:
                    self._session.use_group(before)

    def close(self) -> None:
        """Close the connection; a session that was not opened by it goes on."""
        with self._lock:
            session, self._session = self._session, None
            if session and self._pid == os.getpid():
                session.close()

    def _try(self, work: Callable[[OmeroSession], T]) -> T:
        with self._lock:
            errors_of_opening: tuple[type[Exception], ...] = (*what_omero_raises(), OSError)
            started: float | None = None
            attempt = 0
            while True:
                try:
                    session = self._opened()
                except errors_of_opening as error:
                    fault = self._fault(error)
                else:
                    try:
                        result = work(session)
                    except what_omero_raises() as error:
                        fault = self._fault(error)
                    else:
                        self._used_at = time.monotonic()
                        _GIVEN_UP.discard(self.server)
                        return result
                attempt += 1
                started = started or time.monotonic()
                self._wait_or_raise(fault, attempt, started)

    def _opened(self) -> OmeroSession:
        """Return the live session of this process, or open one.

        Raises
        ------
        OSError, Ice.Exception, omero.ClientError
            If that fails for a reason that may pass.
        """
        if self._pid != os.getpid():
            self._pid, self._session = os.getpid(), None
        if self._session is None:
            credentials = self.credentials or find_credentials(self.server)
            self._session = open_session(self.server, credentials)
            self._session.use_group(self._group_id)
        return self._session

    @property
    def _is_fresh(self) -> bool:
        return time.monotonic() - self._used_at < _STALE_S

    def _fault(self, error: Exception) -> Fault:
        fault = fault_of(error, self.server.uri)
        if fault.lost and self._session:
            session, self._session = self._session, None
            session.abandon()
        return fault

    def _wait_or_raise(self, fault: Fault, attempt: int, started: float) -> None:
        """Wait before another attempt, or raise what there is to say."""
        longest = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(attempt - 1, 10))
        wait_s = max(longest * random.uniform(0.5, 1.0), fault.wait_s)
        most_s = _ONCE_MORE_S if self.server in _GIVEN_UP else self._patience_s
        left_s = min(most_s, self._patience_s) - (time.monotonic() - started)
        if fault.again and left_s <= 0:
            _GIVEN_UP.add(self.server)
        if not fault.again or left_s <= 0:
            raise fault.error
        wait_s = min(wait_s, left_s)
        told = f"{fault.error.what}: {fault.error.where}, {fault.error.found}"
        logger.warning("%s; trying again in %.1f s, for %.0f s more", told, wait_s, left_s)
        time.sleep(wait_s)


_SHARED: dict[_Key, Connection] = {}
_SPARE: dict[_Key, list[Connection]] = {}


def connect(server: OmeroServer, credentials: Credentials | None = None) -> Connection:
    """Return the connection of this process to `server`, which is kept until the process ends.

    So that many images in one process need one login. Do not close it.

    Parameters
    ----------
    server, credentials
        As for `Connection`.

    Raises
    ------
    InputError
        If omero-py is not installed.
    """
    key = (os.getpid(), server, credentials)
    if key not in _SHARED:
        _SHARED[key] = Connection(server, credentials)
    return _SHARED[key]


def borrow(server: OmeroServer, credentials: Credentials | None = None) -> Connection:
    """Return a connection that nobody else of this process uses until `give_back`.

    So that the images that a process reads after each other need no logins of their own.

    Parameters
    ----------
    server, credentials
        As for `Connection`.

    Raises
    ------
    InputError
        If omero-py is not installed.
    """
    try:
        return _SPARE.setdefault((os.getpid(), server, credentials), []).pop()
    except IndexError:
        return Connection(server, credentials)


def give_back(connection: Connection) -> None:
    """Keep a connection that was borrowed for who borrows one next."""
    key = (os.getpid(), connection.server, connection.credentials)
    _SPARE.setdefault(key, []).append(connection)


def _pinged(session: OmeroSession) -> OmeroSession:
    session.ping()
    return session


def _patience_s() -> float:
    text = os.environ.get(PATIENCE_VARIABLE, str(_PATIENCE_S))
    with suppress(ValueError):
        if 0 <= float(text) < math.inf:
            return float(text)
    what = "This is not a number of seconds"
    raise ConfigurationError(what, where=PATIENCE_VARIABLE, found=repr(text))
