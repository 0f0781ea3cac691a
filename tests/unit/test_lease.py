import errno
import json
import logging
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from parfocal.core import lease as lease_module
from parfocal.core.lease import SURE_AFTER_S, Lease
from parfocal.core.processes import process_start
from parfocal.errors import LeaseLostError, OutputExistsError, StorageError
from unit.toy_runs import names


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(lease_module, "POLL_S", 0.01)
    monkeypatch.setattr(lease_module, "SURE_AFTER_S", 0.0)


@pytest.fixture
def final(tmp_path):
    return tmp_path / "a b [1] $x.ome.zarr"


def holder(**changes):
    """Return what a living lease of another process of this machine would say, with changes."""
    own = json.loads(Lease(lease_module.Path("x"))._content())
    other = {"pid": os.getppid(), "process_start": process_start(os.getppid())}
    return own | other | {"token": "0123456789ab"} | changes


def of_this_process():
    """Return what a lease says that this process wrote, and of which it knows nothing."""
    return holder(pid=os.getpid(), process_start=process_start(os.getpid()))


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


def test_a_lease_that_this_process_let_go_of_is_taken_over_at_once(final, tmp_path, caplog):
    plant(final, of_this_process())
    with caplog.at_level(logging.WARNING), Lease(final, wait_s=0) as lease:
        lease.check()
    assert "Took over" in caplog.text
    assert names(tmp_path) == []


def break_off(monkeypatch, name, after):
    """Let the next call of a function of files fail, after it was done or before."""
    module, _, function = name.rpartition(".")
    where = {"os": os, "Path": lease_module.Path}[module]
    work = getattr(where, function)

    def fail(*args, **kwargs):
        monkeypatch.setattr(where, function, work)
        if after:
            work(*args, **kwargs)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(where, function, fail)


@pytest.mark.parametrize("name", ["os.link", "Path.unlink", "Path.write_text"])
@pytest.mark.parametrize("after", [False, True])
def test_an_outage_while_a_lease_is_taken_costs_one_attempt(
    final, tmp_path, monkeypatch, name, after
) -> None:
    break_off(monkeypatch, name, after)
    with pytest.raises(StorageError, match="cannot be written"), Lease(final):
        pass
    with Lease(final, wait_s=0) as lease:
        lease.check()
    assert not any(each.endswith(".lease") for each in names(tmp_path))


def test_a_link_that_was_made_though_it_is_said_to_be_there_is_ones_own(
    final, tmp_path, monkeypatch
) -> None:
    link = os.link

    def link_twice(*args):  # as a file system does whose first answer was lost
        link(*args)
        link(*args)

    monkeypatch.setattr(os, "link", link_twice)
    with Lease(final, wait_s=0) as lease:
        lease.check()
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["Path.unlink", "Path.read_text"])
def test_a_lease_that_cannot_be_removed_is_told_and_no_hindrance(
    final, tmp_path, monkeypatch, caplog, name
) -> None:
    with caplog.at_level(logging.WARNING), Lease(final):
        break_off(monkeypatch, name, after=False)
    assert f"The lease of {final} could not be removed: [Errno 5]" in caplog.text
    assert names(tmp_path) == [f".{final.name}.lease"]
    with Lease(final, wait_s=0):
        pass
    assert names(tmp_path) == []


def test_an_error_of_the_work_is_not_hidden_by_one_of_the_lease(final, monkeypatch) -> None:
    def work():
        with Lease(final):
            break_off(monkeypatch, "Path.unlink", after=False)
            raise KeyError

    with pytest.raises(KeyError):
        work()


def test_a_thread_that_waits_or_holds_is_not_robbed_by_another(final) -> None:
    with Lease(final), ThreadPoolExecutor(1) as pool:
        assert not pool.submit(taken, final).result()


def test_who_gave_up_waiting_holds_nothing(final) -> None:
    plant(final, holder())
    assert not taken(final)
    assert not lease_module._HELD


def test_a_forked_process_does_not_rob_the_one_that_it_came_from(final) -> None:
    with Lease(final) as lease:
        pid = os.fork()
        if pid == 0:
            robbed = True
            try:
                robbed = taken(final)
            finally:
                os._exit(int(robbed))
        assert os.waitpid(pid, 0)[1] == 0
        lease.check()


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


@pytest.mark.parametrize("path", [".", "..", "/", "a/.."])
def test_a_path_without_a_name_is_refused(path) -> None:
    with pytest.raises(OutputExistsError, match=r"path that ends in a name"):
        Lease(Path(path))
