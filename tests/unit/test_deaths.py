"""Why workers die, by their exit codes and the counts of the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from parfocal.engine.deaths import explain_death
from parfocal.engine.oom_kills import count_oom_kills


@pytest.mark.parametrize(
    ("code", "before", "after", "again", "told"),
    [
        (-9, 3, 4, "memory", "because memory ran out"),
        (-9, 3, 3, "killed", "saw no lack of memory"),
        (-9, None, None, "memory", "most often because memory ran out"),
        (-15, 0, 0, "killed", "SIGTERM"),
        (-11, 0, 1, None, "SIGSEGV"),
        (-7, 0, 0, None, "SIGBUS: a file could not be read"),
        (7, 0, 0, None, "exit code 7"),
    ],
)
def test_who_was_killed_may_live_longer_who_crashed_will_not(
    code, before, after, again, told
) -> None:
    death = explain_death(code, before, after)
    assert death.again == again
    assert told in death.text
    assert death.code == (128 - code if code < 0 else code)


@pytest.mark.parametrize(
    ("group", "counter"),
    [
        ("0::/slurm/job_7/step", "slurm/job_7/step/memory.events"),
        ("4:memory:/slurm/job_7\n0::/", "memory/slurm/job_7/memory.oom_control"),
    ],
)
def test_kills_are_counted_in_the_own_control_group(tmp_path: Path, group, counter) -> None:
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "self/cgroup").write_text(f"{group}\n")
    (proc / "vmstat").write_text("nr_free 5\noom_kill 40\n")
    assert count_oom_kills(proc, cgroups) == 40  # no such group: the whole machine
    path = cgroups / counter
    path.parent.mkdir(parents=True)
    path.write_text("oom_kill_disable 0\noom_kill 2\n")
    assert count_oom_kills(proc, cgroups) == 2


def test_where_the_kernel_does_not_tell_nothing_is_known(tmp_path: Path) -> None:
    assert count_oom_kills(tmp_path, tmp_path) is None


def test_this_kernel_tells() -> None:
    count = count_oom_kills()
    assert count is None or count >= 0
