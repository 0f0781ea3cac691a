"""Score a label image against the ground truth that the sample sheet names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from parfocal.core.digest import digest_path
from parfocal.core.step import Context, Port, Step, exact
from parfocal.models.base import Parameters
from parfocal.models.label_name import LabelName
from parfocal.steps import SUMMARIES

__all__ = ["STEP", "ScoreObjectsParams"]


class ScoreObjectsParams(Parameters):
    """Parameters of score-objects."""

    label_name: LabelName = "nuclei"


def run(
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    params: ScoreObjectsParams,
    context: Context,
) -> None:
    """Write the scores of one label image; without ground truth they are empty.

    Raises
    ------
    InputError
        If the ground truth cannot be read, has another shape than the label image, or does
        not hold labels.
    """
    scores: dict[str, Any] = {
        "format": "parfocal-scores-1",
        "label_name": params.label_name,
        "ground_truth": None,
        "n_truth": None,
        "n_predicted": None,
        "mean_matched_iou": None,
        "thresholds": [],
    }
    if "ground_truth" in inputs:
        # Where it lies is told by the record; the scores are the same wherever that is.
        scores["ground_truth"] = digest_path(inputs["ground_truth"], context.threads)
        scores |= _score(inputs["labels"], inputs["ground_truth"], context)
        context.details["f1_at_0.5"] = scores["thresholds"][0]["f1"]
    text = json.dumps(scores, indent=2, ensure_ascii=False, allow_nan=False)
    outputs["scores"].write_text(text + "\n", encoding="utf-8")


def _score(labels: Path, ground_truth: Path, context: Context) -> dict[str, Any]:
    from parfocal.analysis.score import count_overlaps, require_labels, score_overlaps
    from parfocal.images import open_image

    with open_image(labels) as predicted, open_image(ground_truth) as truth:
        for warning in (*predicted.warnings, *truth.warnings):
            context.warn(warning)
        overlaps = count_overlaps(
            truth, predicted, predicted.block5, context.scheduler, context.progress
        )
        require_labels(truth, predicted.block5, context.scheduler)
    n_truth, n_predicted, scores = score_overlaps(overlaps)
    return {
        "n_truth": n_truth,
        "n_predicted": n_predicted,
        "mean_matched_iou": scores[0].mean_matched_iou,
        "thresholds": [
            {
                "iou": float(score.iou),
                "true_positives": score.true_positives,
                "false_positives": score.false_positives,
                "false_negatives": score.false_negatives,
                "precision": score.precision,
                "recall": score.recall,
                "f1": score.f1,
            }
            for score in scores
        ],
    }


STEP = Step(
    name="score-objects",
    version="2",
    summary=SUMMARIES["score-objects"],
    params=ScoreObjectsParams,
    inputs=(
        Port(
            "labels",
            "ome-zarr",
            "images/{image_id}/labels/{label_name}.ome.zarr",
            "The label image.",
        ),
        Port(
            "ground_truth",
            "file",
            "{ground_truth}",
            "The true labels of the same pixels: TIFF or OME-Zarr.",
            required=False,
        ),
    ),
    outputs=(Port("scores", "json", "images/{image_id}/scores/{label_name}.json", "The scores."),),
    run=run,
    exactness=exact(),
)
