"""When the tasks of an allocation end: with the step, after a kill, and not before the workers."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from parfocal.compute import runner, tasks
from parfocal.compute.tasks import END_FILE, GIVE_UP_S, OVER, STEP_FILE, WORKING, Tasks
from parfocal.core import processes
from parfocal.core.processes import this_process
from parfocal.core.publish import write_json

BOUND_S = 20.0
KILLED = {"process_start": "1"}
FAR = {"machine": "elsewhere"}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "POLL_S", 0.01)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes of other machines be lost after a moment without a heartbeat."""
    monkeypatch.setattr(processes, "DEAD_AFTER_S", 0.2)


def leave(path: Path, **changes: object) -> None:
    """Leave the file of a process like this one, with changes, touched an hour ago."""
    write_json(path, this_process() | changes)
    os.utime(path, (time.time() - 3600,) * 2)


def test_workers_have_ended_in_order_by_a_kill_or_with_their_node(
    tmp_path: Path, hasty: None
) -> None:
    seen = Tasks(tmp_path)
    assert seen.ended() == 0
    leave(tmp_path / f"{WORKING}2")
    leave(tmp_path / f"{WORKING}3", **FAR)
    assert (seen.ended(), seen.living()) == (0, 2)
    (tmp_path / f"{OVER}2").touch()
    assert seen.ended() == 1
    leave(tmp_path / f"{WORKING}2", **KILLED)  # counts once
    leave(tmp_path / f"{WORKING}4", **KILLED)
    assert (seen.ended(), seen.living()) == (2, 1)
    time.sleep(0.3)  # longer than a node without a heartbeat counts as alive
    assert (seen.ended(), seen.living()) == (3, 0)
    (tmp_path / f"{OVER}10").touch()  # one that came when all was done
    assert seen.ended() == 4


def until_over(folder: Path, *workers: str) -> None:
    """Wait as the task that hands out does, with these workers connected."""
    scheduler = SimpleNamespace(workers=dict.fromkeys(workers))
    asyncio.run(asyncio.wait_for(runner._until_over(scheduler, Tasks(folder)), BOUND_S))


def test_all_is_over_when_the_step_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    leave(tmp_path / STEP_FILE)
    (tmp_path / END_FILE).touch()
    until_over(tmp_path)
    assert not caplog.records


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("changes", [KILLED, FAR])
def test_all_is_over_when_the_step_was_killed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, str]
) -> None:
    leave(tmp_path / STEP_FILE, **changes)
    until_over(tmp_path)
    assert (tmp_path / END_FILE).exists()
    told = f"Task 1 of job 7, the step itself, was killed or lost (process {os.getpid()} on "
    assert told in caplog.text


def test_a_step_that_never_comes_is_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "MEET_WITHIN_S", 0.1)
    (tmp_path / runner.ADDRESS_FILE).touch()
    until_over(tmp_path)
    assert (tmp_path / END_FILE).exists()
    assert "has not come" in caplog.text


@pytest.mark.parametrize("changes", [{}, FAR])
def test_a_step_that_lives_is_waited_for(tmp_path: Path, changes: dict[str, str]) -> None:
    leave(tmp_path / STEP_FILE, **changes)
    assert_waits(Tasks(tmp_path), 0.3)
    assert not (tmp_path / END_FILE).exists()


def assert_waits(seen: Tasks, seconds: float) -> None:
    scheduler = SimpleNamespace(workers={})
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(runner._until_over(scheduler, seen), seconds))


@pytest.mark.usefixtures("hasty")
def test_a_run_outlives_an_outage_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tasks, "MEET_WITHIN_S", 0.1)
    folder, away = tmp_path / "folder", tmp_path / "away"
    folder.mkdir()
    leave(folder / STEP_FILE, **FAR)
    seen = Tasks(folder)
    assert not seen.lost_step()
    folder.rename(away)
    assert_waits(seen, 0.5)  # longer than both limits
    away.rename(folder)
    assert_waits(seen, 0.1)
    os.utime(folder / STEP_FILE)  # the next heartbeat
    assert_waits(seen, 0.1)
    assert not (folder / END_FILE).exists()
    assert not caplog.records
    (folder / END_FILE).touch()
    asyncio.run(asyncio.wait_for(runner._until_over(SimpleNamespace(workers={}), seen), BOUND_S))


def test_a_folder_that_does_not_come_back_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert GIVE_UP_S >= 5 * processes.DEAD_AFTER_S
    monkeypatch.setattr(tasks, "GIVE_UP_S", 0.1)
    until_over(tmp_path / "gone")
    assert "has been out of reach" in caplog.text


def test_work_is_handed_out_while_the_folder_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, looking = threading.Event(), threading.Event()
    is_over = Tasks.is_over

    def hang(seen: Tasks) -> bool:
        looking.set()
        assert answers.wait(BOUND_S)
        return is_over(seen)

    monkeypatch.setattr(Tasks, "is_over", hang)
    (tmp_path / END_FILE).touch()

    async def hand_out() -> None:
        waiting = asyncio.ensure_future(
            runner._until_over(SimpleNamespace(workers={}), Tasks(tmp_path))
        )
        while not looking.is_set():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert not waiting.done()
        answers.set()
        await asyncio.wait_for(waiting, BOUND_S)

    asyncio.run(asyncio.wait_for(hand_out(), 2 * BOUND_S))


def test_workers_that_have_begun_hear_of_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / END_FILE).touch()
    leave(tmp_path / f"{WORKING}2")
    leave(tmp_path / f"{WORKING}3", **KILLED)
    scheduler = SimpleNamespace(workers={})

    async def met() -> list[int]:
        waiting = asyncio.ensure_future(runner._until_over(scheduler, Tasks(tmp_path)))
        await asyncio.sleep(0.1)
        before = waiting.done()
        scheduler.workers["tls://2"] = None
        await asyncio.wait_for(waiting, BOUND_S)
        return [before]

    assert asyncio.run(met()) == [False]
    scheduler.workers.clear()
    monkeypatch.setattr(runner, "MEET_WITHIN_S", 0.1)
    until_over(tmp_path)  # and one that cannot is not waited for without end


def test_the_folder_is_kept_until_no_worker_uses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        (tmp_path / f"{OVER}{1 + len(slept)}").touch()

    monkeypatch.setattr(runner.time, "sleep", sleep)
    runner._await_workers(Tasks(tmp_path))
    assert len(slept) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{OVER}2", f"{OVER}3"]
