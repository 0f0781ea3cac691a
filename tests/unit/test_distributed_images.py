"""Correction and projection give the same bytes and counts where blocks are worked on elsewhere."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from memory_images import save
from parfocal.core.digest import digest_path
from parfocal.core.step import Context
from parfocal.steps import correct_illumination, project_image

LARGEST_WORK_BYTES = 100_000


class Elsewhere:
    """All work and all results go through pickle, as to and from another process."""

    local = False
    workers = 2

    def __init__(self):
        self.sizes = []

    def map(self, work, items):
        for item in items:
            packed = pickle.dumps((work, item))
            self.sizes.append(len(packed))
            copy, own = pickle.loads(packed)
            yield pickle.loads(pickle.dumps(copy(own)))


def run(step, folder, inputs, values, distributed):
    context = Context(scratch=folder, distributed=distributed)
    output = folder / f"{len(list(folder.iterdir()))}.ome.zarr"
    params = step.params.model_validate(values)
    step.run(inputs, {step.outputs[0].name: output}, params, context)
    return digest_path(output), context.details, context.warnings


@pytest.fixture
def inputs(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 2, 3, 40, 45)).astype(np.uint8)
    flat = np.random.default_rng(1).uniform(0.2, 2, (40, 45)).astype(np.float32)
    image = save(tmp_path / "image.ome.zarr", pixels, "TCZYX")
    return {"image": image, "flat_field": save(tmp_path / "flat.ome.zarr", flat, "YX")}


@pytest.mark.parametrize(
    ("step", "values"),
    [
        (correct_illumination.STEP, {"illumination": {"method": "estimate", "sigma_px": 3}}),
        (
            correct_illumination.STEP,
            {
                "illumination": {"method": "profile", "flat_includes_dark": False},
                "dark_offset": 9,
            },
        ),
        (project_image.STEP, {"method": "median"}),
        (project_image.STEP, {"method": "std", "axis": "T"}),
    ],
    ids=["estimate", "profile", "along Z", "along T"],
)
def test_elsewhere_is_as_here(tmp_path, inputs, step, values):
    measured = values.get("illumination", {}).get("method") == "profile"
    taken = {name: path for name, path in inputs.items() if name == "image" or measured}
    elsewhere = Elsewhere()
    here = run(step, tmp_path, taken, values, None)
    assert run(step, tmp_path, taken, values, elsewhere) == here
    assert elsewhere.sizes
    assert max(elsewhere.sizes) < LARGEST_WORK_BYTES
    if measured:
        assert here[1]["clipped_below"] > 0
        assert here[1]["clipped_above"] > 0
