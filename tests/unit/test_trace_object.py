"""The command trace-object: from a row of a table to what led to it."""

import json
import shutil
from datetime import timedelta

import numpy as np
import pyarrow.parquet
import pytest
import zarr

from parfocal.cli.trace_object import trace_object
from parfocal.core.digest import digest_path
from parfocal.engine import traced_object
from parfocal.errors import ConfigurationError, InputError, VerificationError
from parfocal.provenance.records import iter_records, write_record
from verified_runs import edit, make_run

TABLE, LABELS = "images/a/tables/nuclei.parquet", "images/a/labels/nuclei.ome.zarr"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    make_run(folder)
    return folder


@pytest.fixture
def run(made, tmp_path):
    """Return the results folder of a copy of the run."""
    return shutil.copytree(made / "results", tmp_path / "results")


def trace(results, row=0, table=TABLE):
    report = results.parent / "trace.json"
    assert trace_object([str(results / table), str(row), f"--json={report}"]) == 0
    return json.loads(report.read_text())


def test_an_object_is_traced_to_its_source(run, made, capsys):
    found = trace(run)
    labels = zarr.open_array(run / LABELS / "0", mode="r")[...]
    assert found["object"] == {"image_id": "a", "label_name": "nuclei", "label": 1, "t": 0}
    assert (labels == 1).any()
    assert found["chunks"] == ["0/c/0/0/0"]
    assert found["labels"]["uri"] == LABELS
    assert found["source"] == str(made / "data" / "a.tif")
    records = {record.step: record for record in iter_records(run)}
    assert {one["step"]: one["record"] for one in found["attempts"]} == {
        step: f"records/{step.replace('-', '_')}/a/0001.json" for step in records
    }
    assert found["attempts"][0]["step"] == "measure-objects"
    assert found["attempts"][-1]["step"] == "fetch-image"
    for one in found["attempts"]:
        assert one["parameters"] == records[one["step"]].parameters
    digests = {one["uri"]: one["digest"] for one in found["attempts"][0]["inputs"]}
    assert found["labels"]["digest"] == digests[LABELS]
    assert found["crate"] is None
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "object   1 of nuclei in a, t 0"
    assert f"source   {made / 'data' / 'a.tif'}" in lines


def test_only_the_chunks_that_hold_the_object_are_named(run):
    pixels = np.zeros((2, 8, 8), np.uint32)
    pixels[1, 3, 3] = pixels[1, 6, 6] = 5
    group = zarr.create_group(run / "other.ome.zarr")
    array = group.create_array("0", shape=pixels.shape, chunks=(1, 4, 4), dtype="uint32")
    array[...] = pixels
    axes = [{"name": name} for name in "tyx"]
    multiscale = {"axes": axes, "datasets": [{"path": "0"}]}
    group.attrs["ome"] = {"multiscales": [multiscale]}
    row = {"label": 5, "t": 1, "bbox_y0": 3, "bbox_y1": 7, "bbox_x0": 3, "bbox_x1": 7}
    found = traced_object._chunks(run / "other.ome.zarr", row)
    assert found == ("0/c/1/0/0", "0/c/1/1/1")
    with pytest.raises(VerificationError, match="not in the label image"):
        traced_object._chunks(run / "other.ome.zarr", row | {"t": 0})


def test_originals_that_another_image_fetched_are_found(run):
    (record,) = [one for one in iter_records(run) if one.step == "fetch-image"]
    shutil.rmtree(run / "records" / "fetch_image")
    folder = run / "records" / "fetch_image" / "b"
    folder.mkdir(parents=True)
    write_record(folder / "0001.json", record.model_copy(update={"image_id": "b"}))
    assert trace(run)["attempts"][-1]["record"] == "records/fetch_image/b/0001.json"


def test_the_crate_that_has_the_attempt_is_named(run, capsys):
    (record,) = [one for one in iter_records(run) if one.step == "fetch-image"]
    folder = run / "records" / "record_run" / "_run"
    folder.mkdir(parents=True)
    crate = record.outputs[0].model_copy(update={"uri": "run-crate", "role": "crate"})
    update = {"step": "record-run", "image_id": "_run", "outputs": (crate,)}
    write_record(folder / "0001.json", record.model_copy(update=update))
    assert trace(run)["crate"]["uri"] == "run-crate"
    update |= {"attempt": 2, "started": record.started + timedelta(days=1)}
    update["outputs"] = (crate.model_copy(update={"uri": "other.zip"}),)
    write_record(folder / "0002.json", record.model_copy(update=update))
    assert trace(run)["crate"]["uri"] == "run-crate"
    capsys.readouterr()
    edit(run / "run-crate", without_the_measurement)
    found = trace(run)
    assert (found["crate"], found["other_crate"]["uri"]) == (None, "other.zip")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == "crate    none yet"
    assert "other.zip was made before" in lines[-1]


def test_records_that_are_not_what_the_crate_says_are_told(run, capsys):
    (record,) = [one for one in iter_records(run) if one.step == "fetch-image"]
    folder = run / "records" / "record_run" / "_run"
    folder.mkdir(parents=True)
    digest = digest_path(run / "run-crate")
    crate = record.outputs[0].model_copy(update={"uri": "run-crate", "digest": digest})
    update = {"step": "record-run", "image_id": "_run", "outputs": (crate,)}
    write_record(folder / "0001.json", record.model_copy(update=update))
    found = trace(run)
    assert (found["crate_found"], found["unlike_crate"]) == (digest, [])
    (measured,) = [one for one in iter_records(run) if one.step == "measure-objects"]
    edited = {"commit": "f" * 40, "parameters": measured.parameters | {"label_name": "cells"}}
    place = run / "records" / "measure_objects" / "a" / "0001.json"
    write_record(place, measured.model_copy(update=edited))
    (run / "run-crate" / "README.md").write_text("x")
    capsys.readouterr()
    found = trace(run)
    assert len(found["unlike_crate"]) == 2
    assert found["crate_found"] == digest_path(run / "run-crate") != digest
    told = capsys.readouterr().out
    assert "label_name is cells, in the crate nuclei" in told
    assert f"commit is {'f' * 40}, in the crate None" in told
    assert f"changed since it was made: found {found['crate_found']}" in told


def without_the_measurement(document):
    """Take the attempt that measured out of a crate, as if it had been made before."""
    document["@graph"] = [
        entity
        for entity in document["@graph"]
        if not entity["@id"].startswith("#action/measure_objects/")
    ]


def test_a_label_image_that_was_changed_is_told(run, capsys):
    before = trace(run)
    assert before["labels_found"] == before["labels"]["digest"]
    assert "changed since" not in capsys.readouterr().out
    zarr.open_group(run / LABELS, mode="r+").attrs["note"] = "x"
    found = trace(run)
    assert found["labels"] == before["labels"]
    assert found["labels_found"] == digest_path(run / LABELS) != before["labels_found"]
    assert (
        f"changed since it was measured: found {found['labels_found']}" in capsys.readouterr().out
    )


@pytest.mark.parametrize("row", [1, -1, 10**30])
def test_a_row_that_is_not_there_is_refused(run, row):
    with pytest.raises(ConfigurationError, match=r"no such row.*expected 0 to 0"):
        trace(run, row)


def test_a_table_that_was_changed_is_told(run):
    table = pyarrow.parquet.read_table(run / TABLE)
    pyarrow.parquet.write_table(table, run / TABLE, compression="none")
    with pytest.raises(InputError, match="changed since, or its record is gone"):
        trace(run)


def test_a_label_image_without_the_object_is_told(run):
    array = zarr.open_array(run / LABELS / "0", mode="r+")
    array[...] = 0
    with pytest.raises(VerificationError, match="not in the label image"):
        trace(run)


def test_a_label_image_without_an_image_is_told(run):
    group = zarr.open_group(run / LABELS, mode="r+")
    group.attrs["ome"] = {"multiscales": []}
    with pytest.raises(InputError, match="label image cannot be read"):
        trace(run)


def test_a_label_image_that_is_gone_is_told(run):
    shutil.rmtree(run / LABELS)
    with pytest.raises(InputError, match="label image cannot be read"):
        trace(run)


def test_what_is_no_table_is_refused(run, tmp_path):
    with pytest.raises(InputError, match="table cannot be read"):
        trace(run, table="images/a/tables/nuclei.tsv")
    with pytest.raises(InputError, match="table cannot be read"):
        trace(run, table="nothing.parquet")
    shutil.copy(run / TABLE, tmp_path / "apart.parquet")
    with pytest.raises(InputError, match="no results folder"):
        trace_object([str(tmp_path / "apart.parquet"), "0"])
    other = pyarrow.table({"x": [1]})
    pyarrow.parquet.write_table(other, run / "other.parquet")
    with pytest.raises(InputError, match="columns are missing"):
        trace(run, table="other.parquet")
