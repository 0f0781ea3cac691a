import json
import shutil
from dataclasses import replace

import pytest

from parfocal.core import lease as lease_module
from parfocal.core.digest import digest_path
from parfocal.core.publish import Stamp, partial_path, publish
from parfocal.core.step import Port
from parfocal.engine.attempt import perform
from parfocal.engine.job import Job
from parfocal.errors import InputError, LeaseLostError, OutputExistsError, ParfocalError
from parfocal.models.sheet import Row
from unit.toy_runs import names
from unit.toy_steps import MAKE, MEASURE, SUMMARIZE, MakeParams, NoParams


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("hello")
    return tmp_path


@pytest.fixture
def job(folder):
    results = folder / "R"
    image = results / "images" / "a"
    return Job(
        step=MAKE,
        params=MakeParams(),
        inputs={"source": folder / "a.txt"},
        outputs={"image": image / "image.ome.zarr", "notes": image / "notes.json"},
        image_id="a",
        row=Row(image_id="a", name="A", source="a.txt"),
        results=results,
        existing="reuse",
    )


def records(job, step="make_image"):
    paths = sorted((job.results / "records" / step / job.image_id).iterdir())
    return [json.loads(path.read_text()) for path in paths]


def chunk(job):
    return job.outputs["image"] / "c" / "0" / "0"


def left(folder):
    """Return all files that are neither published results nor records."""
    return sorted(p.name for p in folder.rglob("*") if p.name.startswith("."))


def test_a_done_job_publishes_all_outputs_and_records_them(job, folder) -> None:
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
    assert record["inputs"][0]["uri"] == str(folder / "a.txt")
    assert record["details"] == {"bytes": 5}
    assert record["started"] <= record["ended"]
    assert record["peak_memory_bytes"] > 1_000_000
    assert left(folder) == [".image.ome.zarr.stamp.json"]


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
def test_work_that_would_give_another_result_replaces_it(job, change, folder) -> None:
    perform(job)
    result = perform(change(job))
    assert not result.reused
    assert result.error is None
    assert [r["attempt"] for r in records(job)] == [1, 2]
    assert left(folder) == [".image.ome.zarr.stamp.json"]


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


def test_copied_results_are_reused_once_their_digest_is_checked(job, folder) -> None:
    digests = perform(job).digests
    shutil.copytree(job.results, folder / "copy", copy_function=shutil.copyfile)
    shutil.rmtree(job.results)
    (folder / "copy").rename(job.results)
    result = perform(job)
    assert result.reused
    assert result.digests == digests


def test_copied_results_of_other_work_are_not_taken_for_this(job, folder) -> None:
    digests = perform(job).digests
    shutil.copytree(job.results, folder / "copy", copy_function=shutil.copyfile)
    shutil.rmtree(job.results)
    (folder / "copy").rename(job.results)
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


def measure(job, **more):
    return Job(
        step=MEASURE,
        params=NoParams(),
        inputs={"image": job.outputs["image"], **more},
        outputs={"table": job.outputs["image"].with_name("table.json")},
        image_id="a",
        results=job.results,
        existing="reuse",
    )


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


def test_an_optional_input_counts_when_it_is_given(job, folder) -> None:
    perform(job)
    perform(measure(job))
    assert not perform(measure(job, extra=folder / "a.txt")).reused


@pytest.mark.parametrize(
    ("action", "code", "kind"),
    [("input", 2, "InputError"), ("remote", 3, "RemoteError"), ("verify", 4, "VerificationError")],
)
def test_a_failure_leaves_a_record_and_nothing_else(job, folder, action, code, kind) -> None:
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
    assert left(folder) == []


def test_a_bug_is_handed_on_as_it_is(job, folder) -> None:
    result = perform(replace(job, params=MakeParams(action="bug")))
    assert isinstance(result.error, KeyError)
    assert records(job)[0]["error"]["exit_code"] == 1
    assert left(folder) == []


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


def test_a_step_that_forgets_an_output_publishes_nothing(job, folder) -> None:
    def forgetful(inputs, outputs, params, context):
        outputs["notes"].write_text("x")

    result = perform(replace(job, step=replace(MAKE, run=forgetful)))
    assert isinstance(result.error, AssertionError)
    assert not job.outputs["notes"].exists()


def test_warnings_stand_in_the_record(job) -> None:
    perform(replace(job, params=MakeParams(action="warn")))
    assert records(job)[0]["warnings"] == ["The toy squeaks"]


def test_all_outputs_are_published_or_none(job, folder, monkeypatch) -> None:
    def full(self, *args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("parfocal.engine.attempt.Stamp.write", full)
    result = perform(job)
    assert result.error is not None
    assert result.error.exit_code == 2
    assert not any(path.exists() for path in job.outputs.values())
    assert records(job)[-1]["status"] == "failed"
    assert records(job)[-1]["outputs"] == []


def test_a_job_that_lost_its_lease_publishes_nothing(job, folder) -> None:
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


def test_what_a_dead_writer_left_is_removed(job, folder) -> None:
    dead = partial_path(job.primary, "dead")
    dead.mkdir(parents=True)
    lease = job.primary.with_name(f".{job.primary.name}.lease")
    own = json.loads(lease_module.Lease(job.primary)._content())
    lease.write_text(json.dumps(own | {"token": "dead", "process_start": "1"}))
    assert perform(job).error is None
    assert left(folder) == [".image.ome.zarr.stamp.json"]


def test_outputs_that_exist_are_refused_and_their_record_is_kept(job, folder) -> None:
    single = replace(job, results=None, existing="refuse", record=folder / "r.json")
    perform(single)
    before = (folder / "r.json").read_text()
    with pytest.raises(OutputExistsError):
        perform(single)
    assert (folder / "r.json").read_text() == before
    job.outputs["image"].rename(folder / "moved")
    with pytest.raises(OutputExistsError, match="notes"):
        perform(single)


def test_outputs_that_exist_are_replaced_when_asked(job) -> None:
    perform(job)
    result = perform(replace(job, existing="replace"))
    assert (result.error, result.reused) == (None, False)


@pytest.mark.parametrize("place", ["a.txt", "./x/../a.txt", "link.txt"])
def test_input_and_output_in_one_place_are_refused(job, folder, place) -> None:
    (folder / "x").mkdir()
    (folder / "link.txt").symlink_to("a.txt")
    outputs = job.outputs | {"notes": folder / place}
    for existing in ("reuse", "replace"):
        result = perform(replace(job, outputs=outputs, existing=existing))
        assert "never writes into its inputs" in str(result.error)
    with pytest.raises(InputError, match="never writes into its inputs"):
        perform(replace(job, outputs=outputs, existing="refuse"))
    assert (folder / "a.txt").read_text() == "hello"


def test_an_output_inside_an_input_is_refused(job) -> None:
    perform(job)
    inside = job.outputs["image"] / "labels" / "table"
    result = perform(replace(measure(job), outputs={"table": inside}))
    assert "never writes into its inputs" in str(result.error)


@pytest.mark.parametrize("existing", ["reuse", "replace"])
def test_an_output_around_an_input_is_refused_since_it_would_take_its_place(job, existing) -> None:
    perform(job)
    around = {"table": job.outputs["image"].parent}
    result = perform(replace(measure(job), outputs=around, existing=existing))
    assert "never writes into its inputs" in str(result.error)
    whole = Job(
        SUMMARIZE, NoParams(), {"results": job.results}, {"summary": job.results}, "summary"
    )
    result = perform(replace(whole, existing=existing))
    assert "never writes into its inputs" in str(result.error)
    assert chunk(job).read_text() == "hello"


def test_two_outputs_in_one_place_are_refused(job) -> None:
    result = perform(replace(job, outputs=dict.fromkeys(job.outputs, job.primary)))
    assert "output 'image'" in str(result.error)


def test_a_step_on_a_run_puts_its_output_into_the_results_that_it_reads(job) -> None:
    perform(job)
    summary = job.results / "summary.json"
    whole = Job(SUMMARIZE, NoParams(), {"results": job.results}, {"summary": summary}, "summary")
    assert perform(whole).error is None
    assert json.loads(summary.read_text()) == ["a"]


def test_outputs_that_images_share_are_made_once(job, folder) -> None:
    port = Port("image", "ome-zarr", "originals/{source_key}", "the image")
    step = replace(MAKE, outputs=(port, MAKE.outputs[1]))
    shared = folder / "R" / "originals" / "k"
    outputs = {"image": shared / "image.ome.zarr", "notes": shared / "notes.json"}
    assert not perform(replace(job, step=step, outputs=outputs)).reused
    for image_id in ("b", "R", "originals"):
        row = job.row.model_copy(update={"image_id": image_id, "name": image_id})
        other = replace(job, step=step, outputs=outputs, image_id=image_id, row=row)
        assert perform(other).reused


def test_scratch_is_where_the_environment_says_and_is_removed(job, folder, monkeypatch) -> None:
    seen = []

    def look(inputs, outputs, params, context):
        seen.append(context.scratch)
        assert names(context.scratch) == []
        MAKE.run(inputs, outputs, params, context)

    (folder / "fast disk").mkdir()
    perform(replace(job, step=replace(MAKE, run=look)))
    monkeypatch.setenv("PARFOCAL_SCRATCH", str(folder / "fast disk"))
    perform(replace(job, step=replace(MAKE, run=look, version="2")))
    assert seen[0].is_relative_to(job.primary.parent)
    assert seen[1].is_relative_to(folder / "fast disk")
    assert not any(path.exists() for path in seen)


def test_the_record_tells_what_the_environment_says(job, monkeypatch) -> None:
    names = ("PARFOCAL_IMAGE_DIGEST", "PARFOCAL_LOCK_DIGEST", "PARFOCAL_COMMIT", "SLURM_JOB_ID")
    for name in names:
        monkeypatch.setenv(name, name.lower())
    monkeypatch.setenv("PARFOCAL_ENGINE", "snakemake 9.27")
    perform(job)
    (record,) = records(job)
    assert record["engine"] == {"name": "snakemake", "version": "9.27", "job_id": "slurm_job_id"}
    assert record["image_digest"] == "parfocal_image_digest"
    assert record["lock_digest"] == "parfocal_lock_digest"
    assert record["commit"] == "parfocal_commit"


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
