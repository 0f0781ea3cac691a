"""Where an OMERO server is, and by which transport it is spoken to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

from parfocal.errors import ConfigurationError

__all__ = ["OmeroServer", "Transport", "parse_omero_server"]

Transport = Literal["ssl", "wss", "ws", "tcp"]

_PORTS: dict[Transport, int] = {"ssl": 4064, "wss": 443, "ws": 80, "tcp": 4063}
_EXPECTED = "omero://host[:port], or omero+wss://host[:port]/path; also +ws and +tcp"
_FORM = re.compile(
    r"""(?:(?:omero(?:\+(?P<plus>ssl|wss|ws|tcp))?|(?P<bare>ssl|wss|ws|tcp))://)?
    (?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?|\[[0-9A-Fa-f:.]+\])
    (?::(?P<port>[0-9]{1,5}))?
    (?P<path>(?:/[A-Za-z0-9._~-]+)*)/?""",
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True)
class OmeroServer:
    """An OMERO server.

    Attributes
    ----------
    host : str
        Name or address, in small letters; one of IPv6 without brackets.
    port : int, optional
        None is the usual one of the transport, and replaces it where that is given.
    transport : {'ssl', 'wss', 'ws', 'tcp'}
        ``ssl`` and ``wss`` are encrypted, ``tcp`` and ``ws`` are not.
    path : str
        Of a web socket alone, such as ``/omero-ws``.
    """

    host: str
    port: int | None = None
    transport: Transport = "ssl"
    path: str = ""

    def __post_init__(self) -> None:
        if self.port == _PORTS[self.transport]:
            object.__setattr__(self, "port", None)  # so that equal servers are equal

    @property
    def actual_port(self) -> int:
        """The port that is connected to."""
        return self.port or _PORTS[self.transport]

    @property
    def address(self) -> str:
        """Host and port, as certificates are pinned and messages speak of them."""
        return f"{self._bracketed}:{self.actual_port}"

    @property
    def encrypted(self) -> bool:
        """Whether others can read what goes over the network."""
        return self.transport in ("ssl", "wss")

    @property
    def uri(self) -> str:
        """The server as a URI, the port only where it is not the usual one."""
        scheme = "omero" if self.transport == "ssl" else f"omero+{self.transport}"
        port = f":{self.port}" if self.port else ""
        return f"{scheme}://{self._bracketed}{port}{self.path}"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def parse_omero_server(text: str) -> OmeroServer:
    """Return the server that a URI or ``host[:port]`` names.

    Parameters
    ----------
    text : str
        ``omero://host[:port]``, ``omero+wss://host[:port]/path``, ``wss://host``, or ``host``:
        the server alone, without an object on it.

    Raises
    ------
    ConfigurationError
        If it is not of that form. The message never repeats a user or password.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        what = "This does not name an OMERO server"
        if "@" in text:
            found, remedy = "a user or password", "Secrets do not belong into addresses."
            raise ConfigurationError(what, expected=_EXPECTED, found=found, remedy=remedy)
        raise ConfigurationError(what, expected=_EXPECTED, found=repr(text.partition("?")[0]))
    transport = cast("Transport", (form["plus"] or form["bare"] or "ssl").lower())
    port = int(form["port"]) if form["port"] else _PORTS[transport]
    if not 0 < port < 1 << 16:
        what = "There is no such port"
        raise ConfigurationError(what, where=text, expected="1 to 65535", found=port)
    if form["path"] and transport in ("ssl", "tcp"):
        what = "The address of an OMERO server has a path, which web sockets alone have"
        raise ConfigurationError(what, where=text, expected=_EXPECTED, found=form["path"])
    host = form["host"].strip("[]").rstrip(".").lower()
    return OmeroServer(host, port, transport, form["path"])
