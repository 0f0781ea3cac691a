"""A web server that is away for a minute in the middle of a file, over https."""

from __future__ import annotations

import os
import ssl
import threading
import time
from pathlib import Path

import pytest

from certificates import make_certificate
from parfocal.models.source import HttpSource
from parfocal.remote.fetch import Fetched, fetch
from webserver import serve

AWAY_S = 60
PATH = "/image.tif"


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """What a server on this machine shows, of an authority that is trusted."""
    authority = make_certificate("authority of the test", authority=True)
    shown = make_certificate("localhost", ["127.0.0.1"], signer=authority)
    (tmp_path / "authority.pem").write_text(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*shown.write(tmp_path))
    return context


def test_a_server_that_is_away_for_a_minute_in_mid_file_is_waited_for(
    tmp_path: Path, tls: ssl.SSLContext
) -> None:
    root, folder = tmp_path / "site", tmp_path / "fetched"
    root.mkdir()
    folder.mkdir()
    data = os.urandom(30_000_000)
    (root / "image.tif").write_bytes(data)
    fetched: list[Fetched] = []
    with serve(root, tls=tls) as first:
        assert first.url.startswith("https://")
        first.faults[PATH] = ["leave"]
        source = HttpSource(f"{first.url}{PATH}")
        thread = threading.Thread(
            target=lambda: fetched.append(fetch(source, folder, lambda *_: None))
        )
        thread.start()
        assert first.closing.wait(60)
    time.sleep(AWAY_S)
    assert thread.is_alive(), (fetched, first.requests)
    with serve(root, int(first.url.rpartition(":")[2]), tls) as second:
        thread.join(120)
        assert not thread.is_alive()
    assert (folder / "image.tif").read_bytes() == data
    assert fetched[0].received < 1.2 * len(data)
    assert first.asked(PATH) == [None]
    (part,) = second.asked(PATH)
    assert part is not None
    assert int(part.removeprefix("bytes=").rstrip("-")) > 10_000_000
