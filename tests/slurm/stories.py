"""What happens to runs that are broken, each in a folder of its own, all of them at a time.

Clusters take their time: half a minute until a node counts as lost, a minute until a lease of
another node does. So the stories run side by side, and the tests then look at how each ended.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from slurm.cluster import wait_until
from slurm.runs import CONVERT, IMAGES, MEASURE, SEGMENT, SlurmRun, Undisturbed, finish, slowed

MEASURED = f"results/outcomes/{MEASURE}/0.json"
STORY_TIMEOUT_S = 590


@dataclass
class Ended:
    """How a story ended."""

    run: SlurmRun
    first_code: int
    """The exit code of the run that was broken."""
    last_code: int
    """That of the last run: the same, or that which took it up."""
    broken_wrong: list[str] = field(default_factory=list)
    """What looked finished and was not, right after the break."""
    told: str = ""
    """What was told, before anything was run again."""
    jobs: dict[str, str] = field(default_factory=dict)
    """Jobs left in the queue."""


Story = Callable[[SlurmRun, Undisturbed], Ended]


def begin(run: SlurmRun, **more: str) -> tuple[object, int]:
    """Start a run, and stop its worker in the middle of an image."""
    process = run.begin(run.target, **more)
    return process, run.catch_worker()


def ended(run: SlurmRun, first_code: int, wrong: list[str], seen: str = "") -> Ended:
    """Run again where not all images are done: the workflow would end red, and name them."""
    told, last_code = seen + run.told, first_code
    if set(run.outcomes(run.step).values()) != {"done"}:
        last_code = run.on_slurm(run.target)
    return Ended(run, first_code, last_code, wrong, told, run.jobs())


def wait_for_the_other(run: SlurmRun) -> str:
    """Wait until the second of two jobs waits for what the first is writing; return what is told.

    A job that Slurm starts once more writes its log anew.
    """
    seen: list[str] = []

    def waits() -> bool:
        seen[:] = [run.told]
        return "Waiting for another writer" in seen[0]

    wait_until(waits, "the second job to wait for the first", 300)
    return seen[0]


def snakemake_killed(run: SlurmRun, undisturbed: Undisturbed) -> Ended:
    """Kill Snakemake, and start the run anew while its job lives."""
    process, worker = begin(run)
    with slowed(worker):
        os.kill(run.snakemake_pid(), signal.SIGKILL)
        first_code = finish(process)
        wrong = undisturbed.wrong(run)
        assert run.on_slurm("--unlock") == 0, run.told
        second = run.begin(run.target)
        wait_until(lambda: list(run.jobs().values()).count("RUNNING") == 2, "the second job", 300)
        wait_for_the_other(run)
    last_code = finish(second)
    wait_until(lambda: not run.jobs(), "the end of the first job", 120)
    return Ended(run, first_code, last_code, wrong, run.told, run.jobs())


def worker_killed(run: SlurmRun, undisturbed: Undisturbed) -> Ended:
    """Kill the process that works on an image."""
    process, worker = begin(run)
    os.kill(worker, signal.SIGKILL)
    first_code = finish(process)
    return ended(run, first_code, undisturbed.wrong(run))


def job_cancelled(run: SlurmRun, undisturbed: Undisturbed) -> Ended:
    """Cancel the job behind the back of Snakemake."""
    process, _ = begin(run)
    run.slurm.output("scancel", *run.jobs())
    first_code = finish(process)
    return ended(run, first_code, undisturbed.wrong(run))


def out_of_time(run: SlurmRun, undisturbed: Undisturbed) -> Ended:
    """Let a job stand still until Slurm ends it."""
    process, _ = begin(run)
    (job,) = run.jobs()
    run.slurm.output("scontrol", "update", f"JobId={job}", "TimeLimit=1")
    first_code = finish(process)
    return ended(run, first_code, undisturbed.wrong(run))


def out_of_memory(run: SlurmRun, undisturbed: Undisturbed) -> Ended:
    """Give a job less memory than it needs; the next attempt has twice as much."""
    first_code = finish(run.begin(run.target))
    return ended(run, first_code, undisturbed.wrong(run))


def never_enough(run: SlurmRun, undisturbed: Undisturbed) -> Ended:
    """Add an image that needs more memory than any attempt has; the others go on without it."""
    run.add_square("huge")
    done = run.snakemake("--until", "convert_image")
    assert done.returncode == 0, done.stderr
    code = finish(run.begin(MEASURED))
    others = dict.fromkeys(IMAGES, "done")
    assert run.outcomes(SEGMENT) == others | {"huge": "failed"}, run.told
    assert run.outcomes(MEASURE) == others | {"huge": "skipped"}, run.told
    return Ended(run, code, code, undisturbed.wrong(run), run.told, run.jobs())


def daemon_killed(run: SlurmRun, undisturbed: Undisturbed) -> Ended:
    """Kill the slurmd of a node whose job lives on, while Slurm gives it to another node."""
    process, worker = begin(run)
    (job,) = run.jobs()
    node = run.slurm.node_of(job)
    run.slurm.kill_slurmd(node)
    with slowed(worker):
        wait_until(lambda: run.slurm.node_of(job) not in ("", node), "another node", 240)
        seen = wait_for_the_other(run)
    first_code = finish(process)
    return ended(run, first_code, undisturbed.wrong(run), seen)


def node_lost(run: SlurmRun, undisturbed: Undisturbed) -> Ended:
    """Pull the plug of a node."""
    process, _ = begin(run)
    (job,) = run.jobs()
    run.slurm.pull_the_plug(run.slurm.node_of(job))
    wrong = undisturbed.wrong(run)
    return ended(run, finish(process), wrong)


def scratch_full(run: SlurmRun, undisturbed: Undisturbed) -> Ended:
    """Give the jobs a scratch folder that is too small."""
    scratch = run.folder / "scratch"
    scratch.mkdir()
    run.slurm.output("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", scratch)
    first_code = finish(run.begin(run.target, PARFOCAL_SCRATCH=str(scratch)))
    return ended(run, first_code, undisturbed.wrong(run))


def folder_gone(run: SlurmRun, undisturbed: Undisturbed) -> Ended:
    """Take the folder of the results away from all nodes in the middle, and bring it back."""
    mounted, run.place = run.results, "store"
    mounted.rename(run.results)
    mounted.mkdir()
    # What is left when the folder is gone takes no files, as on clusters.
    run.slurm.output("mount", "-t", "tmpfs", "-o", "size=4k,ro", "tmpfs", mounted)
    run.slurm.output("mount", "--bind", run.results, mounted)
    process, worker = begin(run)
    run.slurm.output("umount", "--lazy", mounted)
    os.kill(worker, signal.SIGCONT)
    time.sleep(10)
    run.slurm.output("mount", "--bind", run.results, mounted)
    first_code = finish(process)
    run.slurm.output("umount", "--lazy", mounted)
    run.slurm.output("umount", "--lazy", mounted)
    mounted.rmdir()
    run.results.rename(mounted)
    run.place = mounted.name
    return ended(run, first_code, undisturbed.wrong(run))


FRAGILE = ("--set-resources", "segment_objects:slurm_partition=fragile")

LITTLE = ("--set-resources", "segment_objects:mem_mb=250*attempt")
"""Too little for the first attempt; the next have more, as by default they would."""

SAME = ("--set-resources", "segment_objects:mem_mb=700", "--retries", "2")
"""Enough for all images but one, in all attempts."""

STORIES: dict[str, tuple[Story, str, tuple[str, ...]]] = {
    "node_lost": (node_lost, SEGMENT, FRAGILE),
    "daemon_killed": (daemon_killed, SEGMENT, FRAGILE),
    "out_of_time": (out_of_time, SEGMENT, ()),
    "out_of_memory": (out_of_memory, SEGMENT, LITTLE),
    "never_enough": (never_enough, SEGMENT, SAME),
    "snakemake_killed": (snakemake_killed, SEGMENT, ()),
    "worker_killed": (worker_killed, CONVERT, ()),
    "job_cancelled": (job_cancelled, MEASURE, ()),
    "scratch_full": (scratch_full, SEGMENT, ()),
    "folder_gone": (folder_gone, SEGMENT, ()),
}
"""What happens, to which step, with which options of Snakemake."""


class Stories:
    """All stories, begun at once in threads of their own."""

    def __init__(self, folder: Path, undisturbed: Undisturbed, names: list[str]) -> None:
        self._pool = ThreadPoolExecutor(len(names))
        self._futures: dict[str, Future[Ended]] = {}
        for name in names:
            story, step, options = STORIES[name]
            run = undisturbed.copy_to(folder / name, step, options=list(options))
            self._futures[name] = self._pool.submit(story, run, undisturbed)

    def __getitem__(self, name: str) -> Ended:
        """Wait for a story to end."""
        return self._futures[name].result(STORY_TIMEOUT_S)

    def close(self) -> None:
        """Wait for all that runs."""
        self._pool.shutdown(cancel_futures=True)
