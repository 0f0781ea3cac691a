"""Steps run one at a time on one image, whose records lie in a results folder."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tifffile

import parfocal
from parfocal.cli.main import main
from parfocal.core.digest import digest_path
from parfocal.engine.lock_file import LOCK
from parfocal.engine.repeat.agreement import Side, compare_repeated
from parfocal.engine.tell_jobs import commit_of
from parfocal.provenance.compare_runs import compare_crates
from parfocal.provenance.read_crate import read_crate
from parfocal.provenance.records import iter_records
from parfocal.provenance.verify_places import Places
from verified_runs import disc, edit_graph

ROOT = Path(parfocal.__file__).parents[2]
IMAGE = "results/images/cells/image.ome.zarr"
LABELS = "results/images/cells/labels/nuclei.ome.zarr"
CONVERT = (
    *("convert-image", "--source=cells.tif", f"--image={IMAGE}", "--set=axes=ZYX"),
    "--certificate=results/images/cells/image.certificate.json",
)
SEGMENT = ("segment-objects", f"--image={IMAGE}", f"--labels={LABELS}")
KEPT = ("--folder=results", "--image-id=cells")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "cells.tif", disc(), photometric="minisblack")
    (tmp_path / "sheet.tsv").write_text("image_id\tsource\ncells\tcells.tif\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name in ("PARFOCAL_COMMIT", "PARFOCAL_LOCK", "PARFOCAL_LOCK_DIGEST"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_their_run_is_recorded_verified_and_repeated(folder, capsys):
    assert main([*CONVERT, *KEPT]) == 0
    assert main([*SEGMENT, *KEPT]) == 0
    assert main([*SEGMENT, *KEPT, "--replace", "--set=min_diameter_px=3"]) == 0
    records = {(one.step, one.attempt): one for one in iter_records(folder / "results")}
    assert set(records) == {("convert-image", 1), ("segment-objects", 1), ("segment-objects", 2)}
    assert records["segment-objects", 1].inputs[0].uri == "images/cells/image.ome.zarr"
    (commit,) = {one.commit for one in records.values()}
    assert commit == commit_of(ROOT)
    assert {one.lock_digest for one in records.values()} == {digest_path(ROOT / LOCK)}
    record = ("record-run", "--results=results", "--sheet=sheet.tsv", "--crate=results/run-crate")
    assert main([*record]) == 0
    assert main(["verify-run", "results/run-crate"]) == 0
    capsys.readouterr()
    report = folder / "report.json"
    again = ("repeat-run", "results/run-crate", "--folder=again", "--environment=here")
    assert main([*again, f"--json={report}"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "identical"
    found = json.loads(report.read_text())
    assert found["same_results"] == 3
    assert {row["kind"] for row in found["differences"]} == {"file"}  # the sheet, by its paths


def test_a_reader_that_leaves_is_no_error(folder):
    assert main([*CONVERT, *KEPT]) == 0
    assert main([*SEGMENT, *KEPT]) == 0
    measure = ("measure-objects", f"--image={IMAGE}", f"--labels={LABELS}", "--tsv=results/a.tsv")
    assert main([*measure, "--table=results/images/cells/a.parquet", *KEPT]) == 0
    command = [sys.executable, "-m", "parfocal", "trace-object", "results/a.tsv", "0"]
    whole = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert f"source   {folder / 'cells.tif'}\n" in whole.stdout
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    told = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), told) == (141, "")


def test_both_options_are_needed(capsys):
    for option in KEPT:
        with pytest.raises(SystemExit):
            main([*CONVERT, option])
        assert "--folder and --image-id of one image go together" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../cells", "a/b", "_run", "", "."])
def test_names_that_lead_elsewhere_are_refused(folder, name, capsys):
    code = main([*CONVERT, "--folder=results", f"--image-id={name}"])
    assert code == 2
    assert "cannot be called so" in capsys.readouterr().err
    assert not (folder / "results").exists()


def test_outputs_elsewhere_are_refused(folder, capsys):
    assert main([*CONVERT, "--folder=results/images/other", "--image-id=cells"]) == 2
    told = capsys.readouterr().err
    assert "outside of the results folder" in told
    assert IMAGE in told
    assert not (folder / "results").exists()


def test_a_step_that_was_run_twice_on_an_image_is_repeated_twice(folder, capsys):
    assert main([*CONVERT, *KEPT]) == 0
    smooth = ("filter-image", f"--image={IMAGE}", *KEPT)
    for name, sigma in (("f1", 1), ("f2", 2)):
        params = json.dumps({"filter": {"method": "gaussian", "sigma_px": sigma}})
        out = f"results/images/cells/{name}.ome.zarr"
        assert main([*smooth, f"--filtered={out}", f"--params={params}"]) == 0
    labels = "--labels=results/images/cells/labels/nuclei.ome.zarr"
    first = "--image=results/images/cells/f1.ome.zarr"
    assert main(["segment-objects", first, labels, *KEPT]) == 0
    record = ("record-run", "--results=results", "--sheet=sheet.tsv", "--crate=results/run-crate")
    assert main([*record]) == 0
    again = ("repeat-run", "results/run-crate", "--environment=here", "--json=found.json")
    assert main([*again, "--folder=again"]) == 0
    assert (folder / "again/results/images/cells/f1.ome.zarr/zarr.json").exists()
    crate = read_crate(folder / "results/run-crate")
    (datum,) = (one for one in crate.data.values() if one.name.endswith("f1.ome.zarr"))
    capsys.readouterr()
    graph = {"identifier": "zarr-merkle-sha256:" + "0" * 64}
    edit_graph(folder / "results/run-crate", datum.identifier, **graph)
    assert main([*again, "--folder=other"]) == 4
    told = capsys.readouterr().out.splitlines()
    assert "differs    filter-image: images/cells/f1.ome.zarr is another one" in told
    assert told[-1] != "identical"


def test_a_result_that_is_not_made_again_is_a_difference(folder):
    """As of a step that was run by hand beside a workflow."""
    assert main([*CONVERT, *KEPT]) == 0
    record = ("record-run", "--results=results", "--sheet=sheet.tsv")
    assert main([*record, "--crate=results/less"]) == 0
    assert main([*SEGMENT, *KEPT]) == 0
    assert main([*record, "--crate=results/more"]) == 0
    sides = [
        Side(read_crate(folder / "results" / name), Places(folder / "results", {}))
        for name in ("more", "less")
    ]
    found = compare_crates(*(side.crate for side in sides))
    assert found.differing == 0
    lost = compare_repeated(*sides, found, 1).lost
    assert lost == ["segment-objects: images/cells/labels/nuclei.ome.zarr was not made again"]
    assert compare_repeated(sides[1], sides[0], found, 1).lost == []
