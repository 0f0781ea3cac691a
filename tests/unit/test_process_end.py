"""What is done before a process ends."""

from __future__ import annotations

import os
import subprocess
import sys

from parfocal.core.process_end import before_end, end_process


def test_last_things_come_first_and_once() -> None:
    done: list[int] = []
    before_end(lambda: done.append(1))
    before_end(lambda: done.append(2))
    end_process()
    end_process()
    assert done == [2, 1]


def test_a_forked_process_leaves_to_its_parent_what_is_the_parents() -> None:
    done: list[str] = []
    before_end(lambda: done.append("parent"))
    pid = os.fork()
    if pid == 0:
        before_end(lambda: done.append("child"))
        end_process()
        os._exit(0 if done == ["child"] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    end_process()
    assert done == ["parent"]


def test_a_process_that_ends_by_itself_does_it_too() -> None:
    code = "from parfocal.core.process_end import before_end; before_end(lambda: print('done'))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "done\n"
