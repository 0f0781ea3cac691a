"""Two that apply one plan at once: the second waits for the first, and finds nothing to do."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.omero.server.control import Control

from annotating import Desk, numbers_in
from omero_state import held

HELD_S = 200.0
"""How long the server keeps the first one waiting, unless the test lets it go on."""


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_second_waits_and_changes_nothing(
    start: Callable[..., subprocess.Popen[bytes]],
    target: str,
    faults: Control,
    root: Any,
    tmp_path: Path,
) -> None:
    before = held(root)
    desk = Desk(tmp_path / "results")
    desk.targets[target] = desk.everything(target)
    desk.write_plan()

    def apply(name: str) -> subprocess.Popen[bytes]:
        ports = ("--results", desk.folder, "--plan", desk.plan)
        return start("apply-annotations", *ports, "--receipt", tmp_path / name, log=name)

    rule = faults.delay("Table", "addData", HELD_S)
    first = apply("first")
    wait_for(lambda: faults.seen(rule) == 1)
    since = faults.last()
    second = apply("second")
    log = tmp_path / "second.log"
    wait_for(lambda: "Waiting for another writer" in log.read_text("utf-8"))
    assert desk.journal().name in log.read_text("utf-8")
    assert (first.poll(), second.poll()) == (None, None)
    assert faults.journal("Router", "createSession", since) == []  # it has not even logged in
    faults.reset()
    assert (first.wait(120), second.wait(120)) == (0, 0)

    count = len(desk.targets[target])
    told = [json.loads((tmp_path / name).read_text("utf-8")) for name in ("first", "second")]
    assert [numbers_in(each, target) for each in told] == [(count, 0, 0, 0), (0, 0, count, 0)]
    desk.verify()
    desk.revert()
    assert held(root) == before
