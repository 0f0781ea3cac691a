"""Annotations whose writing was broken off anywhere: what the next call makes of them.

A few calls of each kind are spoiled; with ``PARFOCAL_TEST_EVERY_CALL`` set, each call is, one
after the other, which takes longer than tests may otherwise.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from annotating import Desk
from omero_state import contents, held
from parfocal.errors import ParfocalError

WAIT_S = 60
PRELOADED = ["omero.gateway", "omero.grid", "pyarrow.parquet", "annotating"]
PRELOADED += ["parfocal.omero.connection", "parfocal.omero.annotate.apply"]
SAMPLES = 4
EVERY_CALL = bool(os.environ.get("PARFOCAL_TEST_EVERY_CALL"))
EVERY_CALL_TIMEOUT_S = 7200
WRITES = ("IUpdate", "IPixels", "RawFileStore", "RawPixelsStore", "Table", "SharedResources")

if EVERY_CALL:
    pytestmark = pytest.mark.timeout(EVERY_CALL_TIMEOUT_S)


@pytest.fixture(scope="module")
def processes() -> Any:
    """Processes that start at once, with nothing of this one's connections."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


@pytest.fixture
def desk(target: str, tmp_path: Path) -> Desk:
    """A plan with an entry of every kind for one image."""
    made = Desk(tmp_path / "results")
    made.targets[target] = made.everything(target)
    return made


def sampled(count: int) -> Iterator[int]:
    """Yield the numbers of calls to spoil, of as many as there are."""
    step = 1 if EVERY_CALL else max(1, count // SAMPLES)
    # Those that are left out are others in each place where this is used.
    yield from range(1 + count % step, count + 1, step)


def calls_of(faults: Any, work: Callable[[], Any]) -> list[dict[str, Any]]:
    """Return the calls that some work makes."""
    last = faults.last()
    work()
    return faults.journal(since=last)


def work_quietly(desk: Desk, what: str) -> None:
    """Do a step in a process of its own."""
    warnings.simplefilter("ignore")
    logging.disable()
    getattr(desk, what)()


def kill_at(processes: Any, faults: Any, desk: Desk, what: str, n: int) -> bool:
    """Kill a step while the answer to its n-th call is under way; tell whether it came to that."""
    rule = faults.delay("*", "*", 0.5, nth=n, when="after")
    process = processes.Process(target=work_quietly, args=(desk, what))
    process.start()
    end = time.monotonic() + WAIT_S
    while process.is_alive() and faults.seen(rule) < n:
        assert time.monotonic() < end
        time.sleep(0.005)
    killed = process.is_alive()
    process.kill()
    process.join(WAIT_S)
    faults.reset()
    return killed


def test_a_kill_at_any_call_of_apply_is_made_good(processes, faults, desk, root) -> None:
    before = held(root)
    calls = len(calls_of(faults, desk.apply))
    whole = contents(root, before)
    desk.revert()
    killed = 0
    for n in sampled(calls + 3):  # a process of its own logs in besides
        killed += kill_at(processes, faults, desk, "apply", n)
        desk.apply()
        assert contents(root, before) == whole, f"killed at call {n}"
        desk.verify()
        desk.revert()
        assert held(root) == before, f"killed at call {n}"
    assert killed >= min(calls, SAMPLES) - 1


def test_a_kill_at_any_call_of_a_changed_plan_is_made_good(processes, faults, desk, root) -> None:
    before = held(root)
    (target,) = desk.targets
    plans = desk.everything(target), desk.everything(target, said="second")[1:]
    desk.apply()
    desk.targets[target] = plans[1]
    calls = len(calls_of(faults, desk.apply))
    whole = contents(root, before)
    for n in sampled(calls + 3):
        desk.targets[target] = plans[0]
        desk.apply()
        desk.targets[target] = plans[1]
        kill_at(processes, faults, desk, "apply", n)
        desk.apply()
        assert contents(root, before) == whole, f"killed at call {n}"
    desk.revert()
    assert held(root) == before


def test_a_kill_at_any_call_of_revert_is_made_good(processes, faults, desk, root) -> None:
    before = held(root)
    desk.apply()
    calls = len(calls_of(faults, desk.revert))
    for n in sampled(calls + 3):
        desk.apply()
        kill_at(processes, faults, desk, "revert", n)
        desk.revert()
        assert held(root) == before, f"killed at call {n}"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("fault", ["drop", "kill_at"])
def test_a_lost_connection_or_session_is_outlived(fault, when, faults, desk, root) -> None:
    before = held(root)
    calls = len(calls_of(faults, desk.apply))
    whole = contents(root, before)
    desk.revert()
    for n in sampled(calls - 3):  # without the login
        getattr(faults, fault)("*", "*", nth=n, when=when)
        desk.apply()
        faults.reset()
        assert contents(root, before) == whole, f"{fault} {when} call {n}"
        desk.revert()
        assert held(root) == before, f"{fault} {when} call {n}"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("error", ["ResourceError", "OptimisticLockException", "SecurityViolation"])
def test_what_the_server_refuses_is_undone_at_once(error, when, faults, desk, root) -> None:
    before = held(root)
    calls = calls_of(faults, desk.apply)
    whole = contents(root, before)
    desk.revert()
    # What a service says when it is closed is not listened to: all is saved by then.
    numbers = [call for call in calls if call["service"] in WRITES and call["method"] != "close"]
    for place in sampled(len(numbers)):
        call = numbers[place - 1]
        nth = 1 + sum(
            (each["service"], each["method"]) == (call["service"], call["method"])
            for each in numbers[: place - 1]
        )
        faults.refuse(call["service"], call["method"], error, nth=nth, times=100, when=when)
        with pytest.raises(ParfocalError):
            desk.apply()
        told = f"{call['service']}.{call['method']} {nth}"
        faults.reset()
        assert held(root) == before, told
        desk.apply()
        assert contents(root, before) == whole, told
        desk.revert()


@pytest.mark.parametrize("service", ["RawFileStore", "RawPixelsStore", "Table"])
def test_a_service_that_cannot_be_closed_leaves_no_half(service, faults, desk, root) -> None:
    before = held(root)
    desk.apply()
    whole = contents(root, before)
    desk.revert()
    faults.refuse(service, "close", "ResourceError", times=100)
    try:
        desk.apply()
    except ParfocalError:
        assert held(root) == before
        faults.reset()
        desk.apply()
    faults.reset()
    assert contents(root, before) == whole
    desk.revert()
    assert held(root) == before
