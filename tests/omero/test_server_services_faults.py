"""The test server fails as it is told to, and tells what was called."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ezomero
import Ice
import numpy as np
import omero
import omero.cmd
import omero.grid
import omero.model
import pytest
from tests.omero.server.control import Control, ControlError

Gateways = Callable[..., Any]


def save(gateway: Any, name: str = "a tag") -> int:
    """Return the id of a new tag."""
    tag = omero.model.TagAnnotationI()
    tag.textValue = omero.rtypes.rstring(name)
    return int(gateway.getUpdateService().saveAndReturnObject(tag).id.val)


def tags(gateway: Any, name: str) -> int:
    """Return how many tags there are of a name."""
    query = f"select count(t) from TagAnnotation t where t.textValue = '{name}'"
    return int(gateway.getQueryService().projection(query, None)[0][0].val)


def test_the_nth_call_is_refused(alice: Any, faults: Control) -> None:
    rule = faults.refuse("IUpdate", "saveAndReturn*", "ConcurrencyException", nth=2, message="busy")
    save(alice, "refused once")
    with pytest.raises(omero.ConcurrencyException, match="busy"):
        save(alice, "refused once")
    save(alice, "refused once")
    assert tags(alice, "refused once") == 2
    assert faults.seen(rule) == 3


def test_several_calls_in_a_row_are_refused(alice: Any, faults: Control) -> None:
    faults.refuse("IQuery", "projection", "DatabaseBusyException", times=2)
    for _ in range(2):
        with pytest.raises(omero.DatabaseBusyException):
            tags(alice, "none")
    assert tags(alice, "none") == 0


def test_an_answer_is_refused_after_the_work_is_done(alice: Any, faults: Control) -> None:
    faults.refuse("IUpdate", "*", "InternalException", when="after")
    with pytest.raises(omero.InternalException):
        save(alice, "done nevertheless")
    assert tags(alice, "done nevertheless") == 1


@pytest.mark.parametrize(("when", "kept"), [("before", 0), ("after", 1)])
def test_the_connection_is_dropped(
    gateway: Gateways, alice: Any, faults: Control, when: str, kept: int
) -> None:
    name = f"dropped {when}"
    faults.drop("IUpdate", "saveAndReturnObject", when=when)
    lost = gateway("bob")
    with pytest.raises(Ice.ConnectionLostException):
        save_unrepeated(lost, name)
    assert tags(alice, name) == kept


def save_unrepeated(gateway: Any, name: str) -> None:
    """Save without the gateway's own handling of what is lost."""
    tag = omero.model.TagAnnotationI()
    tag.textValue = omero.rtypes.rstring(name)
    gateway.c.sf.getUpdateService().saveAndReturnObject(tag)


def test_an_answer_is_late(alice: Any, faults: Control) -> None:
    faults.delay("IQuery", "projection", seconds=0.4)
    started = time.monotonic()
    tags(alice, "none")
    assert time.monotonic() - started >= 0.4


def test_a_late_answer_comes_at_a_reset(alice: Any, faults: Control) -> None:
    rule = faults.delay("IUpdate", "saveAndReturnObject", seconds=600)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(save, alice, "held back")
        deadline = time.monotonic() + 30
        while not faults.seen(rule) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not late.done()
        faults.reset()
        assert late.result(timeout=30)


def test_a_session_is_killed_at_a_call(gateway: Gateways, faults: Control) -> None:
    carol = gateway("carol")
    query = carol.c.sf.getQueryService()
    faults.kill_at("IQuery", "projection")
    with pytest.raises((omero.SessionException, Ice.ObjectNotExistException)):
        query.projection("select count(t) from TagAnnotation t", None)
    assert not [one for one in faults.sessions() if one["user"] == "carol"]


def test_sessions_are_told_and_killed(gateway: Gateways, faults: Control) -> None:
    carol = gateway("carol")
    key = carol.c.getSessionId()
    assert {"session": key, "user": "carol"} in faults.sessions()
    assert faults.kill(session=key) == 1
    with pytest.raises((omero.SessionException, Ice.Exception)):
        carol.c.sf.getQueryService().projection("select count(t) from TagAnnotation t", None)
    assert faults.kill(user="nobody") == 0


def test_logins_are_refused(gateway: Gateways, faults: Control) -> None:
    faults.refuse("Router", "createSession", "CannotCreateSessionException", times=1000)
    with pytest.raises(RuntimeError):
        gateway("bob")
    faults.reset()
    assert gateway("bob").getUserId()


def test_silence_ends(alice: Any, faults: Control) -> None:
    faults.be_silent(0.5)
    started = time.monotonic()
    tags(alice, "none")
    assert time.monotonic() - started >= 0.4


def test_silence_is_ended_by_a_reset(alice: Any, faults: Control) -> None:
    faults.be_silent(600)
    faults.reset()
    assert tags(alice, "none") == 0


def test_a_server_that_is_away_drops_everyone(gateway: Gateways, faults: Control) -> None:
    bob = gateway("bob")
    query = bob.c.sf.getQueryService()
    faults.be_away(600)
    with pytest.raises(Ice.ConnectionLostException):
        query.projection("select count(t) from TagAnnotation t", None)
    with pytest.raises((RuntimeError, Ice.Exception)):
        gateway("carol")
    faults.reset()
    assert gateway("carol").getUserId()


def test_a_full_disk_takes_no_pixels_and_no_files(
    alice: Any, faults: Control, tmp_path: Path
) -> None:
    plane = np.ones((8, 8), "uint8")
    (tmp_path / "file").write_bytes(b"x" * 100)
    faults.fill_disk(100)
    alice.createImageFromNumpySeq(iter([plane]), "fits")
    with pytest.raises(omero.ResourceError, match="No space left"):
        alice.createImageFromNumpySeq(iter([plane]), "does not fit")
    with pytest.raises(omero.ResourceError, match="No space left"):
        alice.createFileAnnfromLocalFile(str(tmp_path / "file"))
    faults.reset()
    alice.createImageFromNumpySeq(iter([plane]), "fits again")


def test_a_full_disk_takes_no_rows(alice: Any, faults: Control) -> None:
    resources = alice.c.sf.sharedResources()
    table = resources.newTable(1, "full")
    table.initialize([omero.grid.LongColumn("n", "", [])])
    faults.fill_disk()
    with pytest.raises(omero.InternalException, match="records"):
        table.addData([omero.grid.LongColumn("n", "", [1, 2, 3])])
    faults.reset()
    table.addData([omero.grid.LongColumn("n", "", [1, 2, 3])])
    assert table.getNumberOfRows() == 3
    table.close()


@pytest.mark.parametrize("operation", ["addData", "initialize", "read"])
def test_tables_are_refused(alice: Any, faults: Control, operation: str) -> None:
    faults.refuse("Table", operation, "ConcurrentModification")
    table = alice.c.sf.sharedResources().newTable(1, "refused")
    columns = [omero.grid.LongColumn("n", "", [1])]

    def work() -> None:
        table.initialize(columns)
        table.addData(columns)
        table.read([0], 0, 1)

    with pytest.raises(omero.ConcurrentModification):
        work()
    table.close()


def test_commands_are_refused(alice: Any, faults: Control) -> None:
    dataset = ezomero.post_dataset(alice, "not deleted")
    faults.refuse("Command", "Delete2", "DatabaseBusyException")
    with pytest.raises(omero.CmdError):
        alice.deleteObjects("Dataset", [dataset], wait=True)
    assert alice.getObject("Dataset", dataset) is not None
    alice.deleteObjects("Dataset", [dataset], wait=True)
    assert alice.getObject("Dataset", dataset) is None


def test_tiles_are_refused_while_others_are_read(alice: Any, faults: Control) -> None:
    image = alice.createImageFromNumpySeq(iter([np.ones((8, 8), "uint8")]), "tiles")
    store = alice.c.sf.createRawPixelsStore()
    store.setPixelsId(image.getPixelsId(), True)
    faults.refuse("RawPixelsStore", "getTile", "ResourceError", nth=2)
    assert store.getTile(0, 0, 0, 0, 0, 1, 1) == b"\1"
    with pytest.raises(omero.ResourceError):
        store.getTile(0, 0, 0, 0, 0, 1, 1)
    assert store.getTile(0, 0, 0, 0, 0, 1, 1) == b"\1"
    store.close()


def test_the_journal_tells_every_call(alice: Any, faults: Control) -> None:
    last = faults.last()
    save(alice, "journal")
    save(alice, "journal")
    calls = faults.journal("IUpdate", since=last)
    assert [call["method"] for call in calls] == ["saveAndReturnObject"] * 2
    assert calls[0]["n"] < calls[1]["n"]
    assert {call["session"] for call in calls} == {alice.c.getSessionId()}
    assert faults.journal("IUpdate", since=calls[1]["n"]) == []


def test_rules_that_nothing_can_meet_are_refused(faults: Control) -> None:
    with pytest.raises(ControlError, match="NoSuchException"):
        faults.refuse("*", "*", "NoSuchException")
    with pytest.raises(ControlError, match="unknown: color"):
        faults.drop("*", "*", color="red")
    with pytest.raises(ControlError, match="nth 0"):
        faults.drop("*", "*", nth=0)
    with pytest.raises(ControlError, match="AttributeError"):
        faults.ask("nonsense")
