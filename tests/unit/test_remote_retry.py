"""When a server that failed is asked again, and when that is enough."""

from __future__ import annotations

import pytest

from parfocal.remote import retry
from parfocal.remote.faults import Fault
from parfocal.remote.retry import Retry, Server, Tries, server_of

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
    tries = Tries(RETRY, Server())
    assert [tries.again(AWAY) for _ in range(3)] == [True, True, False]
    assert tries.count == 3


def test_one_that_delivered_and_is_silent_is_asked_until_patience_ends(clock: Clock) -> None:
    tries = Tries(RETRY, Server(999.0))
    for _ in range(10):
        assert tries.again(AWAY)
        clock.now += 9.9
    clock.now += 1.1
    assert not tries.again(AWAY)


def test_one_that_was_given_up_is_waited_for_no_more_until_it_delivers(clock: Clock) -> None:
    server = Server(999.0)
    first = Tries(RETRY, server)
    assert [first.again(AWAY) for _ in range(2)] == [True, True]
    clock.now += 101
    assert not first.again(AWAY)
    second = Tries(RETRY, server)
    assert [second.again(AWAY) for _ in range(3)] == [True, True, False]
    server.delivered_at = clock.now
    third = Tries(RETRY, server)
    assert [third.again(AWAY) for _ in range(9)] == [True] * 9


def test_one_that_delivers_to_others_is_there_and_asked_a_few_times(clock: Clock) -> None:
    server = Server()
    tries = Tries(RETRY, server)
    found = []
    for _ in range(3):
        server.delivered_at = clock.now - 0.5
        found.append(tries.again(AWAY))
        clock.now += 1
    assert found == [True, True, False]


def test_one_that_came_back_is_asked_anew(clock: Clock) -> None:
    server = Server(999.0)
    tries = Tries(RETRY, server)
    assert tries.again(AWAY)
    clock.now += 60
    assert tries.again(AWAY)
    clock.now += 60  # it has come back meanwhile, and goes away again
    server.delivered_at = clock.now - 1
    assert tries.again(AWAY)
    clock.now += 99
    assert tries.again(AWAY)


def test_what_gets_on_is_asked_on(clock: Clock) -> None:
    server = Server()
    tries = Tries(RETRY, server)
    for received in range(1, 20):
        clock.now += 1
        server.delivered_at = clock.now - 0.5
        assert tries.again(AWAY, received)
        assert tries.in_row == 1
    assert tries.count == 19
    for expected in (True, False):
        clock.now += 1
        server.delivered_at = clock.now - 0.5
        assert tries.again(AWAY, 19) is expected


def test_to_begin_again_and_again_is_not_to_get_on(clock: Clock) -> None:
    tries = Tries(RETRY, Server(999.0))
    assert tries.again(AWAY, 10)
    assert tries.again(WRONG, 10)
    assert not tries.again(WRONG, 10)


def test_a_refusal_is_final_and_says_nothing_of_the_server(clock: Clock) -> None:
    server = Server(999.0)
    assert not Tries(RETRY, server).again(REFUSED)
    assert server.delivered_at == 999.0


def test_what_is_known_of_a_server_counts_for_the_whole_process() -> None:
    assert server_of("one.example.org") is server_of("one.example.org")
    assert server_of("one.example.org") is not server_of("two.example.org")
