"""What became of attempts at jobs, by what they left and what a scheduler says."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from parfocal.core.processes import this_process
from parfocal.core.publish import write_json
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
    with pytest.raises(ConfigurationError), Trial(path, Allotment(1, 3)):
        raise ConfigurationError("The outcome is not that of this batch")
    for attempt in (2, 3):
        with pytest.raises(RepeatedFailureError, match="not that of this batch") as caught:
            Trial(path, Allotment(attempt, 3)).__enter__()
        assert caught.value.exit_code == ConfigurationError.exit_code


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


def test_a_damaged_file_counts_for_nothing(path, caplog) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"attempt": "first"}))
    assert last_attempt(path) is None
    assert "counts for nothing" in caplog.text
    assert last_attempt(path.with_name("1.json")) is None
