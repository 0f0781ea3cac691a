"""Small real runs of the workflow on a cluster, and what is to be seen of them from outside."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tifffile

from parfocal.core.digest import digest_path
from parfocal.models.sheet import Row
from rules.runs import ROOT, SNAKEFILE, Run, program
from slurm.cluster import Cluster, processes, wait_until

RUN_TIMEOUT_S = 560
# The profile is for clusters on which jobs take minutes.
SOON = ("--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1")
SOON += ("--latency-wait", "20", "--cores", "4")
IMAGES = "abcdef"
CONVERT, SEGMENT, MEASURE = "convert_image", "segment_objects", "measure_objects"
BROKEN = (CONVERT, SEGMENT, MEASURE)


def write_discs(path: Path, seed: int, edge_px: int) -> None:
    """Write an image of bright discs, many of which touch, (Y, X) uint16."""
    rng = np.random.default_rng(seed)
    image = rng.poisson(40, (edge_px, edge_px)).astype(np.uint16)
    y, x = np.mgrid[-10:11, -10:11]
    disc = 400 * (y**2 + x**2 <= 100).astype(np.uint16)
    for top, left in rng.integers(0, edge_px - 21, (edge_px**2 // 1500, 2)):
        image[top : top + 21, left : left + 21] += disc
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, image)


@dataclass
class SlurmRun(Run):
    """A working folder whose jobs run on a cluster, by the project's own profile."""

    cluster: Cluster | None = None
    options: list[str] = field(default_factory=list)
    place: str = "results"
    """Where the results lie for those outside of the cluster."""
    step: str = SEGMENT
    """The step that is broken."""

    @property
    def target(self) -> str:
        """The outcome of the step."""
        return f"results/outcomes/{self.step}/0.json"

    @property
    def results(self) -> Path:
        """The results folder."""
        return self.folder / self.place

    @property
    def slurm(self) -> Cluster:
        """The cluster."""
        assert self.cluster is not None
        return self.cluster

    def add_discs(self, image_id: str, edge_px: int = 512) -> None:
        """Make an image and its row."""
        source = self.folder / f"in/{image_id}.tif"
        write_discs(source, len(self.rows), edge_px)
        self.rows.append(Row(image_id=image_id, name=image_id, source=str(source)))

    def add_square(self, image_id: str) -> None:
        """Make an image of a single object, which needs 800 MB when it is divided; and its row."""
        source = self.folder / f"in/{image_id}.tif"
        image = np.random.default_rng(0).poisson(40, (3700, 3700)).astype(np.uint16)
        image[50:-50, 50:-50] += 400
        source.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(source, image)
        self.rows.append(Row(image_id=image_id, name=image_id, source=str(source)))

    def copy_to(self, folder: Path, **changes: object) -> SlurmRun:
        """Return the same run in another folder, with the same images and all that is done."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("in"))
        values = {"rows": list(self.rows), "config": list(self.config)}
        return SlurmRun(folder, **(values | {"cluster": self.cluster} | changes))

    def slurm_command(self, *targets: str) -> list[str]:
        """Return the command line of Snakemake for the cluster."""
        return [
            *(program("snakemake"), *targets, "--snakefile", str(SNAKEFILE)),
            *("--profile", str(ROOT / "config/profiles/slurm"), *SOON, *self.options),
            *("--configfile", str(ROOT / "config/analyse_images.yaml")),
            *("--config", "sheet=samples.tsv", *self.config),
        ]

    @property
    def log(self) -> Path:
        """What Snakemake told."""
        return self.folder / "snakemake.out"

    def begin(self, *targets: str, **more: str) -> subprocess.Popen[str]:
        """Start Snakemake in the cluster."""
        return self.slurm.begin(
            *self.slurm_command(*targets), cwd=self.folder, log=self.log, **more
        )

    def on_slurm(self, *targets: str, **more: str) -> int:
        """Run Snakemake in the cluster to its end, and return its exit code."""
        return finish(self.begin(*targets, **more))

    @property
    def told(self) -> str:
        """All that the run has told: Snakemake's output, and the logs of rules and jobs."""
        logs = [self.log, *self.folder.glob("slurm_logs/**/*.log")]
        logs += sorted(self.results.glob("logs/**/*.log"))
        logs += sorted(self.results.glob("attempts/**/*.json"))
        logs += sorted(self.results.glob(f"records/{self.step}/*/*.json"))
        return "\n".join(_text(path) for path in logs)

    def jobs(self) -> dict[str, str]:
        """Return the states of this run's jobs that are in the queue, by job id."""
        lines = self.slurm.output("squeue", "-h", "-o", "%i %T %Z").splitlines()
        found = [line.split(maxsplit=2) for line in lines]
        return {job: state for job, state, place in found if place == str(self.folder)}

    def snakemake_pid(self) -> int:
        """Return the process of Snakemake itself, not those of its jobs."""
        (pid,) = processes("--profile", "--snakefile", cwd=self.folder)[-1:]
        return pid

    def worker(self) -> int | None:
        """Return the process that works on images in a job of this run, None when there is none."""
        found = processes(self.step.replace("_", "-"), "--outcome", cwd=self.folder)
        workers = [pid for pid in found if _parent(pid) in found]
        return workers[0] if workers else None

    def catch_worker(self) -> int:
        """Wait until a worker has begun to write an image, and return its process, stopped."""
        caught: list[int] = []

        def catch() -> bool:
            pid = self.worker() if self.partials() else None
            if pid is None:
                return False
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                caught.append(pid)
            return bool(caught)

        wait_until(catch, f"a worker of {self.step} that writes", 300)
        return caught[0]

    def partials(self) -> list[Path]:
        """Return what lies half written in the results."""
        return list(self.results.glob("images/**/.*.partial"))

    def leftovers(self) -> list[Path]:
        """Return what no finished run leaves in its results."""
        names = ("*.partial", ".*.lease*", "*.tmp", "*.dead")
        return [path for name in names for path in self.results.glob(f"**/{name}")]

    def done(self) -> dict[str, int]:
        """Return how often each image was done, as the records of the step tell."""
        found: dict[str, int] = {}
        for path in self.results.glob(f"records/{self.step}/*/*.json"):
            text = path.read_text(encoding="utf-8")  # empty where the next thing was a kill
            if text and json.loads(text)["status"] == "done":
                found[path.parent.name] = found.get(path.parent.name, 0) + 1
        return found

    def outputs(self) -> dict[str, tuple[str, str]]:
        """Return path and digest of all outputs by ``step/image/role``, as the records tell."""
        found: dict[str, tuple[str, str]] = {}
        for path in sorted(self.results.glob("records/*/*/*.json")):
            place = path.parent.relative_to(self.results / "records").as_posix()
            for output in json.loads(path.read_bytes())["outputs"]:
                found[f"{place}/{output['role']}"] = (output["uri"], output["digest"])
        return found


class Undisturbed:
    """A run that was converted, copies of which the tests go on with; and how all of it ends."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self.converted = SlurmRun(folder, cluster=cluster)
        for image_id in IMAGES:
            self.converted.add_discs(image_id)
        self.converted.write_sheet()
        self.untouched = self.converted.copy_to(folder.with_name("untouched"))
        done = self.converted.snakemake("--until", "convert_image")
        assert done.returncode == 0, done.stderr
        whole = self.converted.copy_to(folder.with_name("whole"))
        done = whole.snakemake()
        assert done.returncode == 0, done.stderr
        self.digests = whole.digests()
        self._outputs = whole.outputs()

    def copy_to(self, folder: Path, step: str, **changes: object) -> SlurmRun:
        """Return a run in another folder in which a step is to be broken."""
        before = self.untouched if step == CONVERT else self.converted
        return before.copy_to(folder, step=step, **changes)

    def wrong(self, run: SlurmRun) -> list[str]:
        """Return the outputs of a run that look finished and are not those of this one."""
        there = [name for name, (uri, _) in self._outputs.items() if (run.results / uri).exists()]
        found = {n: (run.results / self._outputs[n][0]) for n in there if n.startswith(BROKEN)}
        return [n for n, path in found.items() if digest_path(path) != self._outputs[n][1]]


def finish(process: subprocess.Popen[str]) -> int:
    """Wait for a run to end, and return its exit code."""
    return process.wait(RUN_TIMEOUT_S)


@contextmanager
def slowed(pid: int) -> Iterator[None]:
    """Let a stopped process do next to nothing, but live; and go on in the end."""
    done = threading.Event()

    def pulse() -> None:
        with suppress(ProcessLookupError):  # it was killed
            while not done.wait(2):
                os.kill(pid, signal.SIGCONT)
                time.sleep(0.01)
                os.kill(pid, signal.SIGSTOP)

    thread = threading.Thread(target=pulse)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:  # Snakemake removes the log of a job that starts
        return ""


def _parent(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[1])
