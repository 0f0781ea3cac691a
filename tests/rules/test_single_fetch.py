"""The single rule that fetches: its parameters and limits come from the configuration."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rules.runs import ROOT, environment, nothing_to_do, program, write_blobs

WORKFLOW = """
configfile: "own.yaml"

module images:
    snakefile: {fetch!r}
    config: config

use rule * from images as parfocal_*

rule all:
    default_target: True
    input: "results/originals/one/manifest.json",
"""


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the workflow."""
    return subprocess.run(
        [program("snakemake"), "--cores", "1", "--show-failed-logs", *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository of its own, which fetches one image."""
    text = WORKFLOW.format(fetch=str(ROOT / "rules/single/fetch.smk"))
    (tmp_path / "Snakefile").write_text(text, encoding="utf-8")
    (tmp_path / "own.yaml").write_text("sources: {one: in/one.tif}\n", encoding="utf-8")
    write_blobs(tmp_path / "in/one.tif")
    return tmp_path


def test_the_limits_of_transfers_reach_the_job_and_are_no_reason_to_run_it_again(
    folder: Path,
) -> None:
    first = snakemake(folder)
    assert first.returncode == 0, first.stderr
    assert (folder / "results/originals/one/manifest.json").exists()
    limits = ["PARFOCAL_REMOTE_IN_FLIGHT=16", "PARFOCAL_REMOTE_MB_PER_S=2.5"]
    with (folder / "own.yaml").open("a", encoding="utf-8") as file:
        file.write(f"transfer: {limits}\n")
    assert nothing_to_do(snakemake(folder))
    told = snakemake(folder, "--dry-run", "--forceall", "--printshellcmds").stdout
    assert f"env {' '.join(limits)} parfocal fetch-image" in told
