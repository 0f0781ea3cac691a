"""A real run of the workflow that lost records: its crate says so, and what reads it too."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rules.runs import SNAKEFILE, Run, environment


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a finished run of two images."""
    run = Run(tmp_path_factory.mktemp("made"))
    run.add_image("a")
    run.add_image("b")
    done = run.snakemake()
    assert done.returncode == 0, done.stderr
    return run


@pytest.fixture
def run(made: Run, tmp_path: Path) -> Run:
    """Return a copy of it."""
    shutil.copytree(made.folder, tmp_path / "run")
    return Run(tmp_path / "run", made.rows)


def parfocal(run: Run, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the working folder of a run."""
    return subprocess.run(
        [sys.executable, "-m", "parfocal", *arguments],
        cwd=run.folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def record_run(run: Run) -> str:
    """Make the crate anew, and return what was told of records."""
    config = next((run.results / "run-crate/config").iterdir())
    shutil.copy(config, run.folder / "used.yaml")
    given = ["--sheet=samples.tsv", f"--workflow={SNAKEFILE}", "--config=used.yaml", "--replace"]
    done = parfocal(run, "record-run", "--results=results", *given, "--crate=results/run-crate")
    assert done.returncode == 0, done.stderr
    return "\n".join(line for line in done.stderr.splitlines() if "record" in line.lower())


def graph_of(run: Run) -> dict[str, dict[str, object]]:
    """Return the entities of the crate by their identifiers."""
    path = run.results / "run-crate/ro-crate-metadata.json"
    return {one["@id"]: one for one in json.loads(path.read_text(encoding="utf-8"))["@graph"]}


def test_the_crate_of_a_whole_run_misses_nothing(run: Run) -> None:
    assert "No record tells" not in record_run(run)
    assert not {"comment", "creativeWorkStatus"} & graph_of(run)["./"].keys()
    done = parfocal(run, "verify-run", "results/run-crate")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("outcomes", ["kept", "removed"])
@pytest.mark.parametrize("how", ["removed", "emptied"])
def test_lost_records_of_a_step_are_told_by_all_that_read_them(
    run: Run, how: str, outcomes: str
) -> None:
    if how == "removed":
        shutil.rmtree(run.results / "records/convert_image")
    else:
        for path in (run.results / "records/convert_image").glob("*/*.json"):
            path.write_bytes(b"")
    if outcomes == "removed":
        shutil.rmtree(run.results / "outcomes")
    told = record_run(run)
    state = "is not there" if how == "removed" else "is empty"
    for image_id in "ab":
        assert f"No record tells how convert-image of {image_id} was done: " in told
        assert f"records/convert_image/{image_id}/0001.json {state}. Restore it" in told
    root = graph_of(run)["./"]
    assert root["creativeWorkStatus"] == "Incomplete"
    readme = (run.results / "run-crate/README.md").read_text(encoding="utf-8")
    assert readme.count("- No record tells how convert-image of ") == 2
    verified = parfocal(run, "verify-run", "results/run-crate")
    assert verified.returncode == 4
    told_of = "bad        crate: not complete: No record tells how convert-image of "
    assert verified.stdout.count(told_of) == 2
    traced = parfocal(run, "trace-object", "results/images/a/tables/nuclei.parquet", "0")
    assert traced.returncode == 0, traced.stderr
    assert "missing  no record tells how images/a/image.ome.zarr was made\n" in traced.stdout


def test_a_cut_record_is_refused_by_name(run: Run) -> None:
    path = run.results / "records/convert_image/a/0001.json"
    path.write_bytes(path.read_bytes()[:100])
    done = parfocal(run, "record-run", "--results=results", "--sheet=samples.tsv", "--crate=new")
    assert done.returncode == 2
    assert "A record cannot be read: results/records/convert_image/a/0001.json" in done.stderr
    assert not (run.folder / "new").exists()
