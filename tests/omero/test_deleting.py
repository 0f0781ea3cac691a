"""What is deleted is gone once, also where the answer is lost or somebody else is quicker."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import Ice
import pytest
from omero.callbacks import CmdCallbackI
from tests.omero.server.control import Control

from annotating import Desk
from omero_objects import projection, save, tag
from omero_state import held
from parfocal.errors import AccessError
from parfocal.omero import deleting
from parfocal.omero.connection import Connection
from parfocal.omero.deleting import delete_objects

LOST = [("*", "submit", "before"), ("*", "Delete2", "before"), ("*", "Delete2", "after")]
"""Where the connection breaks off: at the call, before the work, and after it."""


def tags(gateway: Any, count: int = 3) -> list[int]:
    """Make tags; return their ids."""
    return [save(gateway, tag(f"tag {number}")).id.val for number in range(count)]


def left(gateway: Any, ids: list[int]) -> list[int]:
    """Return which of some tags are there."""
    return projection(gateway, "select a.id from TagAnnotation a where a.id in (:ids)", ids=ids)


@pytest.mark.parametrize(("service", "method", "when"), LOST)
def test_an_answer_that_is_lost_is_not_taken_for_a_refusal(
    connection: Connection, alice: Any, faults: Control, service: str, method: str, when: str
) -> None:
    ids = tags(alice)
    rule = faults.drop(service, method, when=when)
    connection.call(partial(delete_objects, kind="TagAnnotation", ids=ids))
    assert faults.seen(rule) >= 1
    assert left(alice, ids) == []


@pytest.mark.parametrize("quicker", [1, 3])
def test_what_somebody_else_deletes_meanwhile_does_not_matter(
    connection: Connection, alice: Any, monkeypatch: pytest.MonkeyPatch, quicker: int
) -> None:
    ids = tags(alice)
    ask, going = deleting.still_there, ids[:quicker]

    def ask_and_be_late(*args: Any) -> list[int]:
        found = ask(*args)
        while going:
            alice.deleteObjects("TagAnnotation", [going.pop()], wait=True)
        return found

    monkeypatch.setattr(deleting, "still_there", ask_and_be_late)
    connection.call(partial(delete_objects, kind="TagAnnotation", ids=ids))
    assert left(alice, ids) == []


def test_a_refusal_is_told_at_once(
    connection: Connection, alice: Any, gateway: Any, faults: Control
) -> None:
    ids, theirs = tags(alice), tags(gateway("bob", group="readonly"))
    since = faults.last()
    with pytest.raises(AccessError, match="does not allow") as caught:
        connection.call(partial(delete_objects, kind="TagAnnotation", ids=[*ids, *theirs]))
    assert caught.value.where == connection.server.uri
    assert caught.value.remedy
    assert sorted(left(alice, [*ids, *theirs])) == sorted([*ids, *theirs])
    assert len(faults.journal("Command", "Delete2", since)) == 1


def test_nothing_to_delete_asks_nothing(connection: Connection, faults: Control) -> None:
    connection.session.ping()
    since = faults.last()
    connection.call(partial(delete_objects, kind="TagAnnotation", ids=[]))
    assert faults.journal("Command", "*", since) == []


@pytest.mark.parametrize("nth", range(1, 7))
def test_a_revert_whose_answers_are_lost_ends_well(
    target: str, tmp_path: Path, root: Any, faults: Control, nth: int
) -> None:
    desk = Desk(tmp_path / "results")
    desk.targets[target] = desk.everything(target)
    before = held(root)
    desk.apply()
    rule = faults.drop("Command", "Delete2", nth=nth, when="after")
    assert desk.revert()["targets"] == {target: {"removed": 11, "kept": 0}}
    assert faults.seen(rule) >= nth
    assert held(root) == before


def test_a_deletion_whose_end_is_not_told_is_asked_for(
    connection: Connection, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = tags(alice)
    finished = CmdCallbackI.finished

    def by_poll_alone(self: Any, response: Any, status: Any, current: Any = None) -> None:
        if current is None:
            finished(self, response, status)

    monkeypatch.setattr(CmdCallbackI, "finished", by_poll_alone)
    monkeypatch.setattr(CmdCallbackI, "initialPoll", lambda self, foreground_poll=False: None)
    connection.call(partial(delete_objects, kind="TagAnnotation", ids=ids))
    assert left(alice, ids) == []


def test_a_deletion_whose_connection_is_lost_while_it_waits_is_done_again(
    connection: Connection, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = tags(alice)
    asked: list[bool] = []

    def lose_once(self: Any) -> None:
        asked.append(True)
        raise Ice.ConnectionLostException(0)

    monkeypatch.setattr(CmdCallbackI, "finished", lambda self, *told: None)
    monkeypatch.setattr(CmdCallbackI, "initialPoll", lambda self, foreground_poll=False: None)
    monkeypatch.setattr(CmdCallbackI, "poll", lose_once)
    connection.call(partial(delete_objects, kind="TagAnnotation", ids=ids))
    assert asked == [True]
    assert left(alice, ids) == []
