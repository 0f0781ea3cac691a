"""The steps, one file each."""

from __future__ import annotations

from parfocal.core.step import Step
from parfocal.steps import (
    assemble_image,
    assess_quality,
    convert_image,
    fetch_image,
    filter_image,
    list_images,
    measure_objects,
    record_run,
    render_report,
    score_objects,
    segment_objects,
    verify_image,
)

__all__ = ["STEPS"]

STEPS: tuple[Step, ...] = (
    list_images.STEP,
    fetch_image.STEP,
    convert_image.STEP,
    verify_image.STEP,
    filter_image.STEP,
    segment_objects.STEP,
    assemble_image.STEP,
    measure_objects.STEP,
    assess_quality.STEP,
    score_objects.STEP,
    render_report.STEP,
    record_run.STEP,
)
