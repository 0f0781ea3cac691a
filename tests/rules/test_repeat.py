"""A run of the workflow, repeated from its crate alone: its inputs moved, its results gone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from parfocal.provenance.crate_zip import pack_crate
from rules.runs import Run, environment, write_labels


@pytest.fixture(scope="module")
def crate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the zip file of a crate, in a folder of its own; the run itself has moved since."""
    folder = tmp_path_factory.mktemp("first")
    run = Run(folder / "work", config=["filter_image={}"])
    write_labels(run.folder / "in/truth.tif")
    run.add_image("a", "ä 1.tif", ground_truth="in/truth.tif")
    run.add_image("b")
    damaged = run.add_image("damaged")
    damaged.write_bytes(damaged.read_bytes()[:2000])
    done = run.snakemake()
    assert "1 of 3 images failed" in done.stderr
    packed = folder / "crate.zip"
    pack_crate(run.results / "run-crate", packed)
    run.config.append("record_run={include_inputs: true}")
    assert "1 of 3 images failed" in run.snakemake().stderr
    pack_crate(run.results / "run-crate", folder / "carrying.zip")
    shutil.rmtree(run.results)
    (run.folder / "in").rename(folder / "moved")
    return packed


def repeat(crate: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "parfocal", "repeat-run", str(crate), f"--folder={folder}"]
    return subprocess.run(
        [*command, "--environment=here", *options],
        cwd=folder.parent,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def moved(crate: Path) -> str:
    return f"--map={crate.parent / 'work' / 'in'}={crate.parent / 'moved'}"


def test_a_run_is_repeated_to_identical_results(crate: Path, tmp_path: Path) -> None:
    done = repeat(crate, tmp_path / "again", moved(crate), f"--json={tmp_path / 'found.json'}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "identical"
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["differing_results"] == 0
    assert found["same_results"] >= 20
    kinds = {row["kind"] for row in found["differences"] if row["images"]}
    assert not kinds  # of the run as a whole sheet and configuration differ, by their paths
    assert {"image", "step", "parameter"}.isdisjoint(row["kind"] for row in found["differences"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "found.json"]


def test_a_crate_that_carries_its_inputs_is_enough(crate: Path, tmp_path: Path) -> None:
    carrying = crate.with_name("carrying.zip")
    done = repeat(carrying, tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert "4 inputs are taken out of the crate" in done.stderr
    assert done.stdout.splitlines()[-1] == "identical"
    assert (tmp_path / "again/results/run-crate/ro-crate-metadata.json").exists()
    assert not (tmp_path / "again/results/run-crate/inputs").exists()


def test_missing_inputs_are_told_before_anything_is_made(crate: Path, tmp_path: Path) -> None:
    done = repeat(crate, tmp_path / "again")
    assert done.returncode == 2
    assert "missing or changed" in done.stderr
    assert str(crate.parent / "work/in/ä 1.tif") in done.stderr
    assert "--map OLD=NEW" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_workflow_that_breaks_off_is_told(crate: Path, tmp_path: Path) -> None:
    broken = tmp_path / "Snakefile"
    broken.write_text("raise ValueError('broken')\n", encoding="utf-8")
    done = repeat(crate, tmp_path / "again", moved(crate), f"--workflow={broken}")
    assert done.returncode == 2
    assert "The workflow ended without a run crate" in done.stderr
    assert "workflow was sha256:" in done.stderr
    assert (tmp_path / "again" / "samples.tsv").exists()
