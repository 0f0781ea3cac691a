"""The command trace-object: from a ROI on a server to what it was drawn from."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import omero
import pyarrow.parquet
import pytest
import zarr
from omero.rtypes import rdouble, rstring

import verified_runs
from omero_connections import forget_connections
from omero_objects import reference, save, upload_image
from parfocal.cli.main import main
from parfocal.provenance.records import iter_records
from verified_runs import make_run

MASK = {"rois": {"shape": {"method": "mask"}}, "attach": []}
POLYGON = {"rois": {"shape": {"method": "polygon", "tolerance_px": 0}}, "attach": []}
CENTRES = {(0, 20, 70): 9, (0, 50, 30): 8, (1, 30, 40): 10, (1, 60, 80): 6}
"""Discs, as (t, y, x) and radius; the last that is reached is the first to be numbered."""


def discs() -> np.ndarray:
    """Return noisy discs (T2, Y, X) uint16, another two at each time point."""
    pixels = np.random.default_rng(7).integers(90, 110, (2, 70, 90)).astype(np.uint16)
    y, x = np.mgrid[:70, :90]
    for (t, row, column), radius in CENTRES.items():
        pixels[t, (y - row) ** 2 + (x - column) ** 2 < radius**2] += 2000
    return pixels


@dataclass
class Annotated:
    """A run whose results are on a server."""

    folder: Path
    target: str

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def command(self, *arguments: str | Path) -> int:
        """Run a command."""
        with mock.patch.dict(os.environ):  # of which steps without a server forget the login
            return main([str(each) for each in arguments])

    def plan(self, params: dict[str, Any]) -> None:
        """Plan the annotations."""
        options = ("--results", self.results, "--sheet", self.results / "omero.tsv")
        plan = ("--plan", self.results / "annotation-plan.json", "--replace")
        assert (
            self.command("plan-annotations", *options, *plan, "--params", json.dumps(params)) == 0
        )

    def apply(self) -> None:
        """Apply them."""
        plan = ("--results", self.results, "--plan", self.results / "annotation-plan.json")
        receipt = ("--receipt", self.results / "annotation-receipt.json", "--replace")
        assert self.command("apply-annotations", *plan, *receipt) == 0

    def rois(self, gateway: Any) -> list[Any]:
        """Return the ROIs of the image on the server, with their shapes."""
        number = int(self.target.rpartition("/")[2])
        return list(gateway.getRoiService().findByImage(number, None).rois)

    def trace(self, number: int, *options: str) -> dict[str, Any]:
        """Trace a ROI back."""
        report = self.folder / "trace.json"
        options = (f"--results={self.results}", f"--json={report}", *options)
        assert self.command("trace-object", f"ROI:{number}", *options) == 0
        told: dict[str, Any] = json.loads(report.read_text("utf-8"))
        return told

    def refused(self, capsys: pytest.CaptureFixture[str], number: int, *options: str) -> str:
        """Return with what error a ROI is not traced."""
        capsys.readouterr()
        options = (f"--results={self.results}", *options)
        assert self.command("trace-object", f"ROI:{number}", *options) == 2
        return capsys.readouterr().err

    def labels(self) -> Any:
        """Return the pixels of the label image."""
        return zarr.open_array(self.results / "images/a/labels/nuclei.ome.zarr/0", mode="r")[...]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that knows of no server."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verified_runs, "disc", discs)
        patch.setattr(verified_runs, "CONVERSION", verified_runs.CONVERSION | {"axes": "TYX"})
        make_run(folder)
    return folder


@pytest.fixture
def run(made: Path, target: str, tmp_path: Path) -> Annotated:
    """A copy of the run, whose image is one on the server; nothing is written to it yet."""
    shutil.copytree(made, tmp_path / "run")
    source = made / "data" / "a.tif"
    sheet = f"image_id\tsource\tomero\na\t{source}\t{target}\n"
    (tmp_path / "run/results/omero.tsv").write_text(sheet, "utf-8")
    return Annotated(tmp_path / "run", target)


def check(run: Annotated, alice: Any, shape_of: Any) -> list[int]:
    """Trace each ROI of the image, and find its label under its shape; return their ids."""
    labels, seen = run.labels(), set()
    rows = pyarrow.parquet.read_table(run.results / "images/a/tables/nuclei.parquet").to_pylist()
    rois = run.rois(alice)
    for roi in rois:
        found = run.trace(roi.id.val)
        known = found["object"]
        (shape,) = roi.copyShapes()
        t = shape.theT.val
        y, x = shape_of(shape)
        assert (known["t"], known["label"]) == (t, labels[t, y, x])
        assert roi.name.val == f"nuclei {known['label']}"
        row = rows[found["row"]]
        assert {name: row[name] for name in known} == known
        assert found["roi"]["differences"] == []
        assert (found["roi"]["target"], found["roi"]["checked"]) == (run.target, True)
        seen.add((known["t"], known["label"]))
    assert len(seen) == len(rois) == len(CENTRES)
    return [roi.id.val for roi in rois]


def middle(mask: Any) -> tuple[int, int]:
    return (
        int(mask.y.val + mask.height.val / 2),
        int(mask.x.val + mask.width.val / 2),
    )


def middle_of_corners(polygon: Any) -> tuple[int, int]:
    corners = [part.split(",") for part in polygon.points.val.split()]
    x, y = np.array(corners, float).mean(0)
    return int(y), int(x)


def test_each_roi_leads_to_its_object_and_its_source(run: Annotated, alice: Any, capsys) -> None:
    run.plan(MASK)
    run.apply()
    number = check(run, alice, middle)[0]
    capsys.readouterr()
    found = run.trace(number)
    assert found["attempts"][0]["step"] == "measure-objects"
    assert found["source"].endswith("data/a.tif")
    assert found["proofs"][0]["verdict"] == "verified"
    assert all(chunk.startswith("0/c/") for chunk in found["chunks"])
    told = capsys.readouterr().out.splitlines()
    run_id = json.loads((run.results / "annotation-plan.json").read_text("utf-8"))["run_id"]
    assert told[1] == f"roi      {number} of {run.target}, run {run_id}"
    assert told[2] == f"row      {found['row']} of images/a/tables/nuclei.parquet"


def test_polygons_lead_to_their_objects(run: Annotated, alice: Any) -> None:
    run.plan(POLYGON)
    run.apply()
    check(run, alice, middle_of_corners)


def test_without_a_table_the_label_image_leads_on(run: Annotated, alice: Any) -> None:
    run.plan(MASK)
    run.apply()
    numbers = check(run, alice, middle)
    with_table = run.trace(numbers[0])
    (run.results / "images/a/tables/nuclei.parquet").unlink()
    found = run.trace(numbers[0])
    assert (found["table"], found["row"]) == (None, None)
    assert [one for one in with_table["attempts"] if one not in found["attempts"]] == [
        with_table["attempts"][0]
    ]
    for name in ("object", "labels", "chunks", "source"):
        assert found[name] == with_table[name]


def test_a_run_that_was_repeated_has_the_same_rois(run: Annotated, alice: Any, made: Path) -> None:
    run.plan(MASK)
    run.apply()
    before = check(run, alice, middle)
    place = run.results / "images/a"
    shutil.rmtree(place / "labels")
    segment = ("--image", place / "image.ome.zarr", "--labels", place / "labels/nuclei.ome.zarr")
    assert run.command("segment-objects", *segment) == 0
    assert run.trace(before[0])["roi"]["differences"] == []
    run.plan(MASK)
    run.apply()
    assert check(run, alice, middle) == before


def renumber(run: Annotated, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the run again with larger smoothing and without the disc that was numbered first."""
    source = run.folder / "data" / "a.tif"
    pixels = discs()
    pixels[0, :35] = 100
    monkeypatch.setattr(verified_runs, "CONVERSION", verified_runs.CONVERSION | {"axes": "TYX"})
    verified_runs.tifffile.imwrite(source, pixels, photometric="minisblack")
    shutil.rmtree(run.results / "originals")
    verified_runs._steps(run.results, "a", source, {"threshold": {"method": "otsu"}})


def test_objects_that_were_renumbered_are_not_mistaken(
    run: Annotated, alice: Any, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    run.plan(MASK)
    run.apply()
    before = {roi.id.val for roi in run.rois(alice)}
    number = min(before)
    labels = run.labels()
    renumber(run, monkeypatch)
    assert not np.array_equal(labels, run.labels())
    told = run.refused(capsys, number)
    assert "The label image is not the one that the ROI was drawn from" in told
    assert "Plan the annotations again" in told
    assert run.refused(capsys, number, "--offline") == told
    run.plan(MASK)
    told = run.refused(capsys, number)
    assert "The annotation plan that the ROI was drawn by is not there any more" in told
    assert "Apply the plan" in told
    run.apply()
    told = run.refused(capsys, number)
    assert "not written from these results, or was replaced since" in told
    assert "none on" in told
    after = run.rois(alice)
    assert not before & {roi.id.val for roi in after}
    assert len(after) == len(CENTRES) - 1
    for roi in after:
        (mask,) = roi.copyShapes()
        y, x = middle(mask)
        assert run.trace(roi.id.val)["object"]["label"] == run.labels()[mask.theT.val, y, x]


def test_what_was_edited_on_the_server_is_told(run: Annotated, alice: Any, capsys) -> None:
    run.plan(MASK)
    run.apply()
    roi, other, last, _ = run.rois(alice)
    wanted = run.trace(roi.id.val)["object"]
    roi.name = rstring("my cell\x1b[2J")
    (shape,) = roi.copyShapes()
    shape.x = rdouble(shape.x.val + 1)
    save(alice, roi)
    capsys.readouterr()
    found = run.trace(roi.id.val)
    assert found["object"] == wanted
    named, moved = found["roi"]["differences"]
    assert named == f"its name is 'my cell\\x1b[2J', and was 'nuclei {wanted['label']}'"
    assert moved == "its shapes are not those of the object"
    assert "  edited: its shapes are not those of the object" in capsys.readouterr().out
    ellipse = omero.model.EllipseI()
    ellipse.x = ellipse.y = ellipse.radiusX = ellipse.radiusY = rdouble(3)
    other.addShape(ellipse)
    save(alice, other)
    assert run.trace(other.id.val)["roi"]["differences"] == [moved]
    capsys.readouterr()
    verify = ("--results", run.results, "--plan", run.results / "annotation-plan.json")
    verify = (*verify, "--verification", run.folder / "verification.json")
    assert run.command("verify-annotations", *verify) == 4
    assert "differs from the annotation plan in 2 places" in capsys.readouterr().err
    last.description = None
    save(alice, last)
    (told,) = run.trace(last.id.val)["roi"]["differences"]
    assert told.startswith("its description is '', and was 'parfocal:")


def test_a_roi_that_was_deleted_is_traced_offline_alone(run: Annotated, alice: Any, capsys) -> None:
    run.plan(MASK)
    run.apply()
    number = run.rois(alice)[0].id.val
    before = run.trace(number)
    alice.deleteObjects("Roi", [number], wait=True)
    told = run.refused(capsys, number)
    assert "The ROI is not on the OMERO server any more" in told
    assert f"ROI:{number} of {run.target}" in told
    capsys.readouterr()
    found = run.trace(number, "--offline")
    assert found["roi"].pop("checked") is False
    assert before["roi"].pop("checked") is True
    assert found == before
    assert capsys.readouterr().out.splitlines()[1].endswith(", as the journal has it")


def test_offline_no_login_is_needed(
    run: Annotated, alice: Any, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.plan(MASK)
    run.apply()
    number = run.rois(alice)[0].id.val
    before = run.trace(number)
    forget_connections()
    for name in ("USER", "PASSWORD"):
        monkeypatch.delenv(f"OMERO_{name}")
    assert "login" in run.refused(capsys, number)
    assert run.trace(number, "--offline")["object"] == before["object"]
    assert "none in the journal" in run.refused(capsys, number + 10**6, "--offline")


def test_rois_of_others_are_refused_with_what_they_are(
    run: Annotated, alice: Any, capsys, tmp_path: Path
) -> None:
    image = int(run.target.rpartition("/")[2])
    told = run.refused(capsys, 1)
    assert "has no journal of what was written to an OMERO server" in told
    run.plan(MASK)
    run.apply()
    own = omero.model.RoiI()
    own.image = alice.getObject("Image", image)._obj.__class__(image, False)
    number = save(alice, own).id.val
    told = run.refused(capsys, number)
    assert "This ROI was not written from these results" in told
    assert f"ROI:{number}" in told
    assert f"one of {run.target} that Parfocal did not write" in told
    assert "none on" in run.refused(capsys, number + 10**6)
    other = f"{run.target.rpartition('/')[0]}/{upload_image(alice)}"
    elsewhere = Annotated(tmp_path / "other", other)
    shutil.copytree(run.folder, elsewhere.folder)
    shutil.rmtree(elsewhere.results / "annotations")
    sheet = elsewhere.results / "omero.tsv"
    sheet.write_text(sheet.read_text("utf-8").replace(run.target, other), "utf-8")
    elsewhere.plan(MASK)
    elsewhere.apply()
    number = elsewhere.rois(alice)[0].id.val
    assert elsewhere.trace(number)["roi"]["target"] == other
    told = run.refused(capsys, number)
    assert f"one of {other}, of other results" in told
    assert "--results" in told


def test_a_roi_that_was_begun_and_not_finished_is_told(run: Annotated, alice: Any, capsys) -> None:
    run.plan(MASK)
    run.apply()
    number = run.rois(alice)[0].id.val
    (journal,) = (run.results / "annotations").glob("*.jsonl")
    lines = journal.read_text("utf-8").splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if '"begin"' in line), "utf-8")
    told = run.refused(capsys, number)
    assert f"one of {run.target} that was begun, not finished" in told
    assert "parfocal apply-annotations" in told


def test_where_two_servers_have_the_number_one_is_asked_for(
    run: Annotated, alice: Any, capsys, logged_in: str
) -> None:
    run.plan(MASK)
    run.apply()
    number = run.rois(alice)[0].id.val
    (journal,) = (run.results / "annotations").glob("*.jsonl")
    text = journal.read_text("utf-8").replace(logged_in, "omero://omero.example.org")
    journal.with_name("other.jsonl").write_text(text, "utf-8")
    told = run.refused(capsys, number)
    assert "There are ROIs of this number on several servers" in told
    assert logged_in in told
    assert "omero://omero.example.org" in told
    assert run.trace(number, f"--server={logged_in}")["roi"]["id"] == number
    told = run.refused(capsys, number, "--server=omero://elsewhere.example.org")
    assert "none of omero://elsewhere.example.org" in told
    journal.with_name("other.jsonl").write_text(text.replace("omero://", "https://"), "utf-8")
    assert "is not on an OMERO server" in run.refused(capsys, number)


def test_a_number_that_is_now_of_another_image_is_not_taken_for_ours(
    run: Annotated, alice: Any, capsys
) -> None:
    run.plan(MASK)
    run.apply()
    roi = run.rois(alice)[0]
    other = upload_image(alice)
    roi.image = reference(alice.getObject("Image", other)._obj)
    save(alice, roi)
    told = run.refused(capsys, roi.id.val)
    assert "is on another image than the one that was written" in told
    assert f"image {other}" in told


def test_the_results_folder_is_found_from_where_one_works(
    run: Annotated, alice: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys
) -> None:
    run.plan(MASK)
    run.apply()
    number = run.rois(alice)[0].id.val
    for place in (run.folder, run.results, run.results / "images" / "a"):
        monkeypatch.chdir(place)
        assert run.command("trace-object", f"roi:{number}") == 0
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert run.command("trace-object", f"ROI:{number}") == 2
    assert "There is no results folder around this" in capsys.readouterr().err
    steps = [record.step for record in iter_records(run.results)]
    assert "apply-annotations" in steps


@pytest.mark.parametrize("text", ["ROI:0", "ROI:-1", "ROI:x", "nuclei.parquet", "ROI:1" + 30 * "0"])
def test_what_is_neither_a_row_nor_a_roi_is_refused(text: str, capsys) -> None:
    assert main(["trace-object", text]) == 2
    assert "names neither a row of a table nor a ROI" in capsys.readouterr().err


def test_results_that_were_collected_lead_on_too(
    run: Annotated, alice: Any, tmp_path: Path
) -> None:
    run.plan(MASK)
    run.apply()
    number = run.rois(alice)[0].id.val
    before = run.trace(number)
    place = run.results / "images/a"
    (journal,) = (run.results / "annotations").glob("*.jsonl")
    data = [
        place / "image.ome.zarr",
        place / "labels/nuclei.ome.zarr",
        *place.glob("tables/nuclei.*"),
    ]
    data += [place / "image.certificate.json", run.results / "originals/a"]
    data += [run.results / "annotation-plan.json", *run.results.glob("records/*/*/*.json")]
    listing = tmp_path / "listing.txt"
    listing.write_text("".join(f"{path}\n" for path in data), "utf-8")
    apart = Annotated(tmp_path / "apart", run.target)
    apart.folder.mkdir()
    options = ("--listing", listing, "--folder", apart.results, "--journal", journal)
    assert run.command("collect-results", *options, "--sheet", tmp_path / "samples.tsv") == 0
    found = apart.trace(number)
    for name in ("object", "roi", "table", "row", "chunks", "labels", "source"):
        assert found[name] == before[name]
