"""What became of attempts at jobs, by what they left and what a scheduler says."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from parfocal.core.processes import this_process
from parfocal.core.publish import write_json
from parfocal.engine import job_attempt
from parfocal.engine.job_attempt import RUN_VARIABLE, Allotment, Trial, last_attempt
from parfocal.errors import ConfigurationError, RepeatedFailureError
from parfocal.models.job_attempt import JobAttempt

GONE = this_process() | {"process_start": "0"}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(RUN_VARIABLE, "run-1")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return tmp_path / "attempts" / "0.json"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that puts programs of Slurm on PATH which print what it is told."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs), prepend=":")

    def answer(**printed: str) -> None:
        for name, text in printed.items():
            script = f"#!/bin/sh\necho '{text}'\n" if text else "#!/bin/sh\nexit 1\n"
            (programs / name).write_text(script)
            (programs / name).chmod(0o755)

    return answer


def leave(path: Path, **fields: object) -> None:
    """Leave the file of an attempt that began an hour ago."""
    start = datetime.now(UTC) - timedelta(hours=1)
    attempt = JobAttempt(**({"run": "run-1", "process": GONE, "started": start} | fields))
    write_json(path, attempt.model_dump(mode="json"))


def test_an_attempt_tells_what_it_was_given_and_that_it_ended_well(path) -> None:
    with Trial(path, Allotment(1, 3, 800, 20)):
        during = last_attempt(path)
    assert during is not None
    assert during.exit_code is None
    after = last_attempt(path)
    assert after is not None
    assert (after.exit_code, after.cause, after.settled) == (0, None, True)
    assert (after.attempt, after.attempts, after.memory_mib, after.time_min) == (1, 3, 800, 20)


def test_an_error_fails_the_following_attempts_at_once_and_alike(path) -> None:
    with pytest.raises(ConfigurationError), Trial(path, Allotment(1, 3, 800, 20)):
        raise ConfigurationError("The outcome is not that of this batch")
    for attempt in (2, 3):
        with pytest.raises(RepeatedFailureError, match="not that of this batch") as caught:
            Trial(path, Allotment(attempt, 3, 400, 10)).__enter__()
        assert caught.value.exit_code == ConfigurationError.exit_code
    last = last_attempt(path)
    assert last is not None
    assert (last.attempt, last.memory_mib, last.time_min) == (3, 800, 20)  # for the next run


def test_the_next_run_tries_again_whatever_failed(path, monkeypatch) -> None:
    with pytest.raises(ConfigurationError), Trial(path, Allotment(1, 2)):
        raise ConfigurationError("wrong")
    monkeypatch.setenv(RUN_VARIABLE, "run-2")
    with Trial(path, Allotment(2, 2)):  # the first of this run never came so far
        pass
    last = last_attempt(path)
    assert last is not None
    assert last.exit_code == 0


@pytest.mark.parametrize("cause", ["memory", "time", "node", "preempted", "killed"])
def test_another_attempt_is_made_after_what_may_end_better(path, cause, caplog) -> None:
    leave(path, cause=cause, exit_code=1, settled=True, message="it was so")
    with Trial(path, Allotment(2, 3)):
        pass
    assert "Trying again: it was so" in caplog.text


@pytest.mark.parametrize(
    ("scontrol", "sacct", "cause", "told"),
    [
        ("JobId=7 JobState=OUT_OF_MEMORY Reason=x", "", "memory", "OUT_OF_MEMORY of job 7"),
        ("JobId=7 JobState=TIMEOUT Reason=x", "FAILED", "time", "TIMEOUT"),
        ("JobId=7 JobState=NODE_FAIL Reason=x", "", "node", "NODE_FAIL"),
        ("JobId=7 JobState=PREEMPTED Reason=x", "", "preempted", "PREEMPTED"),
        ("JobId=7 JobState=FAILED Reason=x", "", "killed", "FAILED"),
        ("JobId=7 JobState=FAILED DerivedExitCode=0:125", "", "memory", "OUT_OF_MEMORY"),
        ("JobId=7 JobState=CANCELLED Reason=x", "CANCELLED by 1000", "cancelled", "user 1000"),
        ("JobId=7 JobState=CANCELLED Reason=x", "CANCELLED by 0", "killed", "user 0"),
        ("JobId=7 JobState=CANCELLED Reason=x", "", "killed", "CANCELLED"),
        ("", "TIMEOUT", "time", "TIMEOUT"),
        ("", "CANCELLED by 1000", "cancelled", "user 1000"),
    ],
)
@pytest.mark.parametrize("stopped", [False, True])
def test_the_scheduler_tells_what_a_job_could_not(
    path, slurm, scontrol, sacct, cause, told, stopped
) -> None:
    slurm(scontrol=scontrol, sacct=sacct)
    end = {"ended": datetime.now(UTC), "exit_code": 143, "cause": "killed"} if stopped else {}
    leave(path, job_id="7", **end)
    last = last_attempt(path)
    assert last is not None
    assert last.cause == cause
    assert told in last.message
    slurm(scontrol="", sacct="")  # the scheduler forgets, the file does not
    assert last_attempt(path) == last


def test_who_cancels_a_second_time_means_it(path, slurm) -> None:
    slurm(scontrol="JobId=7 JobState=CANCELLED Reason=x", sacct="")
    leave(path, job_id="7", attempts=4)
    trial = Trial(path, Allotment(2, 4))
    trial.__enter__()  # tried again; and cancelled again, without a word
    leave(path, job_id="8", attempt=2, attempts=4, cancellations=1)
    with pytest.raises(RepeatedFailureError, match="second time"), Trial(path, Allotment(3, 4)):
        pass
    told = last_attempt(path)
    assert told is not None
    assert told.cause == "cancelled"


def test_how_often_jobs_were_cancelled_is_kept_within_a_run(path, slurm, monkeypatch) -> None:
    slurm(scontrol="JobId=7 JobState=CANCELLED Reason=x", sacct="")
    leave(path, job_id="7", attempts=4)
    for run, expected in (("run-1", 1), ("run-2", 0)):
        monkeypatch.setenv(RUN_VARIABLE, run)
        with Trial(path, Allotment(2, 4)):
            pass
        told = last_attempt(path)
        assert told is not None
        assert told.cancellations == expected


RUNNING = "JobId=7 JobState=RUNNING Restarts=1"
RESPONDS_NOT = "State=DOWN*+NOT_RESPONDING Reason=Not responding [slurm@2026-11-22T00:00:00]"


@pytest.mark.parametrize(
    ("node", "sacct", "told"),
    [
        (RESPONDS_NOT, "", "DOWN+NOT_RESPONDING of node n3 (Not responding)"),
        ("State=DOWN Boards=1", "", "DOWN of node n3"),
        ("State=IDLE", "NODE_FAIL\nRUNNING", "NODE_FAIL of the start before of job 7"),
        ("State=MIXED", "PREEMPTED\nRUNNING", "PREEMPTED of the start before"),
        ("State=IDLE", "", "REQUEUED of the start before of job 7 on node n3"),
    ],
)
@pytest.mark.parametrize("stopped", [False, True])
def test_why_slurm_started_a_job_once_more_is_told_and_kept(
    path, slurm, monkeypatch, caplog, node, sacct, told, stopped
) -> None:
    slurm(scontrol=f"{RUNNING} NodeName=n3 {node}", sacct=sacct)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURMD_NODENAME", "n4")
    end = {"ended": datetime.now(UTC), "exit_code": 143, "cause": "killed"} if stopped else {}
    leave(path, job_id="7", node="n3", attempts=3, **end)
    with Trial(path, Allotment(1, 3)) as trial:
        assert told in trial.broken_off
        during = last_attempt(path)
    assert f"Trying again: {trial.broken_off}" in caplog.text
    after = last_attempt(path)
    for attempt in (during, after):
        assert attempt is not None
        assert (attempt.before, attempt.node) == (trial.broken_off, "n4")
    assert after is not None
    assert (after.exit_code, after.cause) == (0, None)


def test_who_was_killed_in_a_job_that_was_started_once_was_killed(path, slurm, monkeypatch) -> None:
    slurm(scontrol="JobId=7 JobState=RUNNING Restarts=0 State=DOWN", sacct="")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    leave(path, job_id="7", node="n3")
    with Trial(path, Allotment(1, 3)) as trial:
        assert trial.broken_off == f"process {GONE['pid']} was killed"
    leave(path, job_id="7", exit_code=0, ended=datetime.now(UTC), settled=True)
    with Trial(path, Allotment(1, 3)) as trial:
        assert not trial.broken_off


def test_what_broke_an_attempt_off_is_kept_with_the_next_one_of_the_run(path, monkeypatch) -> None:
    leave(path, cause="time", exit_code=143, settled=True, message="it was so")
    with Trial(path, Allotment(2, 3)) as trial:
        assert trial.broken_off == "it was so"
    told = last_attempt(path)
    assert told is not None
    assert told.before == "it was so"
    with Trial(path, Allotment(1, 3)) as trial:  # after one that ended well
        assert not trial.broken_off
    leave(path, cause="node", exit_code=1, settled=True, message="it was so")
    monkeypatch.setenv(RUN_VARIABLE, "run-2")
    with Trial(path, Allotment(1, 3)) as trial:  # for the records that the last run left
        assert trial.broken_off == "it was so"
    told = last_attempt(path)
    assert told is not None
    assert not told.before


LACKED = {"cause": "memory", "exit_code": 1, "settled": True, "lacked_memory": {"a": "killed"}}


@pytest.mark.parametrize(
    ("attempt", "attempts", "job_id", "left_out"),
    [
        (4, 4, "7", {"a": "killed"}),
        (3, 4, "7", {}),  # another one follows
        (2, 2, "7", {}),  # the only one with more memory
        (4, 4, None, {}),  # who runs jobs without Slurm looks at exit codes
    ],
)
def test_the_last_attempt_on_slurm_leaves_out_what_lacked_memory(
    path, attempt, attempts, job_id, left_out
) -> None:
    leave(path, attempt=attempt - 1, attempts=attempts, job_id=job_id, **LACKED)
    with Trial(path, Allotment(attempt, attempts)) as trial:
        assert trial.left_out == left_out
    told = last_attempt(path)
    assert told is not None
    assert told.lacked_memory == left_out
    assert told.cause == ("memory" if left_out else None)


def test_another_run_leaves_nothing_out(path) -> None:
    leave(path, run="run-0", attempt=3, attempts=4, job_id="7", **LACKED)
    with Trial(path, Allotment(4, 4)) as trial:
        assert not trial.left_out


def test_a_job_that_lives_has_no_cause_yet(path, slurm) -> None:
    slurm(scontrol="JobId=7 JobState=RUNNING Reason=None", sacct="")
    leave(path, job_id="7")
    last = last_attempt(path)
    assert last is not None
    assert (last.cause, last.settled) == (None, False)


@pytest.mark.parametrize(("minutes", "cause"), [(61, "time"), (70, "killed"), (None, "killed")])
def test_without_a_scheduler_the_clock_tells(path, slurm, minutes, cause) -> None:
    slurm(scontrol="", sacct="")
    ended = {"ended": datetime.now(UTC), "exit_code": 143, "cause": "killed"}
    leave(path, job_id="7", time_min=minutes, message="The step was stopped by SIGTERM", **ended)
    last = last_attempt(path)
    assert last is not None
    assert last.cause == cause


def test_a_process_that_is_gone_was_killed_and_one_that_lives_is_waited_for(path) -> None:
    leave(path)
    gone = last_attempt(path)
    assert gone is not None
    assert (gone.cause, gone.settled) == ("killed", True)
    leave(path, process=this_process())
    living = last_attempt(path)
    assert living is not None
    assert (living.cause, living.settled) == (None, False)


@pytest.fixture
def be(monkeypatch: pytest.MonkeyPatch):
    """Return a function that makes this another process, in a job, whose clock is ahead."""

    def become(process: dict[str, object], job_id: str | None, ahead_s: float) -> None:
        now = SimpleNamespace(now=lambda zone: datetime.now(zone) + timedelta(seconds=ahead_s))
        monkeypatch.setattr(job_attempt, "datetime", now)
        monkeypatch.setattr(job_attempt, "this_process", lambda: process)
        if job_id is None:
            monkeypatch.delenv("SLURM_JOB_ID", raising=False)
        else:
            monkeypatch.setenv("SLURM_JOB_ID", job_id)

    return become


@pytest.mark.parametrize("ahead_s", [-120, 0, 120])
@pytest.mark.parametrize("job_ids", [("7", "8"), ("7", "7"), (None, None)])
def test_a_job_that_was_thought_lost_leaves_the_file_of_the_next_one_alone(
    path, slurm, be, ahead_s, job_ids
) -> None:
    slurm(scontrol="", sacct="")
    first, second = job_ids
    be(GONE, first, ahead_s)
    orphan = Trial(path, Allotment(1, 3)).__enter__()
    be(this_process(), second, 0)
    successor = Trial(path, Allotment(1, 3)).__enter__()
    newer = path.read_bytes()
    orphan.__exit__(None, None, None)
    assert path.read_bytes() == newer
    successor.lacks("memory")
    successor.__exit__(MemoryError, MemoryError("too much"), None)
    told = last_attempt(path)
    assert told is not None
    assert (told.cause, told.job_id, told.process) == ("memory", second, this_process())


def test_a_damaged_file_counts_for_nothing(path, caplog) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"attempt": "first"}))
    assert last_attempt(path) is None
    assert "counts for nothing" in caplog.text
    assert last_attempt(path.with_name("1.json")) is None
