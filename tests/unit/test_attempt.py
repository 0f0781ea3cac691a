"""Attempts at a job: what is published, reused, made again, and recorded."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from parfocal.core.digest import digest_path
from parfocal.engine.attempt import perform
from parfocal.errors import InputError, OutputExistsError, ParfocalError
from parfocal.models.sheet import Row
from unit.toy_jobs import chunk, left, measure, records, toy_job
from unit.toy_steps import MAKE, MakeParams


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return toy_job(tmp_path)


def test_a_done_job_publishes_all_outputs_and_records_them(job, tmp_path) -> None:
    result = perform(job)
    assert result.error is None
    assert chunk(job).read_text() == "hello"
    (record,) = records(job)
    assert record["status"] == "done"
    assert record["row"]["name"] == "A"
    assert [(a["role"], a["uri"]) for a in record["outputs"]] == [
        ("image", "images/a/image.ome.zarr"),
        ("notes", "images/a/notes.json"),
    ]
    assert {a["role"]: a["digest"] for a in record["outputs"]} == result.digests
    assert record["inputs"][0]["uri"] == str(tmp_path / "a.txt")
    assert record["details"] == {"bytes": 5}
    assert record["started"] <= record["ended"]
    assert record["peak_memory_bytes"] > 1_000_000
    assert left(tmp_path) == [".image.ome.zarr.stamp.json"]


def test_the_same_work_is_reused_without_a_record(job) -> None:
    first = perform(job)
    inode = chunk(job).stat().st_ino
    second = perform(job)
    assert second.reused
    assert second.digests == first.digests
    assert chunk(job).stat().st_ino == inode
    assert len(records(job)) == 1


def changed_input(job):
    job.inputs["source"].write_text("other")
    return job


@pytest.mark.parametrize(
    "change",
    [
        lambda job: replace(job, params=MakeParams(repeat=2)),
        lambda job: replace(job, step=replace(MAKE, version="2")),
        changed_input,
        lambda job: replace(job, row=job.row.model_copy(update={"name": "B"})),
        lambda job: replace(job, row=job.row.model_copy(update={"series": "1"})),
        lambda job: replace(job, step=replace(MAKE, state=lambda params, row: "new")),
    ],
    ids=["parameters", "version", "input", "name", "series", "state"],
)
def test_work_that_would_give_another_result_replaces_it(job, change, tmp_path) -> None:
    perform(job)
    result = perform(change(job))
    assert not result.reused
    assert result.error is None
    assert [r["attempt"] for r in records(job)] == [1, 2]
    assert left(tmp_path) == [".image.ome.zarr.stamp.json"]


@pytest.mark.parametrize(
    "change",
    [
        lambda job: replace(job, threads=2),
        lambda job: replace(job, row=Row.model_validate(job.row.as_text() | {"dose": "3"})),
        lambda job: replace(job, params=MakeParams(repeat=1)),
    ],
    ids=["threads", "free column", "default given"],
)
def test_work_that_would_give_the_same_result_is_reused(job, change) -> None:
    perform(job)
    assert perform(change(job)).reused


def test_outputs_that_are_gone_are_made_again(job) -> None:
    perform(job)
    job.outputs["notes"].unlink()
    assert not perform(job).reused
    assert job.outputs["notes"].exists()


def test_copied_results_are_reused_once_their_digest_is_checked(job, tmp_path) -> None:
    digests = perform(job).digests
    shutil.copytree(job.results, tmp_path / "copy", copy_function=shutil.copyfile)
    shutil.rmtree(job.results)
    (tmp_path / "copy").rename(job.results)
    result = perform(job)
    assert result.reused
    assert result.digests == digests


def test_copied_results_of_other_work_are_not_taken_for_this(job, tmp_path) -> None:
    digests = perform(job).digests
    shutil.copytree(job.results, tmp_path / "copy", copy_function=shutil.copyfile)
    shutil.rmtree(job.results)
    (tmp_path / "copy").rename(job.results)
    result = perform(replace(job, params=MakeParams(repeat=2)))
    assert not result.reused
    assert result.digests["image"] != digests["image"]


@pytest.mark.parametrize("params", [MakeParams(), MakeParams(repeat=2)])
def test_results_that_someone_edited_are_neither_reused_nor_overwritten(job, params) -> None:
    perform(job)
    chunk(job).write_text("edited by hand")
    result = perform(replace(job, params=params))
    assert isinstance(result.error, OutputExistsError)
    assert "changed since" in str(result.error)
    assert chunk(job).read_text() == "edited by hand"
    assert [r["status"] for r in records(job)] == ["done", "failed"]


def test_a_later_step_goes_by_the_stamp_of_its_input(job) -> None:
    digests = perform(job).digests
    perform(measure(job))
    (record,) = records(job, "measure_image")
    assert record["inputs"][0]["digest"] == digests["image"]
    assert perform(measure(job)).reused


def test_a_later_step_sees_an_input_that_was_changed_by_hand(job) -> None:
    perform(job)
    perform(measure(job))
    chunk(job).write_text("longer than before")
    assert not perform(measure(job)).reused
    table = json.loads((job.outputs["image"].with_name("table.json")).read_text())
    assert table["size"] == len("longer than before")


def test_an_optional_input_counts_when_it_is_given(job, tmp_path) -> None:
    perform(job)
    perform(measure(job))
    assert not perform(measure(job, extra=tmp_path / "a.txt")).reused


@pytest.mark.parametrize(
    ("action", "code", "kind"),
    [("input", 2, "InputError"), ("remote", 3, "RemoteError"), ("verify", 4, "VerificationError")],
)
def test_a_failure_leaves_a_record_and_nothing_else(job, tmp_path, action, code, kind) -> None:
    result = perform(replace(job, params=MakeParams(action=action)))
    assert isinstance(result.error, ParfocalError)
    (record,) = records(job)
    assert record["status"] == "failed"
    assert record["error"]["type"] == kind
    assert record["error"]["exit_code"] == code
    assert record["error"]["message"] == str(result.error)
    assert record["outputs"] == []
    assert record["inputs"][0]["role"] == "source"
    assert not job.outputs["image"].exists()
    assert left(tmp_path) == []


def test_a_bug_is_handed_on_as_it_is(job, tmp_path) -> None:
    result = perform(replace(job, params=MakeParams(action="bug")))
    assert isinstance(result.error, KeyError)
    assert records(job)[0]["error"]["exit_code"] == 1
    assert left(tmp_path) == []


def test_a_failed_job_is_tried_again_and_keeps_both_records(job) -> None:
    perform(replace(job, params=MakeParams(action="input")))
    assert perform(job).error is None
    assert [r["status"] for r in records(job)] == ["failed", "done"]


def test_a_failed_replacement_keeps_the_old_result(job) -> None:
    perform(job)
    perform(replace(job, params=MakeParams(action="input")))
    assert chunk(job).read_text() == "hello"
    assert perform(job).reused


def test_a_missing_input_fails_and_is_recorded(job) -> None:
    job.inputs["source"].unlink()
    result = perform(job)
    assert isinstance(result.error, InputError)
    assert records(job)[0]["error"]["exit_code"] == 2


def test_an_input_that_the_sheet_does_not_give_fails_and_is_recorded(job) -> None:
    result = perform(replace(job, inputs={}))
    assert "'source' is not given" in str(result.error)
    assert records(job)[0]["status"] == "failed"


def test_a_step_that_forgets_an_output_publishes_nothing(job, tmp_path) -> None:
    def forgetful(inputs, outputs, params, context):
        outputs["notes"].write_text("x")

    result = perform(replace(job, step=replace(MAKE, run=forgetful)))
    assert isinstance(result.error, AssertionError)
    assert not job.outputs["notes"].exists()


def test_warnings_stand_in_the_record(job) -> None:
    perform(replace(job, params=MakeParams(action="warn")))
    assert records(job)[0]["warnings"] == ["The toy squeaks"]


def test_the_record_tells_what_the_environment_says(job, monkeypatch) -> None:
    names = ("IMAGE_DIGEST", "IMAGE_ID", "LOCK_DIGEST", "COMMIT")
    for name in [*(f"PARFOCAL_{name}" for name in names), "SLURM_JOB_ID"]:
        monkeypatch.setenv(name, name.lower())
    monkeypatch.setenv("PARFOCAL_ENGINE", "snakemake 9.27")
    perform(job)
    (record,) = records(job)
    assert record["engine"] == {"name": "snakemake", "version": "9.27", "job_id": "slurm_job_id"}
    assert record["image_digest"] == "parfocal_image_digest"
    assert record["container_id"] == "parfocal_image_id"
    assert record["lock_digest"] == "parfocal_lock_digest"
    assert record["commit"] == "parfocal_commit"
    assert record["unlocked"] is None


def test_the_record_tells_what_is_not_as_the_lock_file_names_it(job, monkeypatch, tmp_path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("numpy==0.1\n")
    monkeypatch.setenv("PARFOCAL_LOCK", str(lock))
    monkeypatch.setenv("PARFOCAL_LOCK_DIGEST", digest_path(lock))
    perform(job)
    assert records(job)[0]["unlocked"] == {"numpy": np.__version__}


@pytest.mark.parametrize(
    "url",
    ["https://me:hunter2@x.org/a.tif", "https://x.org?sig=hunter2", "https://me:hunter2@[x/a"],
)
def test_secrets_never_enter_a_record(job, url) -> None:
    row = Row.model_validate({"image_id": "a", "source": url, "other": url})
    perform(replace(job, row=row, params=MakeParams(label=url)))
    (record,) = records(job)
    assert "hunter2" not in json.dumps(record)
    assert "removed, since it holds a secret" in record["parameters"]["label"]
    assert "removed, since it holds a secret" in record["row"]["source"]


@pytest.mark.parametrize("text", ["a@b.tif", "https://x.org/a@b?page=2", "idr:idr0062/x", "a: b"])
def test_what_is_no_secret_stands_in_the_record(job, text) -> None:
    perform(replace(job, params=MakeParams(label=text)))
    assert records(job)[0]["parameters"]["label"] == text
