"""Who lives, by the file that it touches, and by looks at that from elsewhere."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from parfocal.compute import presence
from parfocal.compute.presence import STALL_S, Looks, Presence, read_presence
from parfocal.core.processes import DEAD_AFTER_S, HEARTBEAT_S, this_process
from parfocal.core.publish import write_json

BOUND_S = 20.0
FAR = {"machine": "elsewhere"}


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def gone(self, looks: Looks, seconds: float, every_s: float = 0.5) -> bool:
        """Look again and again for a while, and return what the last look told."""
        for _ in range(int(seconds / every_s)):
            self.now_s += every_s
            last = looks.gone()
        return last


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(presence, "time", SimpleNamespace(monotonic=lambda: clock.now_s))
    return clock


def leave(path: Path, touched_s: float = 0.0, **changes: object) -> Path:
    """Leave the file of a process like this one, with changes, touched at a time."""
    write_json(path, this_process() | changes)
    os.utime(path, (touched_s,) * 2)
    return path


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


def test_a_process_of_this_machine_is_seen_to_at_once(tmp_path: Path, clock: Clock) -> None:
    looks = Looks(leave(tmp_path / "x"))
    assert not clock.gone(looks, 10 * DEAD_AFTER_S)  # it lives, without a heartbeat
    leave(tmp_path / "x", process_start="1")
    assert clock.gone(looks, 0.5)
    assert looks.process == f"process {os.getpid()} on {this_process()['host']}"
    (tmp_path / "x").unlink()  # nor does an outage hide its end
    assert clock.gone(looks, 0.5)


def test_one_of_another_machine_is_gone_when_its_heartbeat_stays_out(
    tmp_path: Path, clock: Clock
) -> None:
    looks = Looks(leave(tmp_path / "x", **FAR))
    assert not clock.gone(looks, DEAD_AFTER_S)  # however old at the first look
    assert clock.gone(looks, 1.0)
    os.utime(tmp_path / "x", (HEARTBEAT_S,) * 2)
    assert not clock.gone(looks, DEAD_AFTER_S)


def test_one_of_another_machine_that_beats_lives(tmp_path: Path, clock: Clock) -> None:
    path = leave(tmp_path / "x", **FAR)
    looks = Looks(path)
    for beat in range(1, 40):
        os.utime(path, (-HEARTBEAT_S * beat,) * 2)  # by any clock
        assert not clock.gone(looks, HEARTBEAT_S)


def test_an_outage_makes_nobody_dead(tmp_path: Path, clock: Clock) -> None:
    path = leave(tmp_path / "x", **FAR)
    looks = Looks(path)
    assert not clock.gone(looks, HEARTBEAT_S)
    path.rename(tmp_path / "away")
    assert not clock.gone(looks, 2 * DEAD_AFTER_S)
    (tmp_path / "away").rename(path)
    assert not clock.gone(looks, 2 * HEARTBEAT_S)  # as old as before
    os.utime(path, (9.0, 9.0))
    assert not clock.gone(looks, DEAD_AFTER_S)
    assert clock.gone(looks, 1.0)


def test_a_look_that_hung_makes_nobody_dead(tmp_path: Path, clock: Clock) -> None:
    looks = Looks(leave(tmp_path / "x", **FAR))
    assert not clock.gone(looks, HEARTBEAT_S)
    clock.now_s += 2 * DEAD_AFTER_S
    assert not looks.gone()
    for _ in range(3):  # outages that no limit tells, one after another
        assert not clock.gone(looks, 3 * HEARTBEAT_S)
        clock.now_s += STALL_S + 1
        assert not looks.gone()
    assert clock.gone(looks, DEAD_AFTER_S + 1)


def test_who_has_not_come_is_not_gone(tmp_path: Path, clock: Clock) -> None:
    looks = Looks(tmp_path / "no folder" / "x")
    assert not clock.gone(looks, 2 * DEAD_AFTER_S)
    (tmp_path / "x").write_text("{half")
    assert not clock.gone(Looks(tmp_path / "x"), 2 * DEAD_AFTER_S)
