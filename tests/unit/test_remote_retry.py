"""When a server that failed is asked again, and when that is enough."""

from __future__ import annotations

import pytest

from parfocal.remote import retry
from parfocal.remote.faults import Fault
from parfocal.remote.retry import Retry, Tries

AWAY = Fault("the connection failed or broke off", away=True)
WRONG = Fault("more came than was announced", restart=True)
REFUSED = Fault("status 401", 401, retried=False)
RETRY = Retry(attempts=3, patience_s=100)


class Clock:
    """A clock that is set."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(retry, "time", clock)
    return clock


def test_a_server_that_never_delivered_is_asked_a_few_times(clock: Clock) -> None:
    tries = Tries(RETRY)
    assert [tries.again(AWAY, None) for _ in range(3)] == [True, True, False]
    assert tries.count == 3


def test_one_that_delivered_and_is_silent_is_asked_until_patience_ends(clock: Clock) -> None:
    tries = Tries(RETRY)
    for _ in range(10):
        assert tries.again(AWAY, 999.0)
        clock.now += 9.9
    clock.now += 1.1
    assert not tries.again(AWAY, 999.0)


def test_one_that_delivers_to_others_is_there_and_asked_a_few_times(clock: Clock) -> None:
    tries = Tries(RETRY)
    found = []
    for _ in range(3):
        found.append(tries.again(AWAY, clock.now - 0.5))
        clock.now += 1
    assert found == [True, True, False]


def test_one_that_came_back_is_asked_anew(clock: Clock) -> None:
    tries = Tries(RETRY)
    assert tries.again(AWAY, 999.0)
    clock.now += 60
    assert tries.again(AWAY, 999.0)
    clock.now += 60  # it has come back meanwhile, and goes away again
    assert tries.again(AWAY, clock.now - 1)
    clock.now += 99
    assert tries.again(AWAY, clock.now - 100)


def test_what_gets_on_is_asked_on(clock: Clock) -> None:
    tries = Tries(RETRY)
    for received in range(1, 20):
        clock.now += 1
        assert tries.again(AWAY, clock.now - 0.5, received)
        assert tries.in_row == 1
    assert tries.count == 19
    for expected in (True, False):
        clock.now += 1
        assert tries.again(AWAY, clock.now - 0.5, 19) is expected


def test_to_begin_again_and_again_is_not_to_get_on(clock: Clock) -> None:
    tries = Tries(RETRY)
    assert tries.again(AWAY, 999.0, 10)
    assert tries.again(WRONG, 999.0, 10)
    assert not tries.again(WRONG, 999.0, 10)


def test_a_refusal_is_final(clock: Clock) -> None:
    assert not Tries(RETRY).again(REFUSED, 999.0)
