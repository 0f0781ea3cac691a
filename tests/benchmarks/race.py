"""Run programs in turn, several rounds of them, and keep the time and memory of each."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_SAMPLE_S = 0.02
_TOLD = "seconds "


@dataclass
class Entrant:
    """A program that races, and what was measured of it in each round.

    `outputs` is what it writes, and is removed before and after each run. A line
    ``seconds <number>`` that it prints counts in place of the time that its process took;
    `told` is what else its last run printed.
    """

    name: str
    command: Sequence[str]
    outputs: tuple[Path, ...] = ()
    seconds: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    anonymous_mb: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    @property
    def median_s(self) -> float:
        """The median of its times."""
        return statistics.median(self.seconds)

    @property
    def median_cpu_s(self) -> float:
        """The median of its processor times, of all threads."""
        return statistics.median(self.cpu_s)

    @property
    def peak_mb(self) -> float:
        """The highest peak of its anonymous memory."""
        return max(self.anonymous_mb)

    def run(self) -> None:
        """Run it once."""
        self._clear()
        start = time.perf_counter()
        process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        peak: list[float] = [0.0]
        watch = threading.Thread(target=_watch, args=(process.pid, peak))
        watch.start()
        assert process.stdout
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        took = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        watch.join()
        if process.returncode:
            sys.exit(f"{self.name} failed: {' '.join(map(str, self.command))}")
        times = [line for line in text.splitlines() if line.startswith(_TOLD)]
        self.told = [line for line in text.splitlines() if line not in times]
        self.seconds.append(float(times[-1].removeprefix(_TOLD)) if times else took)
        self.cpu_s.append(usage.ru_utime + usage.ru_stime)
        self.anonymous_mb.append(peak[0])
        self._clear()

    def _clear(self) -> None:
        for path in self.outputs:
            _remove(path)

    def make(self) -> None:
        """Let it write its output, which stays, and measure nothing."""
        subprocess.run(self.command, check=True, stdout=subprocess.DEVNULL)


def race(entrants: Sequence[Entrant], rounds: int) -> None:
    """Let each run in each round, in turns forward and backward."""
    for number in range(rounds):
        for entrant in entrants if number % 2 == 0 else list(reversed(entrants)):
            entrant.run()
            line = f"{number} {entrant.name}: {entrant.seconds[-1]:.2f} s, "
            line += f"{entrant.cpu_s[-1]:.2f} s of CPU, {entrant.anonymous_mb[-1]:.0f} MB"
            print(line, file=sys.stderr, flush=True)


def _watch(pid: int, peak: list[float]) -> None:
    """Keep the highest anonymous memory of a process in MB, until it ends."""
    while True:
        try:
            text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        except OSError:
            return
        found = [line for line in text.splitlines() if line.startswith("RssAnon")]
        if not found:  # it has ended
            return
        peak[0] = max(peak[0], int(found[0].split()[1]) * 1024 / 1e6)
        time.sleep(_SAMPLE_S)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
