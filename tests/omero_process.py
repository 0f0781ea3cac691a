"""An OMERO server to test against: one of our own in a process, or a real one somewhere."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

__all__ = ["PASSWORDS", "OwnServer", "RealServer", "real_server"]

ROOT = Path(__file__).parents[1]
START_TIMEOUT_S, STOP_TIMEOUT_S = 90, 30
PASSWORDS = {"root": "omero", "alice": "alice", "bob": "bob", "carol": "carol"}
PASSWORDS |= {"dora": "correct-horse-battery-staple"}  # which is found where nothing else is


class RealServer:
    """A server that somebody else runs, with the users and groups of `tests/omero_accounts.py`.

    Attributes
    ----------
    host : str
    ssl : int
        The port of encrypted connections.
    tcp : int or None
        The port of others.
    wss : int or None
        That of encrypted web sockets.
    """

    def __init__(self, host: str, ssl: int = 4064, root_password: str = "omero") -> None:
        self.host = host
        self.ssl = ssl
        self.tcp: int | None = None
        self.wss: int | None = None
        self._passwords = PASSWORDS | {"root": root_password}

    @property
    def uri(self) -> str:
        """The server as sources name it."""
        return f"omero://{self.host}:{self.ssl}"

    def password(self, user: str) -> str:
        """Return the password of one of the users."""
        return self._passwords[user]


def real_server() -> RealServer | None:
    """Return the server of ``PARFOCAL_TEST_OMERO=host[:port]``, where that is set."""
    text = os.environ.get("PARFOCAL_TEST_OMERO")
    if not text:
        return None
    host, _, port = text.partition(":")
    password = os.environ.get("PARFOCAL_TEST_OMERO_ROOT_PASSWORD", "omero")
    return RealServer(host, int(port or 4064), password)


class OwnServer(RealServer):
    """The test server, in a process that ends with this one.

    Attributes
    ----------
    folder : Path
        Where it keeps its data and its log, also from one start to the next.
    faults : int
        The port of its faults.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__("localhost", 0)
        self.folder = folder
        self.faults = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What it wrote to its standard error."""
        return self.folder.with_suffix(".log")

    @property
    def pid(self) -> int | None:
        """Its process, while it runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start it and wait until it answers; on the ports of the last time, if there was one."""
        self.folder.mkdir(exist_ok=True)
        # The kernel ends it when the process dies that started it.
        command = ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "tests.omero.server"]
        command += ["--folder", str(self.folder)]
        for name in ("ssl", "tcp", "wss", "faults"):
            command += [f"--{name}-port", str(getattr(self, name) or 0)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                # glibc keeps freed memory for later otherwise, more with each larger piece.
                env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        ports = self._first_line()
        self.ssl, self.tcp, self.wss = ports["ssl"], ports["tcp"], ports["wss"]
        self.faults = ports["faults"]

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        """Stop it, in order unless told otherwise; what it holds stays in its folder."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal_number)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_TIMEOUT_S)
            raise
        finally:
            process.stdout.close()

    def freeze(self, seconds: float) -> None:
        """Let it stand still for a time; returns when the last of its threads does."""
        process = self._process
        process.send_signal(signal.SIGSTOP)
        # Until the signal is taken, which a busy machine puts off, threads still answer.
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        threading.Timer(seconds, process.send_signal, [signal.SIGCONT]).start()

    def restart(self) -> None:
        """Stop it and start it again, with its data and on its ports."""
        self.stop()
        self.start()

    def _first_line(self) -> dict[str, Any]:
        output = self._process.stdout
        ready, _, _ = select.select([output], [], [], START_TIMEOUT_S)
        line = output.readline() if ready else b""
        if not line:
            self.stop(signal.SIGKILL)
            log = self.log.read_text("utf-8", errors="replace")[-4000:]
            raise RuntimeError(f"the test server did not start:\n{log}")
        return json.loads(line)
