"""Addresses of OMERO servers."""

from __future__ import annotations

import pytest

from parfocal.errors import ConfigurationError
from parfocal.models.omero_server import OmeroServer, parse_omero_server


@pytest.mark.parametrize(
    ("text", "server", "uri", "address"),
    [
        ("omero://a.org", OmeroServer("a.org"), "omero://a.org", "a.org:4064"),
        ("A.ORG.", OmeroServer("a.org"), "omero://a.org", "a.org:4064"),
        ("ssl://a.org:4064/", OmeroServer("a.org"), "omero://a.org", "a.org:4064"),
        ("omero://a.org:1", OmeroServer("a.org", 1), "omero://a.org:1", "a.org:1"),
        (
            "omero+wss://a.org/omero-ws",
            OmeroServer("a.org", None, "wss", "/omero-ws"),
            "omero+wss://a.org/omero-ws",
            "a.org:443",
        ),
        ("ws://a.org", OmeroServer("a.org", None, "ws"), "omero+ws://a.org", "a.org:80"),
        ("omero+tcp://h", OmeroServer("h", None, "tcp"), "omero+tcp://h", "h:4063"),
        ("omero://[::1]:9", OmeroServer("::1", 9), "omero://[::1]:9", "[::1]:9"),
    ],
)
def test_a_server_is_read_and_told(text: str, server: OmeroServer, uri: str, address: str) -> None:
    read = parse_omero_server(text)
    assert read == server
    assert (read.uri, read.address) == (uri, address)
    assert parse_omero_server(read.uri) == read


@pytest.mark.parametrize(
    "text",
    [
        "",
        "omero://",
        "http://a.org",
        "omero://a.org:0",
        "omero://a.org:65536",
        "omero://a b",
        "omero://a.org/image/1",
        "omero://a.org?x=1",
        "omero+udp://a",
        "-p 80 -h a",
        "a.org\n",
    ],
)
def test_what_names_no_server_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_omero_server(text)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_omero_server("omero://alice:hunter2@a.org")
    assert "hunter2" not in str(caught.value)
    assert "alice" not in str(caught.value)


def test_only_ssl_and_wss_are_encrypted() -> None:
    encrypted = {t for t in ("ssl", "wss", "ws", "tcp") if OmeroServer("a", None, t).encrypted}
    assert encrypted == {"ssl", "wss"}
