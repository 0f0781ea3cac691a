"""Run the server until it is told to end."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import threading
from pathlib import Path

from .host import Server


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate that nobody vouches for."""
    made, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"]
    command += ["-subj", "/CN=localhost", "-keyout", str(key), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    return made, key


def main() -> None:
    """Start, tell the ports, wait for the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--ssl-port", type=int, default=0)
    parser.add_argument("--tcp-port", type=int, default=0)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    server = Server(given.folder, *certificate(given.folder), given.ssl_port, given.tcp_port)
    server.start()
    print(json.dumps({"ssl": server.ssl_port, "tcp": server.tcp_port, "faults": 0}), flush=True)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
    server.stop()


if __name__ == "__main__":
    main()
