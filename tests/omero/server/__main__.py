"""Run the server: ``python -m tests.omero.server --folder DIR``.

When it is ready it prints a line of JSON with its ports, ``ssl``, ``tcp``, ``wss`` and ``faults``.
Ended by SIGTERM or SIGINT it writes its state into the folder; started with the same folder it goes
on from there. After a crash, what was not saved is lost, the bytes of files aside.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import threading
from pathlib import Path

from .certificate import make_certificate
from .fault_port import FaultPort
from .host import Server

STATE = "state.pickle"


def arguments(argv: list[str]) -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.omero.server", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where all data is kept")
    for name in ("ssl", "tcp", "wss", "faults"):
        parser.add_argument(f"--{name}-port", type=int, default=0, help="0 is one that is free")
    parser.add_argument("--certificate", type=Path, help="PEM; one is made in the folder otherwise")
    parser.add_argument("--key", type=Path, help="PEM, of the certificate")
    return parser.parse_args(argv)


def main(argv: list[str]) -> None:
    """Serve until a signal ends it."""
    given = arguments(argv)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    folder: Path = given.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    certificate = given.certificate or folder / "certificate.pem"
    key = given.key or folder / "key.pem"
    if not certificate.exists():
        make_certificate(certificate, key)
    server = Server(folder, certificate, key, given.ssl_port, given.tcp_port, given.wss_port)
    state = folder / STATE
    if state.exists():
        server.load(state)
    faults = FaultPort(server, given.faults_port, lambda: server.save(state))
    server.start()
    faults.start()
    ports = {"ssl": server.ssl_port, "tcp": server.tcp_port, "wss": server.wss_port}
    print(json.dumps(ports | {"faults": faults.port}), flush=True)
    _wait_for_the_end()
    faults.stop()
    server.save(state)
    server.stop()


def _wait_for_the_end() -> None:
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    while not ended.wait(1.0):
        pass


if __name__ == "__main__":
    main(sys.argv[1:])
