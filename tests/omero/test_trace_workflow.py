"""From images on a server, by the workflow, to ROIs on them; and from each ROI back."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from omero_objects import dataset, save
from parfocal.models.sheet import read_sheet
from rules.runs import SQUARES, Run, environment, program


def parfocal(*arguments: str, cwd: Path) -> str:
    """Run a command of Parfocal's, and return what it prints."""
    done = subprocess.run(
        [program("parfocal"), *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def upload(gateway: Any, parent: int, seed: int) -> int:
    """Make an image of three squares in a dataset."""
    plane = np.random.default_rng(seed).poisson(20, (64, 64)).astype(np.uint16)
    for square in SQUARES:
        plane[square] += 500
    within = gateway.getObject("Dataset", parent)
    made = gateway.createImageFromNumpySeq(iter([plane]), f"cells {seed}", 1, 1, 1, dataset=within)
    return int(made.getId())


def check_traced(told: dict[str, Any], image: str, url: str) -> None:
    """Check where an object of the workflow is said to come from."""
    assert told["roi"]["target"] == told["source"] == image
    assert told["roi"]["differences"] == []
    assert told["crate"]["uri"] == "run-crate"
    assert told["crate_found"] == told["crate"]["digest"]
    assert told["unlike_crate"] == []
    assert told["workflow_url"] == url
    attempts = {one["step"]: one for one in told["attempts"]}
    assert {"fetch-image", "convert-image", "segment-objects"} < set(attempts)
    for one in attempts.values():
        assert one["commit"]
        assert one["lock_digest"].startswith("sha256:")
    assert told["proofs"][0]["verdict"] in ("verified", "self-consistent")
    assert told["table"] == f"images/{told['object']['image_id']}/tables/nuclei.parquet"


def test_each_roi_of_a_run_leads_to_its_image_and_the_crate(
    alice: Any, logged_in: str, tmp_path: Path
) -> None:
    parent = save(alice, dataset("a traced study")).id.val
    images = [upload(alice, parent, seed) for seed in range(2)]
    source = f"source={logged_in}/dataset/{parent}"
    parfocal("list-images", "--set", source, "--sheet", "samples.tsv", cwd=tmp_path)
    url = "https://example.org/workflow"
    config = ["annotate={enabled: true}", f"record_run={{workflow_url: '{url}'}}"]
    run = Run(tmp_path, read_sheet(tmp_path / "samples.tsv"), config)
    done = run.snakemake("--quiet", "host", "reason", "rules")
    assert done.returncode == 0, done.stderr
    seen = set()
    for number in images:
        for roi in alice.getRoiService().findByImage(number, None).rois:
            report = tmp_path / "trace.json"
            printed = parfocal(
                "trace-object", f"ROI:{roi.id.val}", f"--json={report}", cwd=tmp_path
            )
            assert f"  of the workflow {url}\n" in printed
            assert "\n  lock file sha256:" in printed
            told = json.loads(report.read_text("utf-8"))
            check_traced(told, f"{logged_in}/image/{number}", url)
            (mask,) = roi.copyShapes()
            (at,) = [
                one
                for one, (y, x) in enumerate(SQUARES)
                if (int(mask.y.val), int(mask.x.val)) == (y.start, x.start)
            ]
            seen.add((number, at, told["object"]["label"], told["row"]))
    assert len(seen) == len(images) * len(SQUARES)
    assert len({(number, label) for number, _, label, _ in seen}) == len(seen)
