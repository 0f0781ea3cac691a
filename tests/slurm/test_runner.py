"""One image on the tasks of one allocation, some of which are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from parfocal.compute.tasks import END_FILE, STEP_FILE
from parfocal.core.processes import DEAD_AFTER_S
from slurm.cluster import wait_until
from slurm.places import STEP_TIMEOUT_S, Image, Place

SRUN = ("srun", "--ntasks=4", "--mem-per-cpu=800")
TWO_NODES = (*SRUN, "--nodes=2", "--distribution=cyclic")
HANDS_OUT, STEP, WORKER = 0, 1, 2


def begin(place: Place, image: Image, srun: tuple[str, ...]) -> subprocess.Popen[str]:
    """Start the tasks, and wait until the step and its workers have begun."""
    process = place.begin([*srun, *place.segment(image, place.compute("slurm-runner"))])

    def begun() -> bool:
        assert process.poll() is None, place.told
        workers = len(list(place.shared.glob("*/working-*")))
        return workers == 2 and "Working on engine slurm-runner" in place.told

    wait_until(begun, "the step", 120)
    return process


def kill(place: Place, number: int) -> None:
    """Kill a task, while the step stands still so that it does not end before."""
    step = place.task(STEP)
    assert step is not None
    os.kill(step, signal.SIGSTOP)
    assert not place.labels.exists()
    task = place.task(number)
    assert task is not None
    os.kill(task, signal.SIGKILL)
    wait_until(lambda: place.task(number) is None, "the end of the task", 30)
    if number != STEP:
        os.kill(step, signal.SIGCONT)


def test_the_tasks_give_the_bytes_of_one_process(place: Place, image: Image) -> None:
    process = begin(place, image, SRUN)
    assert process.wait(STEP_TIMEOUT_S) == 0, place.told
    assert place.digest == image.labels
    assert place.details["tasks"] == 4
    wait_until(place.is_clean, "the end of jobs and files", 60)


def test_what_a_killed_worker_had_is_done_by_the_others(place: Place, image: Image) -> None:
    process = begin(place, image, TWO_NODES)
    kill(place, WORKER)
    assert process.wait(STEP_TIMEOUT_S) == 128 + signal.SIGKILL, place.told
    assert f"task {WORKER}: Killed" in place.told
    assert place.digest == image.labels
    assert place.record["status"] == "done"
    wait_until(place.is_clean, "the end of jobs and files", 60)


def test_a_killed_step_ends_the_others(place: Place, image: Image) -> None:
    process = begin(place, image, SRUN)
    kill(place, STEP)
    assert process.wait(STEP_TIMEOUT_S) == 128 + signal.SIGKILL, place.told
    assert "the step itself, was killed or lost" in place.told
    assert not place.labels.exists()
    wait_until(place.is_clean, "the end of jobs and files", 60)


def test_all_go_on_after_an_outage_of_the_shared_folder(place: Place, image: Image) -> None:
    process = begin(place, image, TWO_NODES)
    others = [place.task(number) for number in (STEP, WORKER, WORKER + 1)]
    for task in others:
        assert task is not None
        os.kill(task, signal.SIGSTOP)
    (folder,) = place.shared.iterdir()
    away = place.folder / "away"
    folder.rename(away)
    time.sleep(2)  # the task that hands out looks for it every half second
    os.utime(away / STEP_FILE, (time.time() - DEAD_AFTER_S - 10,) * 2)
    away.rename(folder)
    time.sleep(3)  # and sees an old heartbeat, until the step, on the other node, goes on
    assert not (folder / END_FILE).exists()
    for task in others:
        assert task is not None
        os.kill(task, signal.SIGCONT)
    assert process.wait(STEP_TIMEOUT_S) == 0, place.told
    assert "killed or lost" not in place.told
    assert place.digest == image.labels
    wait_until(place.is_clean, "the end of jobs and files", 60)


def test_without_the_task_that_hands_out_the_step_fails_and_the_next_run_mends_it(
    place: Place, image: Image
) -> None:
    process = begin(place, image, TWO_NODES)
    kill(place, HANDS_OUT)
    assert process.wait(STEP_TIMEOUT_S) == 128 + signal.SIGKILL, place.told
    told = "The process that hands out the work was killed or lost: task 0 of job "
    assert told in place.told, place.told
    assert told in place.record["error"]["message"]
    assert not place.labels.exists()
    wait_until(lambda: not place.jobs(), "the end of the job", 60)
    again = begin(place, image, SRUN)
    assert again.wait(STEP_TIMEOUT_S) == 0, place.told
    assert "Cleaning up what a killed run left" in place.told
    assert place.digest == image.labels
    wait_until(place.is_clean, "the end of jobs and files", 60)
