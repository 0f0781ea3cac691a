"""Where attempts put their outputs, and where they refuse to."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from dataclasses import replace

import pytest

from parfocal.core.step import Port
from parfocal.engine import recording
from parfocal.engine.attempt import perform
from parfocal.engine.job import Job
from parfocal.errors import InputError, OutputExistsError, RemoteError
from unit.toy_jobs import chunk, measure, toy_job
from unit.toy_runs import names
from unit.toy_steps import MAKE, SUMMARIZE, NoParams


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return toy_job(tmp_path)


def test_outputs_that_exist_are_refused_and_their_record_is_kept(job, tmp_path) -> None:
    single = replace(job, results=None, existing="refuse", record=tmp_path / "r.json")
    perform(single)
    before = (tmp_path / "r.json").read_text()
    with pytest.raises(OutputExistsError):
        perform(single)
    assert (tmp_path / "r.json").read_text() == before
    job.outputs["image"].rename(tmp_path / "moved")
    with pytest.raises(OutputExistsError, match="notes"):
        perform(single)


@pytest.mark.parametrize("most", [1 << 20, 100])
def test_lists_of_digests_are_in_the_record_where_there_is_no_folder(
    job, tmp_path, monkeypatch, most
) -> None:
    monkeypatch.setattr(recording, "_MOST_LISTED", most)
    digests = perform(replace(job, results=None, record=tmp_path / "r.json")).digests
    listed = json.loads((tmp_path / "r.json").read_text())["digest_lists"]
    assert list(listed) == ([digests["image"]] if most > 100 else [])
    for digest, lines in listed.items():
        assert digest == f"zarr-merkle-sha256:{hashlib.sha256(lines.encode()).hexdigest()}"
        assert "  c/0/0\n" in lines
    assert not (tmp_path / "R" / "digests").exists()


def test_lists_of_digests_are_not_in_the_record_where_there_is_a_folder(job, tmp_path) -> None:
    perform(replace(job, record=tmp_path / "r.json"))
    assert json.loads((tmp_path / "r.json").read_text())["digest_lists"] == {}
    assert len(list((tmp_path / "R" / "digests").iterdir())) == 1


def test_outputs_that_exist_are_replaced_when_asked(job) -> None:
    perform(job)
    result = perform(replace(job, existing="replace"))
    assert (result.error, result.reused) == (None, False)


@pytest.mark.parametrize("place", ["a.txt", "./x/../a.txt", "link.txt"])
def test_input_and_output_in_one_place_are_refused(job, tmp_path, place) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "link.txt").symlink_to("a.txt")
    outputs = job.outputs | {"notes": tmp_path / place}
    for existing in ("reuse", "replace"):
        result = perform(replace(job, outputs=outputs, existing=existing))
        assert "never writes into its inputs" in str(result.error)
    with pytest.raises(InputError, match="never writes into its inputs"):
        perform(replace(job, outputs=outputs, existing="refuse"))
    assert (tmp_path / "a.txt").read_text() == "hello"


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


def test_outputs_that_images_share_are_made_once(job, tmp_path) -> None:
    port = Port("image", "ome-zarr", "originals/{source_key}", "the image")
    step = replace(MAKE, outputs=(port, MAKE.outputs[1]))
    shared = tmp_path / "R" / "originals" / "k"
    outputs = {"image": shared / "image.ome.zarr", "notes": shared / "notes.json"}
    assert not perform(replace(job, step=step, outputs=outputs)).reused
    for image_id in ("b", "R", "originals"):
        row = job.row.model_copy(update={"image_id": image_id, "name": image_id})
        other = replace(job, step=step, outputs=outputs, image_id=image_id, row=row)
        assert perform(other).reused


def test_scratch_is_where_the_environment_says_and_is_removed(job, tmp_path, monkeypatch) -> None:
    seen = []

    def look(inputs, outputs, params, context):
        seen.append(context.scratch)
        assert names(context.scratch) == []
        MAKE.run(inputs, outputs, params, context)

    (tmp_path / "fast disk").mkdir()
    perform(replace(job, step=replace(MAKE, run=look)))
    monkeypatch.setenv("PARFOCAL_SCRATCH", str(tmp_path / "fast disk"))
    perform(replace(job, step=replace(MAKE, run=look, version="2")))
    assert seen[0].is_relative_to(job.primary.parent)
    assert seen[1].is_relative_to(tmp_path / "fast disk")
    assert not any(path.exists() for path in seen)


def test_scratch_that_cannot_be_removed_hides_no_error(job, monkeypatch) -> None:
    remove = os.rmdir

    def refuse(path, **options):
        if "scratch-" in str(path):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        remove(path, **options)

    def fail(inputs, outputs, params, context):
        monkeypatch.setattr(os, "rmdir", refuse)
        what = "The server is gone"
        raise RemoteError(what)

    result = perform(replace(job, step=replace(MAKE, run=fail)))
    assert "The server is gone" in str(result.error)
    assert isinstance(result.error, RemoteError)
