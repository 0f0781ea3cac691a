"""Which certificates of OMERO servers are trusted, and which are not."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from certificates import Certificate, TlsServer, make_certificate, tls_server
from parfocal.errors import ConfigurationError, ParfocalError, RemoteError, StorageError
from parfocal.models.omero_server import OmeroServer
from parfocal.omero.pins import pin, pin_path
from parfocal.omero.tls import Trust, _matches, check_server, fingerprint_of, trust_server

DAY = timedelta(days=1)
HOST = "omero.lab.org"

Serve = Callable[..., OmeroServer]


@pytest.fixture(scope="module")
def authority() -> Certificate:
    return make_certificate("An authority", authority=True)


@pytest.fixture(autouse=True)
def _world(authority: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All hosts are this machine, and one authority is known on it."""
    known, _ = authority.write(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(known))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    connect = socket.create_connection
    monkeypatch.setattr(
        socket, "create_connection", lambda to, **more: connect(("127.0.0.1", to[1]), **more)
    )


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Run a server with a certificate; return its address under the name `host`."""
    running: list[TlsServer] = []

    def start(certificate: Certificate, host: str = HOST) -> OmeroServer:
        server = TlsServer(certificate, tmp_path)
        running.append(server)
        return OmeroServer(host, server.port)

    yield start
    for server in running:
        server.close()


def refusal(server: OmeroServer) -> str:
    with pytest.raises(RemoteError) as caught:
        check_server(server)
    assert str(caught.value).startswith(caught.value.what)
    assert server.address in str(caught.value)
    return str(caught.value)


def test_a_known_authority_and_the_right_name_are_trusted(
    authority: Certificate, serve: Serve, tmp_path: Path
) -> None:
    made = make_certificate("x", [HOST], signer=authority)
    trust = check_server(serve(made))
    known = tmp_path / f"{authority.made.serial_number}.pem"
    assert trust == Trust("authority", made.fingerprint, known, named=True)


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::1"])
def test_an_address_may_be_the_name(authority: Certificate, serve: Serve, host: str) -> None:
    assert check_server(serve(make_certificate("x", [host], signer=authority), host)).named


def test_a_wildcard_is_understood_here_and_not_left_to_ice(
    authority: Certificate, serve: Serve
) -> None:
    made = make_certificate("x", ["*.lab.org"], signer=authority)
    trust = check_server(serve(made))
    assert (trust.how, trust.named) == ("authority", False)


@pytest.mark.parametrize(
    ("name", "host", "fits"),
    [
        ("a.org", "a.org", True),
        ("A.ORG", "a.org", True),
        ("*.a.org", "b.a.org", True),
        ("*.a.org", "a.org", False),
        ("*.a.org", "c.b.a.org", False),
        ("*.org", "a.org", False),
        ("*", "a", False),
        ("b*.a.org", "bb.a.org", False),
        ("a.org", "b.a.org", False),
    ],
)
def test_a_star_stands_for_one_whole_label(name: str, host: str, fits: bool) -> None:
    assert _matches(name, host) is fits


def test_the_handshake_names_no_host_as_ice_names_none(
    authority: Certificate, tmp_path: Path
) -> None:
    with tls_server(make_certificate("x", [HOST], signer=authority), tmp_path) as running:
        check_server(OmeroServer(HOST, running.port))
        assert running.names
        assert set(running.names) == {None}


def test_a_certificate_of_the_servers_own_making_is_told_and_can_be_pinned(serve: Serve) -> None:
    made = make_certificate("my server")
    server = serve(made)
    text = refusal(server)
    assert "of its own making" in text
    assert f"parfocal login {server.uri} --trust {made.fingerprint}" in text
    assert "commonName=my server" in text
    assert made.made.not_valid_after_utc.strftime("%b %d %H:%M:%S %Y GMT").replace(" 0", "  ") in (
        text.replace(" 0", "  ")
    )
    path = trust_server(server, made.fingerprint)
    assert check_server(server) == Trust("pin", made.fingerprint, path, named=False)
    path.unlink()
    assert "of its own making" in refusal(server)


def test_a_certificate_for_another_host_can_be_pinned(
    authority: Certificate, serve: Serve, tmp_path: Path
) -> None:
    made = make_certificate("x", ["elsewhere.org"], signer=authority)
    server = serve(made)
    text = refusal(server)
    assert "another host" in text
    assert "for elsewhere.org" in text
    trust_server(server, made.fingerprint)
    known = tmp_path / f"{authority.made.serial_number}.pem"
    assert check_server(server) == Trust("pin", made.fingerprint, known, named=False)


def test_the_common_name_is_no_name_of_a_host(authority: Certificate, serve: Serve) -> None:
    assert "another host" in refusal(serve(make_certificate(HOST, signer=authority)))


def test_of_an_unknown_authority_its_own_certificate_is_asked_for(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = make_certificate("An unknown authority", authority=True)
    made = make_certificate("x", [HOST], signer=unknown)
    server = serve(made)
    text = refusal(server)
    assert "SSL_CERT_FILE" in text
    assert "issued by commonName=An unknown authority" in text
    with pytest.raises(RemoteError, match="SSL_CERT_FILE"):
        trust_server(server, made.fingerprint)
    assert not pin_path(server).exists()
    monkeypatch.setenv("SSL_CERT_FILE", str(unknown.write(tmp_path)[0]))
    assert check_server(server).how == "authority"


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize(
    ("starts", "ends", "fault"),
    [(-2 * DAY, -DAY, "has expired"), (DAY, 2 * DAY, "is not valid yet")],
)
def test_out_of_its_time_a_certificate_is_refused_and_not_pinned(
    authority: Certificate,
    serve: Serve,
    starts: timedelta,
    ends: timedelta,
    fault: str,
    signed: bool,
) -> None:
    signer = authority if signed else None
    made = make_certificate("x", [HOST], signer=signer, starts=starts, ends=ends)
    server = serve(made)
    assert fault in refusal(server)
    with pytest.raises(RemoteError, match=fault):
        trust_server(server, made.fingerprint)
    pin(server, made.pem)
    assert fault in refusal(server)


def test_a_changed_certificate_of_a_pinned_server_is_refused_whoever_signed_it(
    authority: Certificate, tmp_path: Path
) -> None:
    first = make_certificate("x")
    second = make_certificate("x", [HOST], signer=authority)
    with tls_server(first, tmp_path) as running:
        server = OmeroServer(HOST, running.port)
        path = trust_server(server, first.fingerprint)
        running.show(second)
        text = refusal(server)
    assert "not the one that was pinned" in text
    assert f"expected {first.fingerprint}; found {second.fingerprint}" in text
    assert f"remove {path}" in text


def test_a_pin_is_of_one_port(serve: Serve) -> None:
    made = make_certificate("x")
    pinned, other = serve(made), serve(made)
    trust_server(pinned, made.fingerprint)
    assert check_server(pinned).how == "pin"
    assert "of its own making" in refusal(other)


@pytest.mark.parametrize("write", [str.lower, str.upper, lambda text: text[7:].replace(":", "")])
def test_a_fingerprint_may_be_written_in_any_way(serve: Serve, write: Callable[[str], str]) -> None:
    made = make_certificate("x")
    server = serve(made)
    trust_server(server, write(made.fingerprint))
    assert check_server(server).how == "pin"


def test_another_fingerprint_pins_nothing(serve: Serve) -> None:
    server = serve(make_certificate("x"))
    other = make_certificate("x").fingerprint
    with pytest.raises(RemoteError, match="another certificate"):
        trust_server(server, other)
    for mistaken in ("", "yes", other[:-1], other + "0", "unencrypted"):
        with pytest.raises(ConfigurationError, match="not the fingerprint"):
            trust_server(server, mistaken)
    assert not pin_path(server).exists()


def test_a_damaged_pin_is_told(serve: Serve) -> None:
    server = serve(make_certificate("x"))
    pin(server, "nonsense")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        check_server(server)


def test_what_does_not_encrypt_is_told_from_what_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        listening.settimeout(10)

        def talk() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"IceP is what it says\n")

        thread = threading.Thread(target=talk)
        thread.start()
        with pytest.raises(RemoteError, match="does not open a verifiable"):
            check_server(OmeroServer(HOST, port))
        thread.join(10)
    with pytest.raises(ConnectionRefusedError):
        check_server(OmeroServer(HOST, port))


@pytest.mark.parametrize("transport", ["tcp", "ws"])
def test_without_encryption_only_this_machine_is_spoken_to_unless_told(transport: str) -> None:
    for here in ("localhost", "127.0.0.1", "127.1.2.3", "::1"):
        assert check_server(OmeroServer(here, None, transport)) == Trust("unencrypted")
    server = OmeroServer(HOST, None, transport)
    with pytest.raises(ConfigurationError, match="not be encrypted") as caught:
        check_server(server)
    assert f"parfocal login {server.uri} --trust unencrypted" in str(caught.value)
    with pytest.raises(ConfigurationError, match="not be encrypted"):
        trust_server(server, "SHA256:" + "0" * 64)
    trust_server(server, "unencrypted")
    assert check_server(server) == Trust("unencrypted")


def test_a_pin_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="XDG_CONFIG_HOME") as caught:
        pin(OmeroServer(HOST), "x")
    assert isinstance(caught.value, ParfocalError)


def test_pins_lie_in_the_users_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    path = pin(OmeroServer("a.org", 4064), "x")
    assert path == tmp_path / ".config/parfocal/omero/a.org_4064.pem"
    assert path.read_text() == "x"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_the_fingerprint_is_of_the_certificate_alone() -> None:
    made = make_certificate("x")
    assert fingerprint_of(made.pem) == made.fingerprint
    # As Ice tells it: OpenSSL's trusted kind, which may have something behind the certificate.
    lines = made.pem.strip().splitlines()
    der = base64.b64decode("".join(lines[1:-1])) + b"\x30\x00"
    body = base64.encodebytes(der).decode()
    marked = "-----{} TRUSTED CERTIFICATE-----"
    assert fingerprint_of(f"{marked.format('BEGIN')}\n{body}{marked.format('END')}\n") == (
        made.fingerprint
    )
