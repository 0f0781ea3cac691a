"""The step assess-quality: quality.json from a real OME-Zarr."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydantic import ValidationError

from memory_images import save
from parfocal.core.step import Context
from parfocal.models.image import Channel
from parfocal.steps.assess_quality import STEP, AssessQualityParams


def run(image, folder, threads=1, **params):
    output = folder / f"quality-{threads}.partial"
    context = Context(scratch=folder, image_id="a-1", threads=threads)
    STEP.run({"image": image}, {"quality": output}, AssessQualityParams(**params), context)
    return output, context


def test_planes_and_channels_are_assessed(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 300, (2, 3, 50, 60)).astype(np.uint16)
    channels = (Channel(name="DAPI"), Channel(name="Größe"))
    image = save(tmp_path / "image.ome.zarr", pixels, "CZYX", channels=channels)
    output, context = run(image, tmp_path, saturation_level=150)
    quality = json.loads(output.read_text(encoding="utf-8"))
    assert (quality["format"], quality["image_id"]) == ("parfocal-quality-1", "a-1")
    assert [(p["t"], p["c"], p["z"]) for p in quality["planes"]] == [
        (0, c, z) for c in range(2) for z in range(3)
    ]
    assert [channel["channel"] for channel in quality["channels"]] == ["DAPI", "Größe"]
    saturated = quality["channels"][1]["saturated_fraction"]
    assert saturated == (pixels[1] >= 150).mean()
    assert context.warnings == []
    assert run(image, tmp_path, 2, saturation_level=150)[0].read_bytes() == output.read_bytes()


def test_nan_is_recorded_and_null(tmp_path):
    pixels = np.full((20, 20), np.nan, np.float32)
    image = save(tmp_path / "image.ome.zarr", pixels, "YX")
    output, context = run(image, tmp_path)
    assert context.warnings == ["400 pixels in channel channel_0 are not finite and left out"]
    assert json.loads(output.read_text())["channels"][0]["mean"] is None


def test_the_saturation_level_is_a_number():
    with pytest.raises(ValidationError):
        AssessQualityParams(saturation_level=float("nan"))
