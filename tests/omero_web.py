"""OMERO.web before a test server, as the package index has it, in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from omero.config import ConfigXml

from omero_process import RealServer

__all__ = ["OwnWeb"]

PACKAGES = ("omero-web", "omero-marshal", "Django>=5.2,<5.3", "asgiref", "sqlparse")
PACKAGES += ("django-cors-headers==3.7.0", "django-pipeline", "whitenoise", "gunicorn")
PACKAGES += ("concurrent-log-handler", "portalocker", "pytz")
"""What OMERO.web needs besides omero-py, which is here, and would be compiled again."""

_INSTALL = ("install", "--quiet", "--disable-pip-version-check", "--no-warn-conflicts", "--no-deps")
_INSTALL_TIMEOUT_S, _STOP_TIMEOUT_S = 600, 30


class OwnWeb:
    """OMERO.web in a process that ends with this one.

    Attributes
    ----------
    folder : Path
        What is installed and kept for it; it need not exist.
    url : str
        Where it answers, once it was started.
    """

    def __init__(self, folder: Path, server: RealServer) -> None:
        self.folder = folder
        self.url = ""
        self._server = server
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Install and start it; who calls it before it is ready waits in the queue."""
        packages, home = self.folder / "packages", self.folder / "home"
        command = [sys.executable, "-m", "pip", *_INSTALL, "--target", str(packages), *PACKAGES]
        subprocess.run(command, check=True, timeout=_INSTALL_TIMEOUT_S)
        self._configure(home / "etc" / "grid" / "config.xml")
        environment = os.environ | {"HOME": str(home), "OMERODIR": str(home)}
        environment |= {"PYTHONPATH": str(packages)}
        with (
            socket.create_server(("127.0.0.1", 0)) as listening,
            (self.folder / "web.log").open("ab") as log,
        ):
            bound = f"fd://{listening.fileno()}"
            serve = ["-m", "gunicorn", "--bind", bound, "omeroweb.wsgi:application"]
            # The kernel ends it when the process dies that started it.
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", sys.executable, *serve],
                pass_fds=[listening.fileno()],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"

    def stop(self) -> None:
        """Stop it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_TIMEOUT_S)
            raise

    def _configure(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        config = ConfigXml(str(file))
        config["omero.web.server_list"] = json.dumps(
            [[self._server.host, self._server.ssl, "omero"]]
        )
        config.close()
