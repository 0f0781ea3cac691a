"""A Galaxy on this machine, kept by a process that ends it with all its jobs.

``python -m tests.galaxy.server --folder DIR`` keeps one up, for those who write tools, until it is
told to end; a DIR that has been used before goes on with its data. With ``--while PID`` it ends
with that process.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.galaxy import configuration
from tests.galaxy.processes import adopt_orphans, kill_all_below

if TYPE_CHECKING:
    from bioblend.galaxy import GalaxyInstance

__all__ = ["Galaxy", "apart", "instance", "running", "start"]

START_TIMEOUT_S, STOP_TIMEOUT_S = 480, 20
WORKER = ("celery", "--app", "galaxy.celery", "worker", "--pool", "threads", "--concurrency", "2")
WORKER += ("--queues", "celery,galaxy.internal,galaxy.external", "--without-gossip")
WORKER += ("--without-mingle", "--without-heartbeat", "--loglevel", "INFO")
USER = "user@example.org"
PASSWORD = "focal-plane-1"


@dataclass(frozen=True)
class Galaxy:
    """A running Galaxy.

    Attributes
    ----------
    folder : str
        Where it works.
    url : str
        Where it answers.
    key, slurm_key, admin_key : str
        The keys of a user, of one whose jobs run on Slurm, and of the administrator; the password
        of each is `PASSWORD`.
    bootstrap_key : str
        The key of an administrator without an account, who alone makes users.
    pid : int
        The process that keeps it.
    """

    folder: str
    url: str
    key: str
    slurm_key: str
    admin_key: str
    bootstrap_key: str
    pid: int

    @property
    def as_admin(self) -> GalaxyInstance:
        """The API for the administrator."""
        return instance(self.url, self.admin_key)

    def reload_tools(self) -> None:
        """Let it read its tools again, also those that were not there when it started."""
        configuration.write_tools(Path(self.folder), apart("galaxy"))
        api = self.as_admin
        api.make_put_request(f"{api.url}/configuration/toolbox")

    def stop(self) -> None:
        """End it and all its jobs, and wait until they have ended."""
        keeper = os.pidfd_open(self.pid)
        try:
            signal.pidfd_send_signal(keeper, signal.SIGTERM)
            if not select.select([keeper], [], [], 3 * STOP_TIMEOUT_S)[0]:
                raise TimeoutError(f"Galaxy's keeper {self.pid} does not end")
        finally:
            os.close(keeper)


def instance(url: str, key: str) -> GalaxyInstance:
    """Return the API of a Galaxy for the owner of a key."""
    from bioblend.galaxy import GalaxyInstance

    return GalaxyInstance(url, key=key)


@functools.cache
def apart(name: str) -> Path:
    """Return the environment apart from ours of that name."""
    command = [configuration.ROOT / "envs/apart.sh", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip())


def running(folder: Path) -> Galaxy | None:
    """Return the Galaxy that runs in a folder."""
    try:
        galaxy = Galaxy(**json.loads((folder / "galaxy.json").read_text("utf-8")))
        os.kill(galaxy.pid, 0)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return galaxy


def start(folder: Path, while_pid: int) -> Galaxy:
    """Start a Galaxy that ends with a process, and wait until it answers.

    Raises
    ------
    RuntimeError
        It does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.galaxy.server", "--folder", str(folder)]
    with (folder / "keeper.log").open("wb") as log:
        keeper = subprocess.Popen(
            [*command, "--while", str(while_pid)],
            cwd=configuration.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_TIMEOUT_S + STOP_TIMEOUT_S
    while keeper.poll() is None and time.monotonic() < deadline:
        if galaxy := running(folder):
            # It outlives this process, as others use it as well: it is not waited for.
            keeper.returncode = 0
            return galaxy
        time.sleep(0.2)
    keeper.kill()
    keeper.wait()
    raise RuntimeError(f"Galaxy did not start:\n{(folder / 'keeper.log').read_text('utf-8')}")


def main() -> None:
    """Keep a Galaxy up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0, help="any free one unless given")
    parser.add_argument("--while", type=int, dest="while_pid", help="end with this process")
    given = parser.parse_args()
    folder = given.folder.resolve()
    if already := running(folder):
        parser.exit(2, f"a Galaxy runs in {folder} already: {already.url}\n")
    others = [os.pidfd_open(given.while_pid)] if given.while_pid else []
    adopt_orphans()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        _keep(folder, given.port or _free_port(), others)
    finally:
        (folder / "galaxy.json").unlink(missing_ok=True)
        kill_all_below(os.getpid())


def _keep(folder: Path, port: int, others: list[int]) -> None:
    """Run Galaxy until it ends or one of these processes does."""
    url = f"http://127.0.0.1:{port}"
    begun = time.monotonic()
    bootstrap_key = configuration.write(folder, apart("galaxy"), url)
    web = ("galaxy-web", "-c", str(folder / "galaxy.yml"), "-b", f"127.0.0.1:{port}")
    processes = [_launch(folder, command) for command in (web, WORKER)]
    try:
        _await_answer(processes, url, folder)
        emails = (USER, configuration.SLURM_USER, configuration.ADMIN)
        keys = [_key(url, bootstrap_key, email) for email in emails]
        galaxy = Galaxy(str(folder), url, *keys, bootstrap_key, os.getpid())
        new = folder / "galaxy.json.new"
        new.write_text(json.dumps(asdict(galaxy), indent=1), encoding="utf-8")
        new.rename(folder / "galaxy.json")
        print(f"Galaxy answers at {url} after {time.monotonic() - begun:.0f} s", flush=True)
        print(f"Users {USER} and {configuration.ADMIN}, password {PASSWORD}", flush=True)
        select.select([*others, *(os.pidfd_open(each.pid) for each in processes)], [], [])
    finally:
        for each in processes:
            each.terminate()
        with suppress(subprocess.TimeoutExpired):
            for each in processes:
                each.wait(STOP_TIMEOUT_S)


def _launch(folder: Path, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
    galaxy_env = apart("galaxy")
    program, *arguments = command
    # The kernel ends it when this process is killed.
    with_this = ["setpriv", "--pdeathsig", "TERM", galaxy_env / "bin" / program]
    with (folder / f"{program}.log").open("ab") as log:
        return subprocess.Popen(
            [*with_this, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=configuration.environment(folder, galaxy_env),
            start_new_session=True,
        )


def _await_answer(processes: list[subprocess.Popen[bytes]], url: str, folder: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while all(each.poll() is None for each in processes) and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/api/version", timeout=10):
                return
        except OSError:  # it does not answer yet
            time.sleep(0.3)
    logs = sorted(folder.glob("*.log"))
    tails = [f"{log.name}:\n{log.read_text('utf-8', errors='replace')[-3000:]}" for log in logs]
    raise RuntimeError("\n".join([f"Galaxy does not answer at {url}", *tails]))


def _key(url: str, bootstrap_key: str, email: str) -> str:
    """Return the key of a user, who is made unless there is one of that address."""
    users = instance(url, bootstrap_key).users
    found = [each for each in users.get_users() if each["email"] == email]
    name = email.partition("@")[0] + "-of-tests"
    user = found[0] if found else users.create_local_user(name, email, PASSWORD)
    return str(users.get_or_create_user_apikey(user["id"]))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
