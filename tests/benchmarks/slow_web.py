"""A web server that answers each request for a part of an OME-Zarr after a while.

``python -m tests.benchmarks.slow_web FOLDER LATENCY_S`` serves FOLDER on a free port of
127.0.0.1, which it prints. All chunks are one and the same body, so that the server is not what
is measured.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from urllib.parse import unquote

_HEAD = (
    "HTTP/1.1 {status}\r\nContent-Length: {size}\r\nContent-Type: application/octet-stream\r\n"
    'ETag: "1"\r\nConnection: keep-alive\r\n\r\n'
)


class _Server(asyncio.Protocol):
    """Answers requests without a body, one after another, on one connection."""

    def __init__(self, root: Path, latency_s: float) -> None:
        self.root = root
        self.latency_s = latency_s
        self.waiting = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.waiting += data
        while b"\r\n\r\n" in self.waiting:
            head, _, self.waiting = self.waiting.partition(b"\r\n\r\n")
            path = unquote(head.split(b" ", 2)[1].decode()).partition("?")[0]
            asyncio.get_running_loop().call_later(self.latency_s, self._answer, path)

    def _answer(self, path: str) -> None:
        body = _body(self.root, path)
        status = "404 Not Found" if body is None else "200 OK"
        head = _HEAD.format(status=status, size=len(body or b""))
        self.transport.writelines([head.encode(), body or b""])


def _body(root: Path, path: str) -> bytes | None:
    """Return the file at `path`, or what stands for each chunk; None where there is nothing."""
    if "/c/" in path:
        path = "chunk"
    if path not in _BODIES:
        file = root / path.lstrip("/")
        _BODIES[path] = file.read_bytes() if file.is_file() else None
    return _BODIES[path]


_BODIES: dict[str, bytes | None] = {}


async def _serve(root: Path, latency_s: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Server(root, latency_s), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), float(sys.argv[2])))
