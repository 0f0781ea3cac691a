"""`make demo`: the main job on real images, as the README tells to run it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rocrate_cache import findings, seed_cache

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "demo/results"
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def output() -> str:
    shutil.rmtree(RESULTS, ignore_errors=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        ["make", "--no-print-directory", "demo"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def scores(image_id: str) -> dict[float, float]:
    path = RESULTS / f"images/{image_id}/scores/nuclei.json"
    thresholds = json.loads(path.read_text(encoding="utf-8"))["thresholds"]
    return {entry["iou"]: entry["f1"] for entry in thresholds}


def test_it_ends_with_the_paths_of_report_and_crate(output: str) -> None:
    lines = output.strip().splitlines()[-2:]
    assert [Path(line.split()[-1]).exists() for line in lines] == [True, True]
    assert lines[0].endswith("report.html")


def test_nuclei_in_2d_are_found(output: str) -> None:
    f1 = scores("nuclei_2d")
    assert f1[0.5] >= 0.80
    assert f1[0.75] >= 0.50


def test_nuclei_in_3d_are_found(output: str) -> None:
    assert scores("nuclei_3d")[0.5] >= 0.50


def test_every_conversion_is_certified(output: str) -> None:
    certificates = sorted(RESULTS.glob("images/*/image.certificate.json"))
    assert len(certificates) >= 4
    for path in certificates:
        verdict = json.loads(path.read_text(encoding="utf-8"))["verdict"]
        assert verdict in ("verified", "self-consistent")


def test_runcrate_reads_the_crate(output: str) -> None:
    done = subprocess.run(
        [BIN / "runcrate", "report", RESULTS / "run-crate"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "segment-objects" in done.stdout


def test_the_validator_accepts_the_crate(output: str, tmp_path: Path) -> None:
    cache = seed_cache(tmp_path / "cache")
    found = findings(RESULTS / "run-crate", cache, "RECOMMENDED", "provenance-run-crate")
    # docs/reference/run-crate.md explains the one that remains, at two profiles.
    assert all("SHOULD be an absolute URI" in finding for finding in found), found


def test_a_second_run_has_nothing_to_do(output: str) -> None:
    before = sorted((RESULTS / "records").glob("*/*/*.json"))
    subprocess.run(["make", "demo"], cwd=ROOT, check=True, capture_output=True, timeout=300)
    assert sorted((RESULTS / "records").glob("*/*/*.json")) == before


def test_what_would_go_back_to_omero_is_planned_and_shown(output: str) -> None:
    plan = json.loads((RESULTS / "annotation-plan.json").read_text(encoding="utf-8"))
    targets = [target["target"] for target in plan["targets"]]
    assert targets == [f"omero://omero.example.org/image/{number}" for number in (1, 2, 3)]
    assert targets[0] in (RESULTS / "report.html").read_text(encoding="utf-8")


def test_the_run_is_repeated_to_identical_results(output: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [BIN / "parfocal", "repeat-run", RESULTS / "run-crate", "--folder", tmp_path / "again"],
        cwd=tmp_path,  # relative paths of the sheet are those of the run, wherever one is
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-2:] == ["36 results are the same, 0 differ", "identical"]
