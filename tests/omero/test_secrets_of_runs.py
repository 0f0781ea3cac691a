"""A whole run with images on a server, from the list to the reversion, tells no secret."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.omero.server.control import Control

from omero_objects import dataset, save
from omero_process import PASSWORDS
from parfocal.models.sheet import read_sheet
from rules.runs import SQUARES, Run, environment
from watched import Watched

PASSWORD = PASSWORDS["dora"]
PARFOCAL = (sys.executable, "-m", "parfocal")
STORING = """
rule all:
    input: storage.omero("{server}/dataset/{dataset}/attachment/seen.txt")
rule see:
    input: storage.omero("{server}/image/{image}")
    output: storage.omero("{server}/dataset/{dataset}/attachment/seen.txt")
    shell: "ls {{input}} > {{output}}"
"""


@pytest.fixture
def study(dora: Any) -> tuple[int, int]:
    """A dataset with an image of three squares: their ids."""
    made = save(dora, dataset("a study")).id.val
    plane = np.random.default_rng(1).poisson(20, (64, 64)).astype(np.uint16)
    for square in SQUARES:
        plane[square] += 500
    within = dora.getObject("Dataset", made)
    image = dora.createImageFromNumpySeq(iter([plane]), "cells", 1, 1, 1, dataset=within)
    return made, int(image.getId())


def test_no_secret_is_told_by_a_run_from_list_to_reversion(
    study: tuple[int, int], logged_in: str, faults: Control, tmp_path: Path
) -> None:
    watched, since = Watched(tmp_path), faults.last()
    path = {"PATH": environment()["PATH"], "PARFOCAL_LOG": "DEBUG"}
    source = f"source={logged_in}/dataset/{study[0]}"
    assert not watched.run(*PARFOCAL, "list-images", "--set", source, "--sheet", "samples.tsv")
    run = Run(tmp_path, read_sheet(tmp_path / "samples.tsv"), ["annotate={enabled: true}"])
    run.write_sheet()
    assert watched.run(*run.command(), **path) == 0, watched.told[-1]
    results = ("--results", "results", "--plan", "results/annotation-plan.json")
    reverting = ("revert-annotations", *results, "--receipt", "reverted.json")
    assert watched.run(*PARFOCAL, *reverting, **path) == 0, watched.told[-1]

    made = {file.name for file in run.results.rglob("*") if file.is_file()}
    told = ("annotation-plan.json", "annotation-receipt.json", "annotation-verification.json")
    assert {*told, "ro-crate-metadata.json", "report.html"} <= made
    assert (tmp_path / "reverted.json").is_file()
    keys = {each["session"] for each in faults.journal(since=since)} - {""}
    assert len(keys) >= 4  # of the list, the fetch, the annotations and the reversion
    assert watched.finds("dora")  # so that something is found at all
    for secret in (PASSWORD, *keys):
        assert watched.finds(secret) == []


def test_no_secret_is_told_by_the_storage_plugin(
    study: tuple[int, int], logged_in: str, faults: Control, tmp_path: Path
) -> None:
    watched, since = Watched(tmp_path), faults.last()
    text = STORING.format(server=logged_in, dataset=study[0], image=study[1])
    (tmp_path / "Snakefile").write_text(text, "utf-8")
    command = (sys.executable, "-m", "snakemake", "--cores", "1", "--verbose")
    assert watched.run(*command, PATH=environment()["PATH"]) == 0, watched.told[-1]
    keys = {each["session"] for each in faults.journal(since=since)} - {""}
    assert keys
    for secret in (PASSWORD, *keys):
        assert watched.finds(secret) == []
