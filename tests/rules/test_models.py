"""The workflow finds objects by a learned model, and does it again when the model changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onnx_networks import blur
from parfocal.core.digest import digest_path
from parfocal.models.record import Record
from parfocal.provenance.records import iter_records
from rules.runs import Run

UNTIL = ("--until", "segment_objects")


def segmented(run: Run) -> Record:
    """Return the newest record of the segmentation."""
    return [one for one in iter_records(run.results) if one.step == "segment-objects"][-1]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    model = {"method": "onnx", "path": "model.onnx", "halo_px": 4, "normalisation": "standard"}
    run = Run(tmp_path, config=[f"segment_objects={json.dumps({'model': model})}"])
    run.add_image("squares")
    return run


def test_the_model_of_the_configuration_finds_the_objects(run: Run) -> None:
    weights = blur(run.folder / "model.onnx")
    first = run.snakemake(*UNTIL)
    assert first.returncode == 0, first.stderr
    told = segmented(run).details
    assert told["objects"] == 3
    assert told["model"]["digest"] == digest_path(weights)
    blur(weights, weights=(0.5,))
    again = run.snakemake(*UNTIL)
    assert again.returncode == 0, again.stderr
    assert run.attempts() == {
        "convert_image/squares": 1,
        "fetch_image/squares": 1,
        "segment_objects/squares": 2,
    }
    assert segmented(run).details["model"]["digest"] == digest_path(weights)
