"""Whether the certificate of a server is to be trusted, before any password goes there.

The certificate is asked for as Ice asks, without a server name (Ice 3.6 sends none), and checked
here. Ice then verifies it again, against the file of authorities that is named to it, and who opens
the session compares the certificate of that very connection with the one that was checked.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from parfocal.errors import ConfigurationError, RemoteError
from parfocal.models.omero_server import OmeroServer
from parfocal.omero.pins import pin, pin_path

__all__ = ["Trust", "check_server", "fingerprint_of", "trust_server"]

TIMEOUT_S = 20.0

_EXPIRED = 10  # of X509_V_ERR_..., as ssl.SSLCertVerificationError tells
_NOT_YET_VALID = 9
_UNENCRYPTED = "unencrypted"


@dataclass(frozen=True)
class Trust:
    """Why a server is trusted.

    Attributes
    ----------
    how : {'authority', 'pin', 'unencrypted'}
        An authority of this machine signed its certificate, the user pinned it, or there is none.
    fingerprint : str, optional
        Of its certificate, ``SHA256:...``.
    authorities : Path, optional
        File or folder of the certificates that Ice verifies it against.
    named : bool
        Whether Ice can check its name too.
    """

    how: Literal["authority", "pin", "unencrypted"]
    fingerprint: str | None = None
    authorities: Path | None = None
    named: bool = False


@dataclass(frozen=True)
class _Shown:
    """The certificate that a server shows."""

    server: OmeroServer
    pem: str

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.pem)

    @cached_property
    def from_authority(self) -> bool:
        """Whether an authority of this machine signed it, whatever its name."""
        return _verifies(self.server, ssl.create_default_context())

    @cached_property
    def self_signed(self) -> bool:
        """Whether it is an authority of its own, and so can be pinned."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.pem)
        return _verifies(self.server, context)

    @cached_property
    def content(self) -> dict[str, Any]:
        """What it says, or ``{"fault": ...}`` where it is not valid at this time."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.pem)
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        try:
            with _handshake(self.server, context) as tls:
                return dict(tls.getpeercert() or {})
        except ssl.SSLCertVerificationError as error:
            if error.verify_code not in (_EXPIRED, _NOT_YET_VALID):
                return {}
            early = error.verify_code == _NOT_YET_VALID
            return {"fault": "is not valid yet" if early else "has expired"}

    @property
    def names_host(self) -> bool:
        """Whether it is made out to the server's host."""
        return any(_matches(name, self.server.host) for name in _names(self.content))

    @property
    def names_host_exactly(self) -> bool:
        """Whether it is so without a wildcard, which Ice would not understand."""
        return self.server.host in (name.lower() for name in _names(self.content))


def fingerprint_of(pem: str) -> str:
    """Return the fingerprint of a certificate as ``SHA256:`` and pairs of hex digits.

    Parameters
    ----------
    pem : str
        A certificate as PEM, of the plain kind or, as Ice tells it, OpenSSL's trusted kind.
    """
    plain = pem.replace("TRUSTED CERTIFICATE", "CERTIFICATE")
    digest = hashlib.sha256(_certificate_alone(ssl.PEM_cert_to_DER_cert(plain))).hexdigest()
    return "SHA256:" + ":".join(re.findall("..", digest.upper()))


def _certificate_alone(der: bytes) -> bytes:
    """Return a certificate without what OpenSSL's trusted kind has behind it.

    Source: DER's long form of a length, ITU-T X.690, 8.1.3.5; no certificate has the short one.
    """
    size = 2 + (der[1] & 0x7F)
    return der[: size + int.from_bytes(der[2:size], "big")]


def check_server(server: OmeroServer) -> Trust:
    """Find out whether `server` is to be trusted, without logging in.

    Raises
    ------
    RemoteError
        If its certificate is not known, is not valid, or is another than the pinned one.
    ConfigurationError
        If it encrypts nothing, is another machine, and was never said to be trusted.
    OSError
        If it does not answer.
    """
    path = pin_path(server)
    if not server.encrypted:
        if not _is_this_machine(server.host) and not path.exists():
            raise _refuse_unencrypted(server)
        return Trust("unencrypted")
    shown = _show(server)
    if path.exists():
        return _check_pinned(shown, path)
    if not shown.from_authority or not shown.names_host:
        raise _unknown(shown)
    return Trust("authority", shown.fingerprint, _authorities(), shown.names_host_exactly)


def trust_server(server: OmeroServer, given: str) -> Path:
    """Pin the certificate of `server`, provided that it has the fingerprint `given`.

    Parameters
    ----------
    server : OmeroServer
        The server.
    given : str
        ``SHA256:`` and 64 hex digits, with colons or without; for a server that encrypts
        nothing, the word ``unencrypted``.

    Returns
    -------
    Path
        The file that says so.

    Raises
    ------
    ConfigurationError
        If `given` is not of that form.
    RemoteError
        If the server shows another certificate, or one that Ice could not verify.
    OSError
        If it does not answer.
    """
    if not server.encrypted:
        if given.lower() != _UNENCRYPTED:
            raise _refuse_unencrypted(server)
        return pin(server)
    digits = given.lower().removeprefix("sha256:").replace(":", "")
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        what = "This is not the fingerprint of a certificate"
        raise ConfigurationError(what, expected="SHA256: and 64 hex digits", found=repr(given))
    shown = _show(server)
    if shown.fingerprint.replace(":", "").lower() != f"sha256{digits}":
        what = "The OMERO server shows another certificate, which is not trusted"
        raise RemoteError(what, where=server.address, expected=given, found=_told(shown))
    _refuse_invalid(shown)
    if not shown.self_signed and not shown.from_authority:
        raise _refuse_issuer(shown)
    return pin(server, shown.pem)


def _check_pinned(shown: _Shown, path: Path) -> Trust:
    server = shown.server
    try:
        pinned = fingerprint_of(path.read_text(encoding="ascii"))
    except ValueError as error:
        what = "The pinned certificate of an OMERO server cannot be read"
        raise ConfigurationError(
            what, where=path, found=error, remedy="Remove the file."
        ) from error
    if shown.fingerprint != pinned:
        what = "The certificate of the OMERO server is not the one that was pinned"
        remedy = (
            "Somebody may be listening in between. Ask whoever runs the server whether it has a "
            f"new certificate; if so, remove {path}, and pin the new one if need be: "
            f"parfocal login {server.uri} --trust {shown.fingerprint}"
        )
        raise RemoteError(
            what, where=server.address, expected=pinned, found=_told(shown), remedy=remedy
        )
    _refuse_invalid(shown)
    if shown.self_signed:
        return Trust("pin", pinned, path)
    if shown.from_authority:
        return Trust("pin", pinned, _authorities())
    raise _refuse_issuer(shown)


def _refuse_invalid(shown: _Shown) -> None:
    if fault := shown.content.get("fault"):
        what = f"The certificate of the OMERO server {fault}"
        remedy = "Tell whoever runs the server; check the clock of this machine."
        where = shown.server.address
        raise RemoteError(what, where=where, found=shown.fingerprint, remedy=remedy)


def _unknown(shown: _Shown) -> RemoteError:
    _refuse_invalid(shown)
    server = shown.server
    if shown.from_authority:
        what = "The certificate of the OMERO server is made out to another host"
    elif shown.self_signed:
        what = "The OMERO server has a certificate of its own making, which is not known here"
    else:
        return _refuse_issuer(shown)
    remedy = (
        "Compare the fingerprint with what whoever runs the server tells you; if it is the same, "
        f"pin it: parfocal login {server.uri} --trust {shown.fingerprint}"
    )
    return RemoteError(what, where=server.address, found=_told(shown), remedy=remedy)


def _refuse_issuer(shown: _Shown) -> RemoteError:
    what = "The certificate of the OMERO server is signed by an authority that is not known here"
    remedy = (
        "Get the certificate of that authority from whoever runs the server, and name its file "
        "(PEM) by the environment variable SSL_CERT_FILE."
    )
    return RemoteError(what, where=shown.server.address, found=_told(shown), remedy=remedy)


def _refuse_unencrypted(server: OmeroServer) -> ConfigurationError:
    what = "The connection to the OMERO server would not be encrypted, so that others can read it"
    remedy = (
        "Use omero:// or omero+wss://, or where the network is safe, say so: "
        f"parfocal login {server.uri} --trust {_UNENCRYPTED}"
    )
    return ConfigurationError(what, where=server.uri, remedy=remedy)


def _told(shown: _Shown) -> str:
    """Return what a certificate says, in one line."""
    content = shown.content
    if not content:
        return shown.fingerprint
    parts = [shown.fingerprint]
    parts.append(f"for {', '.join(_names(content)) or _name(content.get('subject', ()))}")
    parts.append(f"issued by {_name(content.get('issuer', ()))}")
    parts.append(f"valid from {content['notBefore']} to {content['notAfter']}")
    return ", ".join(parts)


def _name(parts: Any) -> str:
    return ", ".join(f"{key}={value}" for part in parts for key, value in part) or "nobody"


def _names(content: dict[str, Any]) -> Iterator[str]:
    """Yield the hosts that a certificate is made out to."""
    for kind, name in content.get("subjectAltName", ()):
        if kind == "DNS":
            yield name
        elif kind == "IP Address":
            yield str(ipaddress.ip_address(name.strip()))


def _matches(name: str, host: str) -> bool:
    """Return whether the `name` of a certificate stands for `host`; a star is one whole label."""
    if name.startswith("*."):
        return host.partition(".")[2] == name[2:].lower() and "." in name[2:]
    return name.lower() == host


def _show(server: OmeroServer) -> _Shown:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with _handshake(server, context) as tls:
            der = tls.getpeercert(binary_form=True)
    except ssl.SSLError as error:
        what = "The OMERO server does not open a verifiable encrypted connection"
        remedy = (
            "Check the port. A server without a certificate cannot be told from a false one: ask "
            "whoever runs it to make one ('omero certificates')."
        )
        found = error.reason or type(error).__name__
        raise RemoteError(what, where=server.address, found=found, remedy=remedy) from error
    assert der is not None, "a TLS server that is no anonymous one has a certificate"
    return _Shown(server, ssl.DER_cert_to_PEM_cert(der))


def _verifies(server: OmeroServer, context: ssl.SSLContext) -> bool:
    try:
        with _handshake(server, context):
            return True
    except ssl.SSLCertVerificationError:
        return False


def _handshake(server: OmeroServer, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Return a connection that is encrypted by `context`, opened as Ice does: without a name."""
    context.check_hostname = False
    raw = socket.create_connection((server.host, server.actual_port), timeout=TIMEOUT_S)
    try:
        return context.wrap_socket(raw)
    except OSError:
        raw.close()
        raise


def _authorities() -> Path | None:
    """Return the file or folder of the authorities that this machine trusts, for Ice."""
    paths = ssl.get_default_verify_paths()
    found = paths.cafile or paths.capath
    return Path(found) if found else None


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
