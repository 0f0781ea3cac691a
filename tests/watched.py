"""Programs of which all is kept that they tell, leave, and show to other users of the machine."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

__all__ = ["Watched", "descendants", "environment_of"]

LONGEST_S = 400


class Watched:
    """Runs programs in a folder; keeps what they told, and all command lines meanwhile.

    Parameters
    ----------
    folder : Path
        Where they run, and leave what they make.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[str] = []
        self._shown: set[bytes] = set()

    def run(self, *command: str, **environment: str) -> int:
        """Run a program, with more in its environment; return its exit code."""
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        ended = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(ended,))
        watcher.start()
        try:
            told, _ = process.communicate(timeout=LONGEST_S)
        finally:
            process.kill()
            ended.set()
            watcher.join(10)
        self.told.append(told)
        return process.returncode

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(0.1):
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self._shown.add(entry.read_bytes())
                except OSError:  # it has ended
                    continue

    def finds(self, secret: str) -> list[str]:
        """Return where a secret is: what was told or shown, and which files hold it."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        within = [path for path in files if secret.encode() in path.read_bytes()]
        return [
            *(text for text in self.told if secret in text),
            *(line.decode() for line in self._shown if secret.encode() in line),
            *(str(path) for path in {*within, *(one for one in files if secret in str(one))}),
        ]


def descendants(pid: int) -> set[int]:
    """Return the processes that a process started, and those that these started."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name of the program stands in brackets, and may hold any character.
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found: set[int] = set()
    new = [pid]
    while new:
        new = [child for parent in new for child in parents.get(parent, ())]
        found.update(new)
    return found


def environment_of(pid: int) -> str:
    """Return the environment that a process was started with, as other programs see it."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""
