"""What the tests of segment-objects by thresholds have in common."""

from __future__ import annotations

import itertools

import numpy as np

from parfocal.core.blocks import whole
from parfocal.core.step import Context
from parfocal.images import open_image
from parfocal.steps.segment_objects import STEP, SegmentObjectsParams

__all__ = ["MASK", "nine_discs", "pixels", "run"]

_numbers = itertools.count()

MASK = {
    "threshold": {"method": "manual", "value": 100},
    "seeds": {"method": "none"},
    "edge_fraction": None,
    "smoothing_px": 0,
}
"""Parameters that take a mask as it is."""


def run(folder, image, threads=1, **params):
    """Run the step, and return its context and the path of the label image."""
    scratch = folder / f"scratch{next(_numbers)}"
    scratch.mkdir()
    context = Context(scratch=scratch, threads=threads)
    (folder / "labels").mkdir(exist_ok=True)
    labels = folder / "labels" / f"labels{next(_numbers)}.ome.zarr"
    chosen = SegmentObjectsParams.model_validate(params)
    STEP.run({"image": image}, {"labels": labels}, chosen, context)
    assert not list(scratch.iterdir()), "scratch is left behind"
    return context, labels


def pixels(path):
    with open_image(path) as image:
        return image.read(whole(image.shape5))


def nine_discs(shape=(80, 90), noise=2.0):
    """Return a plane with nine discs of radius 8."""
    y, x = np.indices(shape)
    plane = np.random.default_rng(0).normal(100, noise, shape)
    for cy, cx in itertools.product((13, 40, 66), (15, 45, 75)):
        plane += 200.0 * ((y - cy) ** 2 + (x - cx) ** 2 <= 64)
    return np.rint(plane).astype(np.uint16)
