"""The command trace-object: from a row of a table to what led to it."""

import json
import os
import shutil
from datetime import timedelta

import numpy as np
import pyarrow.parquet
import pytest
import zarr

from collected import Jobs
from parfocal.cli.collect import collect
from parfocal.cli.trace_object import trace_object
from parfocal.core.digest import digest_path
from parfocal.engine.attempt import perform
from parfocal.engine.job import Job
from parfocal.engine.measured_object import MeasuredObject
from parfocal.engine.object_chunks import chunks_of
from parfocal.errors import ConfigurationError, InputError, VerificationError
from parfocal.models.sheet import Row
from parfocal.provenance.records import iter_records, write_record
from parfocal.steps.verify_image import STEP as VERIFY
from verified_runs import edit, flip, make_run

TABLE, LABELS = "images/a/tables/nuclei.parquet", "images/a/labels/nuclei.ome.zarr"
TSV, CERTIFICATE = "images/a/tables/nuclei.tsv", "images/a/image.certificate.json"


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
    box = {"bbox_y0": 3, "bbox_y1": 7, "bbox_x0": 3, "bbox_x1": 7}
    wanted = MeasuredObject(image_id="a", label_name="nuclei", label=5, t=1, **box)
    assert chunks_of(run / "other.ome.zarr", wanted) == ("0/c/1/0/0", "0/c/1/1/1")
    with pytest.raises(VerificationError, match="not in the label image"):
        chunks_of(run / "other.ome.zarr", wanted.model_copy(update={"t": 0}))
    for outside in ({"t": 2}, {"bbox_x1": 10**12}):
        with pytest.raises(VerificationError, match=r"lies outside of the label image: .*below"):
            chunks_of(run / "other.ome.zarr", wanted.model_copy(update=outside))


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
        trace(run, table="nothing.parquet")
    shutil.copy(run / TABLE, tmp_path / "apart.parquet")
    with pytest.raises(InputError, match="no results folder"):
        trace_object([str(tmp_path / "apart.parquet"), "0"])
    other = pyarrow.table({"x": [1]})
    pyarrow.parquet.write_table(other, run / "other.parquet")
    with pytest.raises(InputError, match="columns are missing"):
        trace(run, table="other.parquet")


def test_a_row_of_the_tsv_is_traced_like_that_of_the_parquet_file(run, tmp_path):
    found = trace(run)
    text = trace(run, table=TSV)
    assert (text.pop("table"), found.pop("table")) == (TSV, TABLE)
    assert text == found
    assert (text["row"], text["chunks"]) == (0, ["0/c/0/0/0"])


def test_a_copy_of_a_table_is_found_by_its_digest(run, tmp_path, monkeypatch):
    copy = shutil.copy(run / TSV, tmp_path / "dataset_7.dat")
    report = tmp_path / "trace.json"
    options = ["0", f"--json={report}", f"--results={run}"]
    assert trace_object([str(copy), *options]) == 0
    assert json.loads(report.read_text())["table"] == TSV
    monkeypatch.chdir(run / "images" / "a" / "labels")
    assert trace_object(["../tables/nuclei.tsv", "0", f"--json={report}"]) == 0
    assert json.loads(report.read_text())["table"] == TSV
    copy.write_text((run / TSV).read_text() + "\n")
    with pytest.raises(InputError, match="changed since, or its record is gone"):
        trace_object([str(copy), *options])


def test_a_table_of_collected_results_is_traced(tmp_path):
    jobs = Jobs(tmp_path / "datasets")
    made = jobs.analyse("cells", jobs.upload())
    listing = tmp_path / "listing.txt"
    listing.write_text("".join(f"{path}\n" for path in (*jobs.records, *jobs.data)))
    results, sheet = tmp_path / "results", tmp_path / "samples.tsv"
    assert collect([f"--listing={listing}", f"--folder={results}", f"--sheet={sheet}"]) == 0
    table = results / "images/cells/tables/nuclei.parquet"
    assert table.is_symlink()
    assert table.resolve() == made["table"].resolve()
    for name in (table, table.with_suffix(".tsv")):
        found = trace(results, 1, name.relative_to(results))
        steps = [one["step"] for one in found["attempts"]]
        assert steps == ["measure-objects", "segment-objects", "filter-image"]
        assert found["object"]["label"] == 2


def test_what_proves_the_conversion_is_told(run, capsys):
    (proof,) = trace(run)["proofs"]
    assert (proof["step"], proof["verdict"], proof["fault"]) == ("convert-image", "verified", None)
    assert proof["certificate"]["uri"] == CERTIFICATE
    written = json.loads((run / CERTIFICATE).read_text())
    assert proof["proven_by"].startswith(written["source"]["reader"])
    told = capsys.readouterr().out
    assert f"proof    convert-image: verified by {proof['proven_by']} {CERTIFICATE} sha256:" in told
    (run / CERTIFICATE).write_text(json.dumps(written | {"verdict": "verified", "series": "x"}))
    (proof,) = trace(run)["proofs"]
    assert proof["fault"].startswith("changed since it was written: found sha256:")
    (run / CERTIFICATE).unlink()
    (proof,) = trace(run)["proofs"]
    assert (proof["verdict"], proof["fault"]) == ("verified", "there is no such file or folder")
    assert "not to be relied on: there is no such file" in capsys.readouterr().out


def test_a_certificate_of_another_image_proves_nothing(run):
    written = json.loads((run / CERTIFICATE).read_text())
    written["result_digest"] = f"zarr-merkle-sha256:{'0' * 64}"
    (run / CERTIFICATE).write_text(json.dumps(written))
    digest = digest_path(run / CERTIFICATE)
    outputs = [
        one.model_copy(update={"digest": digest} if one.role == "certificate" else {})
        for one in record_of(run, "convert-image").outputs
    ]
    forged(run, "convert-image", 1, outputs=tuple(outputs))
    (proof,) = trace(run)["proofs"]
    assert proof["fault"] == f"it is about another image, {written['result_digest']}"


def test_the_newest_verification_of_the_image_is_told(run, made, capsys):
    def verify():
        place = run / "images" / "a"
        inputs = {"image": place / "image.ome.zarr", "certificate": run / CERTIFICATE}
        outputs = {"verification": place / "image.verification.json"}
        row = Row(image_id="a", source=str(made / "data" / "a.tif"))
        job = Job(
            VERIFY,
            VERIFY.params(),
            inputs,
            outputs,
            "a",
            row=row,
            results=run,
            existing="replace",
        )
        return perform(job).error

    assert verify() is None
    first, second = trace(run)["proofs"]
    assert (first["step"], second["step"]) == ("convert-image", "verify-image")
    assert second["verdict"] in ("verified", "self-consistent")
    flip(run / "images/a/image.ome.zarr/0/c/0/0/0")
    assert verify() is not None
    capsys.readouterr()
    first, failed = trace(run)["proofs"]
    assert (first["verdict"], failed["step"], failed["verdict"]) == (
        "verified",
        "verify-image",
        "different",
    )
    told = capsys.readouterr().out.splitlines()
    (at,) = [
        number for number, line in enumerate(told) if line == "proof    verify-image: different"
    ]
    assert failed["reason"] in told[at + 1]


def test_container_and_lock_file_are_told_and_compared_with_the_crate(run, capsys):
    digest = digest_path(run / "run-crate")
    (record,) = [one for one in iter_records(run) if one.step == "fetch-image"]
    folder = run / "records" / "record_run" / "_run"
    folder.mkdir(parents=True)
    crate = record.outputs[0].model_copy(update={"uri": "run-crate", "digest": digest})
    url = "https://example.org/workflow"
    update = {"step": "record-run", "image_id": "_run", "outputs": (crate,)}
    update["parameters"] = {"workflow_url": url}
    write_record(folder / "0001.json", record.model_copy(update=update))
    assert trace(run)["unlike_crate"] == []
    changes = {"image_digest": "host/name@sha256:12", "lock_digest": "sha256:34"}
    forged(run, "segment-objects", 1, **changes)
    capsys.readouterr()
    found = trace(run)
    assert len(found["unlike_crate"]) == 2
    assert found["workflow_url"] == url
    images = {one["step"]: one["image_digest"] for one in found["attempts"]}
    assert [step for step, image in images.items() if image] == ["segment-objects"]
    told = capsys.readouterr().out.splitlines()
    assert "  container host/name@sha256:12" in told
    assert "  lock file sha256:34" in told
    assert f"  of the workflow {url}" in told
    assert "lock_digest is sha256:34, in the crate None" in told[-2]
    assert "the container is host/name@sha256:12, in the crate another" in told[-1]


FORGED = [
    ({"label": -1}, "label: must be greater than or equal to 0"),
    ({"label": 0}, "the label 0 is the background"),
    ({"label": 1.5}, "label: must be a whole number"),
    ({"label": None}, "label: must be a whole number"),
    ({"label": "one"}, "label: must be a whole number"),
    ({"t": -1}, "t: must be greater than or equal to 0"),
    ({"t": True}, "t: must be a whole number"),
    ({"image_id": "../../../b"}, "image_id: is not of the form"),
    ({"image_id": "/etc"}, "image_id: is not of the form"),
    ({"image_id": "a" * 999}, "image_id: is not of the form"),
    ({"image_id": 7}, "image_id: "),
    ({"image_id": None}, "image_id: must be a text"),
    ({"label_name": "a/b"}, "label_name: is not of the form"),
    ({"bbox_x0": 5, "bbox_x1": 5}, "the bounding box ends at x 5"),
    ({"bbox_x0": -3}, "bbox_x0: must be greater than or equal to 0"),
    ({"bbox_y1": "wide"}, "bbox_y1: must be a whole number"),
]


def forge(results, values, name):
    """Change cells of a table."""
    path = results / name
    table = pyarrow.parquet.read_table(results / TABLE).to_pydict()
    table |= {column: [value] for column, value in values.items()}
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.table(table), path)
        return
    cells = ["" if value is None else str(value).lower() for (value,) in table.values()]
    path.write_text("\t".join(table) + "\n" + "\t".join(cells) + "\n")


@pytest.mark.parametrize("name", ["forged.parquet", "forged.tsv"])
@pytest.mark.parametrize(("values", "told"), FORGED)
def test_a_row_of_what_cannot_be_is_refused(run, values, told, name):
    forge(run, values, name)
    if name == "forged.tsv" and values == {"image_id": 7}:
        told = "No record tells who made this"  # to a TSV it is a text
    with pytest.raises(InputError) as caught:
        trace(run, table=name)
    assert told in str(caught.value)
    assert caught.value.exit_code == 2
    assert caught.value.remedy


@pytest.mark.parametrize(
    "values",
    [
        {"t": 1},
        {"t": 2**62},
        {"bbox_x1": 91},
        {"bbox_z1": 2**62},
        {"bbox_y0": 2**61, "bbox_y1": 2**62},
        {"label": 2},
        {"label": 2**62},
        {"bbox_x0": 0, "bbox_x1": 1},
    ],
)
@pytest.mark.parametrize("name", [TABLE, TSV])
def test_a_row_that_fits_no_object_is_told_where_its_record_was_forged_too(run, values, name):
    forge(run, values, name)
    role = {TABLE: "table", TSV: "tsv"}[name]
    outputs = record_of(run, "measure-objects").outputs
    digest = {"digest": digest_path(run / name)}
    forged(
        run,
        "measure-objects",
        1,
        outputs=tuple(one.model_copy(update=digest if one.role == role else {}) for one in outputs),
    )
    with pytest.raises(VerificationError, match=r"outside of|not in the label image") as caught:
        trace(run, table=name)
    assert str(run / LABELS) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "columns are missing"),
        (b"image_id\tlabel_name\tlabel\n", "found no t"),
        (b"image_id\tlabel_name\tlabel\tt\n", "no row: there is no object"),
        (b"image_id\tlabel_name\tlabel\tt\tt\na\tnuclei\t1\t0\t1\n", "two columns have one name"),
        (b"image_id\tlabel_name\tlabel\tt\na\tnuclei\t1\n", "not as many cells"),
        (b'image_id\tlabel_name\tlabel\tt\n"a\tnuclei\t1\t0\n', "table cannot be read"),
        (b"image_id\tlabel_name\tlabel\tt\n\xff\tnuclei\t1\t0\n", "table cannot be read"),
        (b"PAR1 and no more", "table cannot be read"),
        (b"x" * 300_000, "table cannot be read"),
    ],
)
def test_what_is_no_table_of_objects_is_refused(run, content, told):
    (run / "other.dat").write_bytes(content)
    with pytest.raises(InputError, match=told):
        trace(run, table="other.dat")


def test_a_pipe_or_a_folder_is_no_table(run):
    os.mkfifo(run / "pipe.tsv")
    for name in ("pipe.tsv", "images"):
        with pytest.raises(InputError, match="The table is no file"):
            trace(run, table=name)
    with pytest.raises(InputError, match="table cannot be read"):
        trace(run, table="a\0b.tsv")


@pytest.mark.parametrize("row", [1, -1, 10**30])
def test_a_row_that_is_not_in_the_tsv_is_refused(run, row):
    with pytest.raises(ConfigurationError, match=r"no such row.*expected 0 to 0"):
        trace(run, row, TSV)


def record_of(results, step, attempt=1):
    """Return the record of an attempt on the image."""
    (found,) = [r for r in iter_records(results) if (r.step, r.attempt) == (step, attempt)]
    return found


def forged(results, step, attempt, **changes):
    """Write a record of an attempt on the image otherwise."""
    place = results / "records" / step.replace("-", "_") / "a" / f"{attempt:04d}.json"
    write_record(place, record_of(results, step, attempt).model_copy(update=changes))
