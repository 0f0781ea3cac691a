"""The step score-objects: scores with and without ground truth."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from memory_images import save
from parfocal.cli.step_command import run_step_command
from parfocal.core.digest import digest_path
from parfocal.core.step import Context
from parfocal.errors import InputError
from parfocal.steps.score_objects import STEP, ScoreObjectsParams

LABELS = np.zeros((20, 30), np.uint16)
LABELS[2:8, 3:9], LABELS[10:15, 20:30] = 1, 2


def run(inputs, folder):
    output = folder / "scores.partial"
    context = Context(scratch=folder, image_id="a-1")
    STEP.run(inputs, {"scores": output}, ScoreObjectsParams(), context)
    return json.loads(output.read_text()), context


@pytest.fixture
def labels(tmp_path):
    return save(tmp_path / "nuclei.ome.zarr", LABELS, "YX", labels=True)


def test_a_tiff_is_ground_truth(labels, tmp_path):
    truth = np.where(LABELS == 2, 0, LABELS * 40)
    truth[8:10, 3:9] = 40
    tifffile.imwrite(tmp_path / "truth.tif", truth)
    scores, context = run({"labels": labels, "ground_truth": tmp_path / "truth.tif"}, tmp_path)
    half, three_quarters = scores.pop("thresholds")
    assert scores == {
        "format": "parfocal-scores-1",
        "label_name": "nuclei",
        "ground_truth": digest_path(tmp_path / "truth.tif"),
        "n_truth": 1,
        "n_predicted": 2,
        "mean_matched_iou": 0.75,
    }
    assert half == {
        "iou": 0.5,
        "true_positives": 1,
        "false_positives": 1,
        "false_negatives": 0,
        "precision": 0.5,
        "recall": 1.0,
        "f1": pytest.approx(2 / 3),
    }
    assert three_quarters == half | {"iou": 0.75}
    assert context.details == {"f1_at_0.5": half["f1"]}


def test_without_ground_truth_scores_are_empty(labels, tmp_path):
    scores, context = run({"labels": labels}, tmp_path)
    assert scores["ground_truth"] is None
    assert scores["thresholds"] == []
    assert context.warnings == []


def test_ground_truth_of_another_shape_is_an_error(labels, tmp_path):
    tifffile.imwrite(tmp_path / "truth.tif", LABELS[:, :-1])
    with pytest.raises(InputError, match=r"expected .*20, 30.*found .*20, 29"):
        run({"labels": labels, "ground_truth": tmp_path / "truth.tif"}, tmp_path)
    assert not (tmp_path / "scores.partial").exists()


def test_an_image_in_place_of_its_ground_truth_is_an_error(labels, tmp_path):
    image = np.random.default_rng(1).poisson(300, LABELS.shape).astype(np.uint16)
    tifffile.imwrite(tmp_path / "image.tif", image)
    with pytest.raises(InputError, match="The ground truth is not a label image"):
        run({"labels": labels, "ground_truth": tmp_path / "image.tif"}, tmp_path)
    assert not (tmp_path / "scores.partial").exists()


@pytest.mark.parametrize("flag", ["--ground-truth", "--ground_truth"])
def test_both_spellings_are_understood(labels, tmp_path, flag):
    tifffile.imwrite(tmp_path / "truth.tif", LABELS)
    output = tmp_path / "scores.json"
    truth = str(tmp_path / "truth.tif")
    run_step_command(STEP, ["--labels", str(labels), flag, truth, "--scores", str(output)])
    assert json.loads(output.read_text())["n_truth"] == 2
