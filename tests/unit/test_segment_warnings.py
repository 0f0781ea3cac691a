"""What segment-objects warns of: noise, seams, colours, windows, and brightness that is rounded."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from memory_images import save
from onnx_networks import blur
from parfocal.analysis import thick_blocks
from parfocal.images import ZarrOptions
from parfocal.models.image import Channel
from segmented import MASK, nine_discs, pixels, run

RGB = tuple(Channel(name=name) for name in ("Red", "Green", "Blue"))


@pytest.mark.parametrize("kind", ["poisson", "few photons", "normal", "float", "volume"])
@pytest.mark.parametrize("method", ["li", "otsu", "triangle", "isodata"])
def test_noise_gives_no_objects_and_a_warning(tmp_path, kind, method):
    rng = np.random.default_rng(3)
    noise, axes = {
        "poisson": (rng.poisson(5, (300, 300)).astype(np.uint16), "YX"),
        "few photons": (rng.poisson(0.3, (300, 300)).astype(np.uint8), "YX"),
        "normal": (np.rint(rng.normal(1000, 20, (300, 300))).astype(np.uint16), "YX"),
        "float": (rng.normal(0, 1, (300, 300)).astype(np.float32), "YX"),
        "volume": (rng.poisson(20, (12, 80, 80)).astype(np.uint16), "ZYX"),
    }[kind]
    image = save(tmp_path / "image.ome.zarr", noise, axes)
    context, _ = run(tmp_path, image, threshold={"method": method})
    assert context.details["objects"] == 0
    assert any("within the noise of the background" in warning for warning in context.warnings)


def test_dim_objects_in_noise_are_found_where_the_threshold_lay_in_it(tmp_path):
    plane = np.random.default_rng(0).normal(100, 10, (300, 300))
    for cy, cx in ((50, 60), (150, 220), (250, 80)):
        y, x = np.ogrid[:300, :300]
        plane += 40 * ((y - cy) ** 2 + (x - cx) ** 2 <= 64)
    image = save(tmp_path / "image.ome.zarr", np.rint(plane).astype(np.uint16), "YX")
    assert run(tmp_path, image)[0].details["objects"] == 3


def test_an_rgb_image_is_a_warning_that_names_the_channel(tmp_path):
    colours = np.stack([nine_discs().clip(0, 255)] * 3).astype(np.uint8)
    image = save(tmp_path / "image.ome.zarr", colours, "CYX", rgb=True, channels=RGB)
    context, _ = run(tmp_path, image, channel=1)
    assert "bright objects are looked for in Green alone" in context.warnings[0]


def crowd(side=400):
    """Return a plane of discs that touch, in one connected region."""
    rng = np.random.default_rng(0)
    y, x = np.indices((side, side))
    places = np.arange(16, side - 8, 22)
    plane = np.full((side, side), 120.0)
    for cy, cx in itertools.product(places, places):
        square = (y - cy - rng.uniform(-4, 4)) ** 2 + (x - cx - rng.uniform(-4, 4)) ** 2
        plane = np.maximum(plane, 100 + 400 * np.exp(-square / 100.0))
    return np.rint(plane).astype(np.uint16), len(places) ** 2


def test_a_region_beyond_the_memory_is_divided_in_windows_and_told(tmp_path):
    plane, number = crowd()
    image = save(tmp_path / "image.ome.zarr", plane, "YX")
    chosen = {"threshold": {"method": "manual", "value": 110}, "edge_fraction": None}
    whole_context, expected = run(tmp_path, image, **chosen)
    assert "components_in_windows" not in whole_context.details
    context, labels = run(tmp_path, image, threads=2, whole_mib=4, **chosen)
    assert context.details["components_in_windows"] == 1
    assert abs(whole_context.details["objects"] - number) < 5
    assert abs(context.details["objects"] - whole_context.details["objects"]) <= 1
    assert context.details["cut_by_tiles"] == 0
    assert context.details["seams"]["significant"] is False
    assert any("overlapping windows" in warning for warning in context.warnings)
    boundaries = [np.abs(np.diff(pixels(path)[0, 0, 0], axis=1)) > 0 for path in (labels, expected)]
    assert (boundaries[0] != boundaries[1]).mean() < 0.01


def many_discs(side=420):
    """Return a plane of discs in random places, none of them cut."""
    rng = np.random.default_rng(1)
    plane = np.full((side, side), 10, np.uint8)
    y, x = np.indices((13, 13)) - 6
    for cy, cx in rng.integers(7, side - 7, (500, 2)):
        window = plane[cy - 6 : cy + 7, cx - 6 : cx + 7]
        window[y**2 + x**2 <= rng.uniform(3, 6) ** 2] = 200
    return plane


@pytest.mark.parametrize("params", [{}, MASK])
def test_seams_of_the_image_itself_are_told_at_the_borders_of_blocks(tmp_path, monkeypatch, params):
    monkeypatch.setattr(thick_blocks, "BLOCK_SIDE", 70)
    plane = many_discs()
    cut = plane.copy()
    cut[69::70] = cut[:, 69::70] = 10
    fine = {"chunk_px": 35}
    whole_image, with_seams = (
        save(tmp_path / f"{name}.ome.zarr", pixels, "YX", options=ZarrOptions(**fine))
        for name, pixels in {"whole": plane, "cut": cut}.items()
    )
    context, _ = run(tmp_path, whole_image, **params)
    score = context.details["seams"]
    assert (score["borders"], score["significant"]) == ("blocks", False)
    assert score["near"] > 50
    assert not any("borders" in warning for warning in context.warnings)
    context, _ = run(tmp_path, with_seams, **params)
    assert context.details["seams"]["significant"] is True
    assert any("so that the image has seams of its own" in told for told in context.warnings)


def test_one_block_has_no_seams(tmp_path):
    image = save(tmp_path / "image.ome.zarr", many_discs(), "YX")
    context, _ = run(tmp_path, image)
    assert "seams" not in context.details


@pytest.mark.parametrize(("brightest", "told"), [(10.0, 0), (1e9, 1)])
def test_it_is_told_where_brightness_is_rounded_beside_the_threshold(tmp_path, brightest, told):
    plane = np.zeros((16, 16), np.float32)
    plane[2:9, 2:9] = 0.6
    plane[12:, 12:] = brightest
    image = save(tmp_path / "image.ome.zarr", plane, "YX")
    threshold = {"method": "manual", "value": 0.5}
    context, _ = run(tmp_path, image, threshold=threshold, smoothing_px=0)
    assert sum("coarse beside the threshold" in line for line in context.warnings) == told


def implausible(context):
    words = ("background was taken", "noise may have been taken")
    return [word for word in words if any(word in warning for warning in context.warnings)]


def test_how_much_of_the_image_is_object_is_recorded(tmp_path):
    image = save(tmp_path / "image.ome.zarr", nine_discs(), "YX")
    context, path = run(tmp_path, image)
    assert context.details["object_share"] == np.count_nonzero(pixels(path)) / (80 * 90)
    assert not implausible(context)


def test_noise_that_is_taken_for_objects_is_warned_of(tmp_path):
    noise = np.random.default_rng(0).poisson(100, (300, 300)).astype(np.uint16)
    image = save(tmp_path / "image.ome.zarr", noise, "YX")
    context, _ = run(tmp_path, image, threshold={"method": "manual", "value": 100})
    assert implausible(context) == ["noise may have been taken"]
    context, _ = run(tmp_path, image, threshold={"method": "manual", "value": 60})
    assert implausible(context) == ["background was taken"]
    assert not implausible(run(tmp_path, image)[0])  # by default nothing is found in noise


def test_a_model_that_sees_objects_in_noise_is_warned_of(tmp_path):
    noise = np.random.default_rng(0).poisson(100, (300, 300)).astype(np.uint16)
    image = save(tmp_path / "image.ome.zarr", noise, "YX")
    model = {"method": "onnx", "path": str(blur(tmp_path / "model.onnx")), "halo_px": 8}
    assert implausible(run(tmp_path, image, model=model)[0]) == ["noise may have been taken"]
    low = model | {"threshold": 0.1}
    assert implausible(run(tmp_path, image, model=low)[0]) == ["background was taken"]
