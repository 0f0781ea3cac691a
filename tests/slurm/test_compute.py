"""One image on several nodes: worker jobs that come and go."""

from __future__ import annotations

import os
import signal

import pytest

from parfocal.core.digest import digest_path
from slurm.cluster import processes, wait_until
from slurm.places import STEP_TIMEOUT_S, Image, Place


def test_worker_jobs_give_the_bytes_of_one_process(place: Place, image: Image) -> None:
    process = place.begin(place.segment(image, place.compute("slurm")))
    assert process.wait(STEP_TIMEOUT_S) == 0, place.told
    assert place.digest == image.labels
    assert place.details["engine"] == "slurm"
    wait_until(place.is_clean, "the end of jobs and files", 60)


def test_worker_jobs_convert_an_image_of_several_shards(place: Place, image: Image) -> None:
    process = place.begin(place.convert(image, place.compute("slurm")))
    assert process.wait(STEP_TIMEOUT_S) == 0, place.told
    assert len(list((place.image / "0" / "c").rglob("[0-9]"))) > 10
    assert digest_path(place.image) == digest_path(image.path)
    assert place.details["engine"] == "slurm"
    wait_until(place.is_clean, "the end of jobs and files", 60)


def test_lost_workers_are_replaced(place: Place, image: Image) -> None:
    process = place.begin(place.segment(image, place.compute("slurm", maximum_jobs=3)))
    # Jobs that end before their workers come would count as jobs that cannot start any.
    wait_until(lambda: place.registered() >= 2 and len(place.workers()) >= 2, "two workers", 120)
    first, second = place.jobs("RUNNING")[:2]
    place.cluster.output("scancel", first)
    wait_until(lambda: first not in place.jobs("RUNNING"), "the end of a job", 60)
    for pid in place.workers()[:2]:  # the first that is left, and what watches over it
        os.kill(pid, signal.SIGKILL)
    assert process.wait(STEP_TIMEOUT_S) == 0, place.told
    assert second
    assert place.digest == image.labels
    wait_until(place.is_clean, "the end of jobs and files", 60)


def test_a_killed_owner_leaves_no_jobs_for_long(place: Place, image: Image) -> None:
    process = place.begin(place.segment(image, place.compute("slurm")))
    wait_until(lambda: place.jobs("RUNNING"), "a worker job", 120)
    (owner,) = processes("segment-objects", "--compute", cwd=place.folder)
    os.kill(owner, signal.SIGKILL)
    assert process.wait(60) != 0
    assert not place.labels.exists()
    again = place.begin(place.segment(image, place.compute("slurm")))
    assert again.wait(STEP_TIMEOUT_S) == 0, place.told
    assert "Cleaning up what a killed run left" in place.told
    assert place.digest == image.labels
    wait_until(place.is_clean, "the end of jobs and files", 60)


@pytest.mark.parametrize("state", ["RUNNING", "PENDING"])
def test_jobs_of_a_killed_owner_end_by_themselves(place: Place, image: Image, state: str) -> None:
    later = ["--begin=now+15"] if state == "PENDING" else []
    values = {"death_timeout_s": 10, "sbatch_options": later}
    process = place.begin(place.segment(image, place.compute("slurm", **values)))
    wait_until(lambda: place.jobs(state) and (later or place.registered()), "a worker job", 120)
    (owner,) = processes("segment-objects", "--compute", cwd=place.folder)
    os.kill(owner, signal.SIGKILL)
    assert process.wait(60) != 0
    assert place.jobs()
    wait_until(lambda: not place.jobs(), "the end of the jobs", 180)
    assert not place.workers()
    assert not place.labels.exists()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"partition": "nowhere"}, ["There is no such partition: nowhere", "fragile"]),
        ({"partition": "closed"}, ["Slurm rejects the worker jobs", "not available"]),
        ({"partition": "short", "walltime_min": 120}, ["Slurm rejects the worker jobs"]),
        ({"memory_mib": 1_000_000}, ["Slurm rejects the worker jobs"]),
    ],
)
def test_what_slurm_would_reject_is_told_before_any_work(
    place: Place, image: Image, values: dict[str, object], told: list[str]
) -> None:
    process = place.begin(place.segment(image, place.compute("slurm", **values)))
    assert process.wait(60) == 2, place.told
    assert all(text in place.told for text in told), place.told
    assert not place.labels.exists()
    assert not (place.folder / "record.json").exists()
    wait_until(place.is_clean, "the end of jobs and files", 60)


def test_a_job_does_not_submit_jobs_unasked(place: Place, image: Image) -> None:
    command = place.segment(image, place.compute("slurm"))
    done = place.cluster.run("srun", "--mem=800", *command, cwd=place.folder, timeout_s=60)
    assert done.returncode == 2, done.stderr
    assert "A job on Slurm would submit jobs of its own" in done.stderr
    wait_until(place.is_clean, "the end of jobs and files", 60)
