"""When the tasks of an allocation end: with the step, after a kill, and not before the workers."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from parfocal.compute import presence, runner
from parfocal.compute.presence import Presence, gone, read_presence
from parfocal.compute.runner import END_FILE, OVER, STEP_FILE, WORKING
from parfocal.core.processes import DEAD_AFTER_S, this_process
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


def leave(path: Path, *, age_s: float = 0.0, **changes: object) -> None:
    """Leave the file of a process like this one, with changes, touched a while ago."""
    write_json(path, this_process() | changes)
    os.utime(path, (time.time() - age_s,) * 2)


@pytest.mark.parametrize(
    ("changes", "age_s", "expected"),
    [
        ({}, 1e6, False),  # seen from here to live
        (KILLED, 0, True),
        (FAR, DEAD_AFTER_S - 20, False),
        (FAR, DEAD_AFTER_S + 5, True),
    ],
)
def test_who_is_gone_is_told_by_process_or_heartbeat(
    tmp_path: Path, changes: dict[str, str], age_s: float, expected: bool
) -> None:
    leave(tmp_path / "x", age_s=age_s, **changes)
    assert gone(tmp_path / "x") is expected


def test_who_has_not_come_is_not_gone(tmp_path: Path) -> None:
    assert not gone(tmp_path / "x")
    (tmp_path / "x").write_text("{half")
    assert not gone(tmp_path / "x")
    assert not gone(tmp_path / "no folder" / "x")


def test_a_living_process_touches_its_file_until_its_part_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "HEARTBEAT_S", 0.01)
    path = tmp_path / "x"
    with Presence(path):
        assert read_presence(path) == this_process()
        os.utime(path, (0, 0))
        deadline = time.monotonic() + BOUND_S
        while path.stat().st_mtime == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    os.utime(path, (0, 0))
    time.sleep(0.05)
    assert path.stat().st_mtime == 0


def test_workers_have_ended_in_order_by_a_kill_or_with_their_node(tmp_path: Path) -> None:
    assert runner._ended(tmp_path) == 0
    leave(tmp_path / f"{WORKING}2")
    leave(tmp_path / f"{WORKING}3", age_s=DEAD_AFTER_S - 20, **FAR)
    assert runner._ended(tmp_path) == 0
    (tmp_path / f"{OVER}2").touch()
    assert runner._ended(tmp_path) == 1
    leave(tmp_path / f"{WORKING}2", **KILLED)  # counts once
    leave(tmp_path / f"{WORKING}4", **KILLED)
    assert runner._ended(tmp_path) == 2
    leave(tmp_path / f"{WORKING}3", age_s=DEAD_AFTER_S + 5, **FAR)
    assert runner._ended(tmp_path) == 3
    (tmp_path / f"{OVER}10").touch()  # one that came when all was done
    assert runner._ended(tmp_path) == 4


def until_over(folder: Path, *workers: str) -> None:
    """Wait as the task that hands out does, with these workers connected."""
    scheduler = SimpleNamespace(workers=dict.fromkeys(workers))
    asyncio.run(asyncio.wait_for(runner._until_over(scheduler, folder), BOUND_S))


def test_all_is_over_when_the_step_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    leave(tmp_path / STEP_FILE)
    (tmp_path / END_FILE).touch()
    until_over(tmp_path)
    assert not caplog.records


@pytest.mark.parametrize(("changes", "age_s"), [(KILLED, 0), (FAR, DEAD_AFTER_S + 5)])
def test_all_is_over_when_the_step_was_killed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, str], age_s: float
) -> None:
    leave(tmp_path / STEP_FILE, age_s=age_s, **changes)
    until_over(tmp_path)
    assert (tmp_path / END_FILE).exists()
    told = f"Task 1 of job 7, the step itself, was killed or lost (process {os.getpid()} on "
    assert told in caplog.text


def test_a_step_that_never_comes_is_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "MEET_WITHIN_S", 0.1)
    until_over(tmp_path)
    assert (tmp_path / END_FILE).exists()
    assert "has not come" in caplog.text


@pytest.mark.parametrize("changes", [{}, FAR])
def test_a_step_that_lives_is_waited_for(tmp_path: Path, changes: dict[str, str]) -> None:
    leave(tmp_path / STEP_FILE, age_s=DEAD_AFTER_S - 20, **changes)
    scheduler = SimpleNamespace(workers={})
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(runner._until_over(scheduler, tmp_path), 0.3))
    assert not (tmp_path / END_FILE).exists()


def test_workers_that_have_begun_hear_of_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / END_FILE).touch()
    leave(tmp_path / f"{WORKING}2")
    leave(tmp_path / f"{WORKING}3", **KILLED)
    scheduler = SimpleNamespace(workers={})

    async def met() -> list[int]:
        waiting = asyncio.ensure_future(runner._until_over(scheduler, tmp_path))
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
    runner._await_workers(tmp_path)
    assert len(slept) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{OVER}2", f"{OVER}3"]
