import json
import logging
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import SimpleNamespace

import pytest

from parfocal.core import lease as lease_module
from parfocal.core.lease import SURE_AFTER_S, Lease
from parfocal.core.processes import process_start
from parfocal.errors import LeaseLostError, StorageError
from unit.toy_runs import names


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(lease_module, "POLL_S", 0.01)
    monkeypatch.setattr(lease_module, "SURE_AFTER_S", 0.0)


@pytest.fixture
def final(tmp_path):
    return tmp_path / "a b [1] $x.ome.zarr"


def holder(**changes):
    """Return what a living lease of this process would say, with changes."""
    own = json.loads(Lease(lease_module.Path("x"))._content())
    return own | {"token": "0123456789ab"} | changes


def plant(final, content, age_s=0.0):
    path = Lease(final).path
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    os.utime(path, (time.time() - age_s,) * 2)


def taken(final, wait_s=0.1):
    try:
        with Lease(final, wait_s=wait_s):
            return True
    except StorageError:
        return False


def test_a_lease_is_there_while_it_is_held_and_gone_afterwards(final, tmp_path) -> None:
    with Lease(final, job="17") as lease:
        content = json.loads(lease.path.read_text())
        assert content["pid"] == os.getpid()
        assert content["job"] == "17"
        assert names(tmp_path) == [lease.path.name]
        lease.check()
    assert names(tmp_path) == []


def test_a_lease_is_given_back_when_the_work_fails(final, tmp_path) -> None:
    with pytest.raises(KeyError), Lease(final):
        raise KeyError
    assert names(tmp_path) == []


def test_one_writer_at_a_time(final, tmp_path) -> None:
    inside = []

    def work(number):
        with Lease(final, wait_s=30):
            inside.append(number)
            assert len(inside) == 1
            time.sleep(0.01)
            inside.remove(number)
        return number

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(work, range(6))) == list(range(6))
    assert names(tmp_path) == []


def test_who_waits_too_long_is_told_who_holds_it(final) -> None:
    with (
        Lease(final, job="holder-17"),
        pytest.raises(StorageError) as caught,
        Lease(final, wait_s=0),
    ):
        pass
    assert "holder-17" in str(caught.value)
    assert str(final) in str(caught.value)


def test_a_living_holder_is_not_robbed_however_old_its_lease(final) -> None:
    plant(final, holder(), age_s=1e6)
    assert not taken(final)


def test_a_dead_process_of_this_machine_is_taken_over_at_once(final, caplog) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    plant(final, holder(pid=gone.pid))
    with caplog.at_level(logging.WARNING):
        assert taken(final)
    assert "Took over" in caplog.text


def test_a_process_that_nobody_waited_for_is_dead(final) -> None:
    zombie = os.posix_spawn("/bin/true", ["true"], {})
    start = process_start(zombie)
    os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
    try:
        plant(final, holder(pid=zombie, process_start=start))
        assert taken(final)
    finally:
        os.waitpid(zombie, 0)


def test_another_process_with_the_same_number_is_not_the_holder(final) -> None:
    plant(final, holder(process_start="1"))
    assert taken(final)


def test_a_holder_on_another_machine_lives_by_its_heartbeat(final) -> None:
    plant(final, holder(machine="elsewhere", pid=1), age_s=lease_module.DEAD_AFTER_S - 20)
    assert not taken(final)
    plant(final, holder(machine="elsewhere", pid=1), age_s=lease_module.DEAD_AFTER_S + 1)
    assert taken(final)


@pytest.mark.parametrize("content", ["", "{", "[1]", "{}"])
def test_a_damaged_lease_is_taken_over_when_it_is_old(final, content) -> None:
    plant(final, content)
    assert not taken(final)
    plant(final, content, age_s=lease_module.DEAD_AFTER_S + 1)
    assert taken(final)


def test_age_goes_by_the_clock_of_the_file_system(final, monkeypatch) -> None:
    plant(final, holder(machine="elsewhere"))
    monkeypatch.setattr(lease_module.time, "time", lambda: 4e9)
    assert not taken(final)


def test_the_heart_beats(final, monkeypatch) -> None:
    monkeypatch.setattr(lease_module, "HEARTBEAT_S", 0.01)
    with Lease(final) as lease:
        os.utime(lease.path, (1, 1))
        deadline = time.monotonic() + 10
        while lease.path.stat().st_mtime < 1e9:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_holder_that_lost_its_lease_finds_out_and_leaves_the_new_one(final) -> None:
    with Lease(final) as lease:
        plant(final, holder())
        with pytest.raises(LeaseLostError) as caught:
            lease.check()
        assert "0123456789ab" in str(caught.value)
    assert json.loads(lease.path.read_text())["token"] == "0123456789ab"


@pytest.mark.parametrize("content", [None, "", "{", b"\xff", "[1]"])
def test_a_lease_that_vanished_or_was_damaged_is_lost_to_nobody_known(final, content) -> None:
    with Lease(final) as lease:
        if content is None:
            lease.path.unlink()
        else:
            lease.path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(LeaseLostError, match="removed or damaged") as caught:
            lease.check()
    assert caught.value.where == lease.path
    assert "Run again" in caught.value.remedy


@pytest.mark.parametrize("place", ["lease", "folder"])
def test_in_an_outage_nobody_is_said_to_have_taken_over(tmp_path, place) -> None:
    final = tmp_path / "shared" / "out"
    with Lease(final) as lease:
        gone = lease.path if place == "lease" else lease.path.parent
        away = gone.rename(tmp_path / "away")
        if place == "lease":
            gone.mkdir()  # reading it is an error, as from a file system that does not answer
        with pytest.raises(StorageError, match="cannot be read") as caught:
            lease.check()
        assert caught.value.where == lease.path
        assert isinstance(caught.value.found, OSError)
        assert "there again" in caught.value.remedy
        if place == "lease":
            gone.rmdir()
        away.rename(gone)
        lease.check()


def test_the_heart_does_not_beat_for_another_holder(final, monkeypatch) -> None:
    monkeypatch.setattr(lease_module, "HEARTBEAT_S", 0.01)
    with Lease(final) as lease:
        plant(final, holder(), age_s=1000)
        before = lease.path.stat().st_mtime
        time.sleep(0.1)
        assert lease.path.stat().st_mtime == before


def test_a_guard_keeps_a_second_rescuer_out_until_it_is_stale(final, tmp_path) -> None:
    dead = holder(machine="elsewhere")
    plant(final, dead, age_s=1000)
    guard = tmp_path / f".{final.name}.lease.{dead['token']}.dead"
    guard.touch()
    assert not taken(final)
    os.utime(guard, (time.time() - lease_module.DEAD_AFTER_S - 1,) * 2)
    assert taken(final)
    assert names(tmp_path) == []


RESCUE = """
import sys, time
from pathlib import Path
from parfocal.core import lease as module
from parfocal.core.lease import Lease
from parfocal.core.processes import process_start
module.SURE_AFTER_S = 0.0
print("ready", flush=True)
sys.stdin.read()
with Lease(Path(sys.argv[1]), wait_s=30) as lease:
    start = time.monotonic()
    time.sleep(0.05)
    lease.check()
    print(start, time.monotonic())
"""


def test_of_many_rescuers_one_at_a_time_gets_a_dead_lease(final) -> None:
    plant(final, holder(machine="elsewhere"), age_s=1000)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", RESCUE, str(final)]
    rescuers = [subprocess.Popen(command, **pipes) for _ in range(4)]
    for rescuer in rescuers:
        assert rescuer.stdout.readline() == "ready\n"
    for rescuer in rescuers:
        rescuer.stdin.close()
    spans = []
    for rescuer in rescuers:
        with rescuer.stdout:
            spans.append([float(word) for word in rescuer.stdout.read().split()])
        assert rescuer.wait(30) == 0
    spans.sort()
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that goes on when it is told to."""
    clock = SimpleNamespace(now_s=1000.0)
    told = SimpleNamespace(monotonic=lambda: clock.now_s)
    monkeypatch.setattr(lease_module, "time", told)
    monkeypatch.setattr(lease_module, "SURE_AFTER_S", SURE_AFTER_S)
    return clock


def looks(lease, clock, seconds):
    """Let a second writer look every second for a while, and return whether it took the lease."""
    for _ in range(int(seconds)):
        clock.now_s += 1.0
        if lease._try():
            return True
    return False


AFTER_OUTAGE_S = lease_module.DEAD_AFTER_S + 30


def test_a_holder_that_an_outage_made_look_dead_keeps_its_lease(final, clock) -> None:
    far = holder(machine="elsewhere")
    plant(final, far, AFTER_OUTAGE_S)
    second = Lease(final)
    assert not looks(second, clock, SURE_AFTER_S)
    os.utime(second.path)  # the next heartbeat
    assert not looks(second, clock, 3 * SURE_AFTER_S)
    plant(final, far, AFTER_OUTAGE_S)
    assert not looks(second, clock, SURE_AFTER_S)  # counted anew
    assert looks(second, clock, 1)


def test_a_look_that_hung_counts_anew(final, clock) -> None:
    plant(final, holder(machine="elsewhere"), AFTER_OUTAGE_S)
    second = Lease(final)
    assert not looks(second, clock, SURE_AFTER_S)
    clock.now_s += AFTER_OUTAGE_S
    assert not looks(second, clock, SURE_AFTER_S)
    assert looks(second, clock, 1)


def test_a_lease_beats_on_after_an_outage_longer_than_its_limit(final, tmp_path, monkeypatch):
    monkeypatch.setattr(lease_module, "HEARTBEAT_S", 0.01)
    with Lease(final) as lease:
        lease.path.rename(tmp_path / "away")
        os.utime(tmp_path / "away", (1, 1))
        time.sleep(0.1)
        with pytest.raises(LeaseLostError):
            lease.check()
        (tmp_path / "away").rename(lease.path)
        lease.check()
        deadline = time.monotonic() + 10
        while lease.path.stat().st_mtime < 1e9:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert names(tmp_path) == []


@pytest.mark.parametrize("parent", ["file", "missing-below-file"])
def test_a_place_that_cannot_be_written_is_the_users_fault_and_named(tmp_path, parent) -> None:
    (tmp_path / "file").write_text("x")
    final = tmp_path / ("file" if parent == "file" else "file/deeper") / "out"
    with pytest.raises(StorageError) as caught, Lease(final):
        pass
    assert str(final.parent) in str(caught.value)
    assert caught.value.remedy
