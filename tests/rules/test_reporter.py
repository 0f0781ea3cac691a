"""``snakemake --reporter parfocal``: the run crate of runs that failed or were broken off, too."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from crate_graphs import of_type, read_graph
from rules.runs import Run, environment, program

_REPORT = ("--reporter", "parfocal", "--report-parfocal-path")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of a whole image and a damaged one, broken off before its own crate was made."""
    run = Run(tmp_path_factory.mktemp("reported"))
    run.add_image("whole")
    damaged = run.add_image("damaged")
    damaged.write_bytes(damaged.read_bytes()[:500])
    done = run.snakemake("--until", "convert_image")
    assert not (run.results / "run-crate").exists(), done.stderr
    return run


def test_a_run_that_was_broken_off_has_a_crate(run: Run) -> None:
    done = run.snakemake(*_REPORT, "crate")
    assert done.returncode == 0, done.stderr
    assert "the crate has no copy" in done.stderr
    graph = read_graph(run.folder / "crate")
    assert "ComputationalWorkflow" in graph[graph["./"]["mainEntity"]["@id"]]["@type"]
    (failed,) = [graph[each] for each in graph if each.startswith("#action/convert_image/damaged")]
    assert failed["actionStatus"] == "http://schema.org/FailedActionStatus"
    assert "The TIFF ends before its pixels do" in failed["error"]
    assert [each for each in of_type(graph, "Dataset") if "whole" in each.get("alternateName", "")]


def test_the_crate_of_the_reporter_is_that_of_the_rule(run: Run) -> None:
    run.snakemake()
    done = run.snakemake(*_REPORT, "after.zip")
    assert done.returncode == 0, done.stderr
    command = [program("parfocal"), "compare-runs", "after.zip", "results/run-crate"]
    compared = subprocess.run(
        command, cwd=run.folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert compared.returncode == 0, compared.stdout + compared.stderr


def test_a_workflow_without_the_rule_says_where_its_records_are(run: Run, tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text('rule all:\n    output: "a"\n    shell: "touch {output}"\n')
    command = [program("snakemake"), "--cores", "1", *_REPORT, "crate"]

    def report(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *more],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    lost = report()
    assert lost.returncode != 0
    assert "--report-parfocal-results, --report-parfocal-sheet" in lost.stderr
    found = report(
        *("--report-parfocal-results", str(run.results)),
        *("--report-parfocal-sheet", str(run.folder / "samples.tsv")),
    )
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "crate/ro-crate-metadata.json").exists()


def test_a_crate_that_cannot_be_made_fails(run: Run, tmp_path: Path) -> None:
    done = run.snakemake(*_REPORT, "crate", "--report-parfocal-results", str(tmp_path))
    assert done.returncode != 0
    assert "was not made: see above" in done.stderr
