"""Which image each step takes, for every choice of optional steps."""

from __future__ import annotations

from itertools import combinations

import pytest

from parfocal.engine.image_chain import CHAIN, chain_images
from parfocal.steps import load_step

MADE = {
    "convert_image": "image",
    "correct_illumination": "corrected",
    "project_image": "projected",
    "filter_image": "filtered",
}
CHOICES = [chosen for n in range(len(CHAIN) + 1) for chosen in combinations(CHAIN, n)]


@pytest.mark.parametrize("chosen", CHOICES, ids="+".join)
def test_each_step_takes_what_the_one_before_made(chosen):
    chain = chain_images(chosen)
    maker = "convert_image"
    for name in (*CHAIN, "segment_objects"):
        assert chain.after[name] == maker
        assert chain.image[name] == f"images/{{image_id}}/{MADE[maker]}.ome.zarr"
        maker = name if name in chosen else maker


@pytest.mark.parametrize("chosen", CHOICES, ids="+".join)
def test_measured_is_the_last_image_before_the_filter(chosen):
    chain = chain_images(chosen)
    unfiltered = chain_images([name for name in chosen if name != "filter_image"])
    for name in ("measure_objects", "assemble_image", "preview_image"):
        assert chain.image[name] == unfiltered.image["segment_objects"]


def test_without_optional_steps_all_is_as_the_steps_have_it():
    for name, place in chain_images(()).image.items():
        step = load_step(name.replace("_", "-"))
        assert place == next(port.path for port in step.inputs if port.name == "image")
