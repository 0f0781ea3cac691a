"""Certificates made for tests, and servers that show them."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Certificate", "TlsServer", "make_certificate", "tls_server"]

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key."""

    made: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return self.made.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def fingerprint(self) -> str:
        """As openssl prints it, with ``SHA256:`` in front."""
        return "SHA256:" + self.made.fingerprint(hashes.SHA256()).hex(":").upper()

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Return the files of the certificate and its key."""
        paths = folder / f"{self.made.serial_number}.pem", folder / f"{self.made.serial_number}.key"
        paths[0].write_text(self.pem)
        paths[1].write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return paths


def make_certificate(
    name: str,
    hosts: Sequence[str] = (),
    *,
    signer: Certificate | None = None,
    authority: bool = False,
    starts: timedelta = -DAY,
    ends: timedelta = 30 * DAY,
) -> Certificate:
    """Make a certificate, by itself unless somebody signs it.

    Parameters
    ----------
    name : str
        Its common name.
    hosts : sequence of str
        Names or addresses that it is made out to.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer.made.subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + starts)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
    )
    if hosts:
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    made = builder.sign(signer.key if signer else key, hashes.SHA256())
    return Certificate(made, key)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


class TlsServer:
    """Opens encrypted connections on the loopback, and says nothing.

    Attributes
    ----------
    port : int
    names : list of str or None
        The host that each client said it wanted.
    """

    def __init__(self, certificate: Certificate, folder: Path) -> None:
        self.names: list[str | None] = []
        self._folder = folder
        self.show(certificate)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def show(self, certificate: Certificate) -> None:
        """Show this certificate from now on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate.write(self._folder))
        context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        self._context = context

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            connection.settimeout(10)
            try:
                with self._context.wrap_socket(connection, server_side=True) as encrypted:
                    encrypted.recv(1)
            except OSError:
                connection.close()


@contextmanager
def tls_server(certificate: Certificate, folder: Path) -> Iterator[TlsServer]:
    """Run a server for a block."""
    server = TlsServer(certificate, folder)
    try:
        yield server
    finally:
        server.close()
