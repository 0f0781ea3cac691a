"""The workflows run in a real Galaxy, from images to reports, crates and annotations."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from tests.galaxy.configuration import ROOT
from tests.galaxy.history import History
from tests.galaxy.mapped_runs import elements, list_of
from tests.galaxy.runs import lint_workflow
from tests.galaxy.sources import sources
from tests.galaxy.workflow_runs import logged_in, run_workflow

import parfocal

FOLDER = ROOT / "workflows"
WORKFLOWS = {path.parent.name: path for path in sorted(FOLDER.glob("*/*.gxwf.yml"))}
DATA = FOLDER / "analyse_images/test-data"
SERVER = "omero+tcp://127.0.0.1:18764"


@pytest.mark.parametrize("path", WORKFLOWS.values(), ids=WORKFLOWS)
def test_planemo_finds_nothing_wrong_with_a_workflow(path: Path) -> None:
    wrong = lint_workflow(path)
    assert not wrong, wrong


def crate_of(history: History, dataset: str, folder: Path) -> str:
    """Return the metadata of a zipped run crate."""
    packed = folder / "crate.zip"
    packed.write_bytes(history.api.datasets.download_dataset(dataset))
    with zipfile.ZipFile(packed) as files:
        return files.read("ro-crate-metadata.json").decode()


def test_images_are_analysed_and_one_that_fails_stops_no_other(
    tmp_path: Path, history: History
) -> None:
    (tmp_path / "notes.tif").write_text("No image here.\n")
    samples = (DATA / "samples.tsv").read_text()
    (tmp_path / "three.tsv").write_text(samples + "notes\tNotes\tnotes.tif\n")
    tiff = history.upload(DATA / "cells.tif", "tiff")
    packed = history.upload(DATA / "cells.ome.zarr.zip", "ome_zarr.zip")
    notes = history.upload(tmp_path / "notes.tif", "tiff")
    images = list_of(history, {"cells": tiff, "notes": notes, "packed": packed})
    sheet = history.upload(tmp_path / "three.tsv", "tabular")
    workflow = history.upload(WORKFLOWS["analyse_images"], "yaml")
    done = run_workflow(
        history,
        WORKFLOWS["analyse_images"],
        {
            "images": {"src": "hdca", "id": images},
            "channel": "0",
            "sheet": {"src": "hda", "id": sheet},
            "workflow": {"src": "hda", "id": workflow},
        },
    )
    converted = elements(history, done.collections["ome_zarr"])
    found = [(each.name, each.state) for each in converted]
    assert found == [("cells", "ok"), ("notes", "error"), ("packed", "ok")]
    for name in ("verifications", "labels", "objects", "quality", "for_viewers"):
        found = [(each.name, each.state) for each in elements(history, done.collections[name])]
        assert found == [("cells", "ok"), ("packed", "ok")], name
    assert done.states["error"] == 1
    assert set(done.states) == {"ok", "error"}
    for each in elements(history, done.collections["objects"]):
        assert len(history.text(each.id).splitlines()) == 7
    report = history.shown(done.outputs["report"])
    assert "There is no record of convert-image for this image" in report
    crate = crate_of(history, done.outputs["run_crate"], tmp_path)
    assert "wfrun/provenance/0.5" in crate
    assert "workflow.gxwf.yml" in crate


def test_images_of_a_server_are_analysed_and_annotated(tmp_path: Path, history: History) -> None:
    tools = ("list_images", "fetch_image", "apply_annotations", "verify_annotations")
    version = f"{parfocal.__version__}+galaxy0"
    versions = {f"parfocal_{tool}": version for tool in tools}
    login = {"host": SERVER, "user": "alice", "password": "alice"}
    with sources(), logged_in(history, versions, **login):
        done = run_workflow(
            history,
            WORKFLOWS["omero_to_annotations"],
            {"source": f"{SERVER}/dataset/4", "names": "*", "channel": "0"},
        )
    assert set(done.states) == {"ok"}, done.states
    sheet = [line.split("\t") for line in history.text(done.outputs["sample_sheet"]).splitlines()]
    names = [line[0] for line in sheet[1:]]
    assert len(names) == 2
    assert [each.name for each in elements(history, done.collections["labels"])] == sorted(names)
    applied = json.loads(history.text(done.outputs["annotations_applied"]))["targets"]
    crate = applied.pop(f"{SERVER}/dataset/4")
    assert list(crate["ids"]) == ["DatasetAnnotationLink", "FileAnnotation"]
    assert set(applied) == {f"{SERVER}/image/5", f"{SERVER}/image/6"}
    for each in applied.values():
        kinds = {"MapAnnotation", "FileAnnotation", "Roi"}
        assert kinds <= set(each["ids"])
    verified = json.loads(history.text(done.outputs["annotations_verified"]))
    assert (verified["verdict"], verified["differences"]) == ("verified", [])
    journal = history.text(done.outputs["journal_of_annotations"]).splitlines()
    assert len(journal) == 2 * verified["annotations"]
    assert f"{SERVER}/image/5" in crate_of(history, done.outputs["run_crate"], tmp_path)
