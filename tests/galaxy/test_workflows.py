"""The workflows run in a real Galaxy, from images to reports, crates and annotations."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from tests.galaxy.analysis import BROKEN, IMAGES, Analysis
from tests.galaxy.configuration import ROOT
from tests.galaxy.history import History
from tests.galaxy.mapped_runs import elements
from tests.galaxy.runs import lint_workflow, run_workflow_tests
from tests.galaxy.server import Galaxy
from tests.galaxy.sources import sources
from tests.galaxy.workflow_runs import logged_in, run_workflow

import parfocal

FOLDER = ROOT / "workflows"
WORKFLOWS = {path.parent.name: path for path in sorted(FOLDER.glob("*/*.gxwf.yml"))}
NEEDS_SERVER = ("omero_to_annotations",)
SERVER = "omero+tcp://127.0.0.1:18764"


@pytest.mark.parametrize("path", WORKFLOWS.values(), ids=WORKFLOWS)
def test_planemo_finds_nothing_wrong_with_a_workflow(path: Path) -> None:
    wrong = lint_workflow(path)
    assert not wrong, wrong


@pytest.mark.parametrize("path", WORKFLOWS.values(), ids=WORKFLOWS)
def test_planemo_runs_the_tests_of_a_workflow(galaxy: Galaxy, history: History, path: Path) -> None:
    with served(history) if path.parent.name in NEEDS_SERVER else nullcontext():
        outcomes = run_workflow_tests(galaxy, path)
    failed = [each.told() for each in outcomes if each.status != "success"]
    assert not failed, "\n\n".join(failed)


@contextmanager
def served(history: History) -> Iterator[None]:
    """Run the servers of the tests, where the user of a history is logged in."""
    tools = ("list_images", "fetch_image", "apply_annotations", "verify_annotations")
    version = f"{parfocal.__version__}+galaxy0"
    versions = {f"parfocal_{tool}": version for tool in tools}
    login = {"host": SERVER, "user": "alice", "password": "alice"}
    with sources(), logged_in(history, versions, **login):
        yield


def crate_of(history: History, dataset: str, folder: Path) -> str:
    """Return the metadata of a zipped run crate."""
    packed = folder / "crate.zip"
    packed.write_bytes(history.api.datasets.download_dataset(dataset))
    with zipfile.ZipFile(packed) as files:
        return files.read("ro-crate-metadata.json").decode()


def test_an_image_that_fails_stops_no_other(galaxy: Galaxy, analysed: Analysis) -> None:
    history = analysed.within(galaxy)
    converted = elements(history, analysed.collections["ome_zarr"])
    expected = dict.fromkeys(IMAGES, "ok") | {BROKEN: "error"}
    assert {each.name: each.state for each in converted} == expected
    for name in ("verifications", "labels", "objects", "quality", "for_viewers"):
        found = elements(history, analysed.collections[name])
        assert {each.name: each.state for each in found} == dict.fromkeys(IMAGES, "ok"), name
    assert analysed.states["error"] == 1
    assert set(analysed.states) == {"ok", "error"}
    tables = elements(history, analysed.collections["objects"])
    counts = {each.name: len(history.text(each.id).splitlines()) - 1 for each in tables}
    assert counts == {"cells": 6, "packed": 6, "stack": 4}


def test_an_image_that_fails_is_named_in_the_report(galaxy: Galaxy, analysed: Analysis) -> None:
    report = analysed.within(galaxy).shown(analysed.outputs["report"])
    assert "There is no record of convert-image for this image" in report
    assert BROKEN in report
    assert re.search(rf"{len(IMAGES)}\s+done,\s+1\s+failed", report)


def test_images_of_a_server_are_analysed_and_annotated(tmp_path: Path, history: History) -> None:
    with served(history):
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
