"""The batch rule preview_image, in a workflow of one's own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import imagecodecs
import pytest

from parfocal.models.sheet import Row, write_sheet
from parfocal.provenance.records import iter_records
from rules.runs import ROOT, environment, nothing_to_do, program, write_blobs

WORKFLOW = """
CONFIG = {{
    "sheet": "samples.tsv",
    "results": "results",
    "batch_size": 2,
    "threads": 1,
    "params": lambda step: '{{"edge_px": 64}}',
    "trigger": lambda step, batch: "",
    "resources": lambda step, batch, attempt: {{"mem_mb": 500, "runtime": 10}},
    "attempts": lambda: 1,
    "resources_file": "samples.resources.json",
    "image": {{"preview_image": "images/{{image_id}}/image.ome.zarr"}},
}}

module analyse:
    snakefile: {rules!r}
    config: CONFIG

use rule preview_image from analyse
"""
TARGET = "results/outcomes/preview_image/0.json"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which objects of two images were found; the second has lost its labels."""
    folder = tmp_path_factory.mktemp("preview")
    (folder / "Snakefile").write_text(WORKFLOW.format(rules=str(ROOT / "rules/analyse.smk")))
    rows = [Row(image_id=name, source=f"{name}.tif") for name in ("one", "two")]
    write_sheet(folder / "samples.tsv", rows)
    for seed, row in enumerate(rows):
        write_blobs(folder / row.source, seed)
    for step in ("fetch-image", "convert-image", "segment-objects"):
        command = [program("parfocal"), step, "--sheet", "samples.tsv", "--batch", "0"]
        command += ["--batch-size", "2", "--folder", "results"]
        outcome = f"results/outcomes/{step.replace('-', '_')}/0.json"
        done = call(folder, *command, "--outcome", outcome)
        assert done.returncode == 0, done.stderr
    (folder / "results/images/two/labels/nuclei.ome.zarr").rename(folder / "away")
    return folder


def call(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def snakemake(folder: Path) -> subprocess.CompletedProcess[str]:
    return call(folder, program("snakemake"), "--cores", "1", "--show-failed-logs", TARGET)


def test_each_image_has_its_preview_with_outlines(folder: Path) -> None:
    done = snakemake(folder)
    assert done.returncode == 0, done.stderr
    images = json.loads((folder / TARGET).read_text("utf-8"))["images"]
    assert {one["image_id"]: one["status"] for one in images} == {"one": "done", "two": "failed"}
    shown = imagecodecs.png_decode((folder / "results/images/one/preview.png").read_bytes())
    assert shown.shape == (64, 64, 3)
    assert (shown == (255, 214, 10)).all(axis=-1).sum() > 3 * 20
    (record,) = [
        one
        for one in iter_records(folder / "results")
        if (one.step, one.image_id) == ("preview-image", "one")
    ]
    assert {one.role for one in record.inputs} == {"image", "labels"}
    assert [one.kind for one in record.outputs] == ["png"]
    assert nothing_to_do(snakemake(folder))


def test_the_run_crate_says_what_a_preview_is(folder: Path) -> None:
    assert snakemake(folder).returncode == 0
    whole = ("--results", "results", "--sheet", "samples.tsv")
    done = call(folder, program("parfocal"), "record-run", *whole, "--crate", "results/run-crate")
    assert done.returncode == 0, done.stderr
    document = json.loads((folder / "results/run-crate/ro-crate-metadata.json").read_text("utf-8"))
    (preview,) = [one for one in document["@graph"] if one.get("name") == "preview.png"]
    assert preview["@type"] == "File"
    assert preview["encodingFormat"] == "image/png"
    assert preview["alternateName"] == "images/one/preview.png"


def test_the_report_tells_of_previews(folder: Path) -> None:
    assert snakemake(folder).returncode == 0
    whole = ("--results", "results", "--sheet", "samples.tsv")
    done = call(folder, program("parfocal"), "render-report", *whole, "--report", "report.html")
    assert done.returncode == 0, done.stderr
    text = (folder / "report.html").read_text("utf-8")
    assert "preview-image" in text
    assert "1 failed" in text
