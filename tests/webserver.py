"""A web server on this machine that serves a folder and misbehaves when told to."""

import ssl
import threading
from collections.abc import Callable
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit


class Web:
    """What the server serves, what it was asked, and which faults it makes.

    `faults` maps a path to a list of faults, one used up by each request: a status number,
    "drop" (half of what was asked for, then the connection is cut), "leave" (the same, and the
    server stops), "short" (a Content-Length that is too large), "stall" (no answer), "sizeless"
    (no Content-Length).
    `answer` is asked before the folder is, with the path and the query; None leaves it to that.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.faults: dict[str, list[int | str]] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.authorizations: list[str | None] = []
        self.ranges = True
        self.validators = {"ETag": '"1"'}
        self.absent_status = 404
        self.content_type = "application/octet-stream"
        self.redirects: dict[str, str] = {}
        self.answer: Callable[[str, list[tuple[str, str]]], bytes | None] = lambda *_: None
        self.lock = threading.Condition()
        self.now = self.most = 0
        self.crowd = 0  # answers to requests for chunks wait until so many were under way at once
        self.url = ""
        self.closing = threading.Event()
        self.stop: Callable[[], None] = lambda: None

    def asked(self, path: str) -> list[str | None]:
        return [part for asked, part in self.requests if asked == path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    web: Web

    def log_message(self, *args):
        """Keep the tests' output clean."""

    def do_GET(self):
        web = self.web
        if web.closing.is_set():  # connections that are kept outlive the server
            self.close_connection = True
            return
        with web.lock:
            web.now += 1
            web.most = max(web.most, web.now)
            web.lock.notify_all()
            if "/c/" in self.path:
                web.lock.wait_for(lambda: web.most >= web.crowd, timeout=10)
        try:
            self._answer()
        finally:
            with web.lock:
                web.now -= 1

    def _answer(self):
        web, path = self.web, unquote(urlsplit(self.path).path)
        with web.lock:
            web.requests.append((path, self.headers.get("Range")))
            web.authorizations.append(self.headers.get("Authorization"))
            faults = web.faults.get(path, [])
            fault = faults.pop(0) if faults else None
        if path in web.redirects:
            return self._plain(302, {"Location": web.redirects[path]})
        if isinstance(fault, int):
            return self._plain(fault)
        if fault == "stall":
            web.closing.wait(10)
            self.close_connection = True
            return None
        if fault == "sizeless":
            self.close_connection = True
            return self._head(200, {})
        answer = web.answer(path, parse_qsl(urlsplit(self.path).query))
        if answer is not None:
            return self._plain(200, body=answer)
        file = web.root / path.lstrip("/")
        if not file.is_file():
            return self._plain(web.absent_status)
        data, status, headers = file.read_bytes(), 200, dict(web.validators)
        condition = self.headers.get("If-Match")
        if condition and condition != web.validators.get("ETag"):
            return self._plain(412)
        wanted = self.headers.get("Range")
        if wanted and web.ranges:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start = int(first) if first else len(data) - int(last)
            stop = min(int(last) + 1, len(data)) if first and last else len(data)
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
            data, status = data[start:stop], 206
        headers |= {"Content-Length": str(len(data)), "Content-Type": web.content_type}
        if fault == "short":
            headers["Content-Length"] = str(len(data) + 100)
        self._head(status, headers)
        self.wfile.write(data[: len(data) // 2] if fault in ("drop", "leave") else data)
        if fault in ("drop", "leave", "short"):
            self.close_connection = True
        if fault == "leave":
            web.stop()
        return None

    def _plain(self, status, headers=None, body=b""):
        body = b"secret-token=abc" if status >= 400 else body
        self._head(status, {"Content-Length": str(len(body))} | (headers or {}))
        self.wfile.write(body)

    def _head(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


LAST_MODIFIED = formatdate(1_700_000_000, usegmt=True)


@contextmanager
def serve(root: Path, port: int = 0, tls: ssl.SSLContext | None = None):
    """Serve `root` on 127.0.0.1, on a free port if none is given, until the end or ``stop()``."""
    web = Web(root)
    handler = type("Handler", (_Handler,), {"web": web})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # clients that hang up
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    web.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"

    def stop():
        web.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()

    web.stop = stop
    try:
        yield web
    finally:
        stop()
