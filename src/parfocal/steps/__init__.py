"""The steps, one file each, in the order of the main job.

Names and summaries stand here, so that ``parfocal --help`` loads no step; ``STEPS`` loads them all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parfocal.core.step import Step

    STEPS: tuple[Step, ...]

__all__ = ["LOGS_IN", "STEPS", "SUMMARIES", "load_step"]

SUMMARIES = {
    "list-images": "Write a sample sheet with one row an image",
    "fetch-image": "Have the originals of a source at hand, with a manifest of their digests",
    "convert-image": "Convert any readable image to OME-Zarr, and certify the conversion",
    "verify-image": "Compare an OME-Zarr with its source, or with an earlier certificate",
    "correct-illumination": "Even out the illumination of an image",
    "project-image": "Project an image along Z or T",
    "filter-image": "Smooth an image, sharpen its blobs, or take its background away",
    "segment-objects": "Find the objects of one channel and write them as a label image",
    "assemble-image": "Join an image and its label image in one OME-Zarr for viewers",
    "assemble-plate": "Join the converted fields of a plate in one OME-NGFF plate",
    "measure-objects": "Measure size, position, shape and intensity of each object",
    "assess-quality": "Assess focus, saturation, background, noise and intensities",
    "preview-image": "Draw an image, and the outlines of its objects, as one PNG",
    "score-objects": "Score a label image against ground truth",
    "plan-annotations": "Plan what of the results is to be written to OMERO",
    "render-report": "Show the results of a run in one HTML file that needs no network",
    "record-run": "Write the record of a run as one RO-Crate",
    "apply-annotations": "Bring OMERO to what an annotation plan says",
    "verify-annotations": "Read back from OMERO what a plan says, and compare",
    "revert-annotations": "Take back from OMERO what a run added",
}

LOGS_IN = frozenset(
    ("list-images", "fetch-image", "apply-annotations", "verify-annotations", "revert-annotations")
)
"""The steps that log in to servers; the others see no login, nor does what they start."""


def load_step(name: str) -> Step:
    """Load one step.

    Parameters
    ----------
    name : str
        One of `SUMMARIES`.

    Raises
    ------
    KeyError
        If there is no such step.
    """
    if name not in SUMMARIES:
        raise KeyError(name)
    step: Step = import_module(f"parfocal.steps.{name.replace('-', '_')}").STEP
    return step


def __getattr__(name: str) -> tuple[Step, ...]:
    if name == "STEPS":
        return tuple(load_step(step) for step in SUMMARIES)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
