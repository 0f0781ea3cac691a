"""Attempts that lose their lease, or take over that of a dead writer, publish all or nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from parfocal.core import lease as lease_module
from parfocal.core.digest import digest_path
from parfocal.core.publish import Stamp, partial_path, publish
from parfocal.engine.attempt import perform
from parfocal.errors import LeaseLostError
from unit.toy_jobs import left, records, toy_job
from unit.toy_steps import MAKE, MakeParams


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return toy_job(tmp_path)


def test_all_outputs_are_published_or_none(job, tmp_path, monkeypatch) -> None:
    def full(self, *args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("parfocal.engine.attempt.Stamp.write", full)
    result = perform(job)
    assert result.error is not None
    assert result.error.exit_code == 2
    assert not any(path.exists() for path in job.outputs.values())
    assert records(job)[-1]["status"] == "failed"
    assert records(job)[-1]["outputs"] == []


def test_a_job_that_lost_its_lease_publishes_nothing(job, tmp_path) -> None:
    def robbed(inputs, outputs, params, context):
        MAKE.run(inputs, outputs, params, context)
        lease = job.primary.with_name(f".{job.primary.name}.lease")
        lease.write_text(json.dumps({"token": "robber"}))

    result = perform(replace(job, step=replace(MAKE, run=robbed)))
    assert isinstance(result.error, LeaseLostError)
    assert not job.primary.exists()
    assert records(job)[0]["error"]["type"] == "LeaseLostError"


def test_a_job_that_loses_its_lease_after_the_work_publishes_nothing(job, monkeypatch) -> None:
    def robbed(path, threads=1):
        if path.parent.name.endswith(".partial"):
            lease = job.primary.with_name(f".{job.primary.name}.lease")
            lease.write_text(json.dumps({"token": "robber"}))
        return digest_path(path, threads)

    monkeypatch.setattr("parfocal.engine.recording.digest_path", robbed)
    result = perform(job)
    assert isinstance(result.error, LeaseLostError)
    assert not job.primary.exists()


def test_no_stamp_vouches_for_outputs_while_they_are_replaced(job, monkeypatch) -> None:
    seen = []

    def watched(partial, final):
        seen.append(Stamp(job.primary).key)
        publish(partial, final)

    perform(job)
    assert Stamp(job.primary).key is not None
    monkeypatch.setattr("parfocal.engine.attempt.publish", watched)
    assert perform(replace(job, params=MakeParams(repeat=2))).error is None
    assert seen == [None, None]
    assert Stamp(job.primary).key is not None


def test_what_fails_because_the_lease_was_lost_says_so(job) -> None:
    def robbed(inputs, outputs, params, context):
        lease = job.primary.with_name(f".{job.primary.name}.lease")
        lease.write_text(json.dumps({"token": "robber"}))
        raise FileNotFoundError(2, "No such file", str(outputs["image"]))

    result = perform(replace(job, step=replace(MAKE, run=robbed)))
    assert isinstance(result.error, LeaseLostError)


def test_what_a_dead_writer_left_is_removed(job, tmp_path) -> None:
    dead = partial_path(job.primary, "dead")
    dead.mkdir(parents=True)
    lease = job.primary.with_name(f".{job.primary.name}.lease")
    own = json.loads(lease_module.Lease(job.primary)._content())
    lease.write_text(json.dumps(own | {"token": "dead", "process_start": "1"}))
    assert perform(job).error is None
    assert left(tmp_path) == [".image.ome.zarr.stamp.json"]
