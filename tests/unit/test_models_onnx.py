"""Networks that give probabilities find the same objects for any tiles."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from memory_images import five, save
from model_runs import Pickled, discs, prepared, run_of, run_step
from onnx_networks import blur, blurred
from parfocal.analysis.models.probability import to_probability
from parfocal.core.blocks import whole
from parfocal.core.digest import digest_path
from parfocal.core.scheduler import Threads
from parfocal.errors import InputError
from parfocal.models.model_options import OnnxModel
from parfocal.steps.segment_objects import STEP, SegmentObjectsParams


@pytest.mark.parametrize("shape", [(75, 90), (11, 40, 45)], ids=["plane", "volume"])
def test_probabilities_are_those_of_the_whole_image_for_any_tiles(tmp_path, shape):
    planes = len(shape) == 2
    image = discs(*shape)
    path = blur(tmp_path / "model.onnx", len(shape))
    low, high = np.percentile(image, (1, 99.8), method="inverted_cdf")
    expected = blurred((image - float(low)) / (float(high) - float(low)))
    found = []
    for tile, halo, scheduler in ((None, 2, Threads(1)), (24, 4, Threads(3)), (16, 2, Pickled())):
        deep = {} if planes else {"tile_planes": tile and 7, "halo_planes": 2}
        options = OnnxModel(path=str(path), tile_px=tile, halo_px=halo, **deep)
        volume, _ = prepared(options, image).probability(run_of(scheduler))
        found.append(volume.read(whole(volume.shape5)).reshape(shape))
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=2e-6)
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found[2], found[0], rtol=0, atol=1e-6)


def test_a_halo_that_is_too_small_shows_in_the_probabilities(tmp_path):
    """Shows that the test before can fail."""
    image = discs(75, 90)
    path = str(blur(tmp_path / "model.onnx"))
    volumes = [
        prepared(OnnxModel(path=path, tile_px=tile, halo_px=0), image).probability(
            run_of(Threads(1))
        )[0]
        for tile in (16, 128)
    ]
    one, other = (volume.read(whole(volume.shape5)) for volume in volumes)
    assert abs(one - other).max() > 0.01


@pytest.mark.parametrize("mode", ["plane", "volume"])
def test_the_step_finds_the_same_objects_for_any_tiles_and_threads(tmp_path, mode):
    stack = np.stack([discs(64, 70, seed=seed) for seed in (1, 2)])
    image = save(tmp_path / "image.ome.zarr", stack, "ZYX")
    path = str(blur(tmp_path / "model.onnx"))
    found = []
    for tile, threads in ((None, 1), (16, 3), (40, 2)):
        model = {"method": "onnx", "path": path, "tile_px": tile, "halo_px": 4}
        context, labels = run_step(tmp_path, image, threads, model=model, mode=mode)
        assert context.warnings == []
        assert context.details["objects"] == labels.max() > 5
        assert context.details["threshold"] == pytest.approx(0.5, abs=1e-4)
        found.append(labels)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_the_model_sees_the_channels_of_the_list_in_its_order(tmp_path):
    planes = np.stack([discs(40, 40, seed=seed) for seed in (1, 2, 3)])
    image = five(planes[None, :, None])
    path = blur(tmp_path / "model.onnx", weights=(1.0, 0.0))
    options = OnnxModel(path=str(path), halo_px=2)

    def probability(*channels):
        volume, _ = prepared(options, image, channels=channels).probability(run_of(Threads(1)))
        return volume.read(whole((1, 1, 1, 40, 40)))

    first = probability(2, 0)
    assert np.array_equal(first, probability(2, 1))
    assert not np.array_equal(first, probability(0, 2))


def test_channels_may_come_last_and_sizes_may_be_fixed(tmp_path):
    image = discs(50, 60)
    found = []
    for name, given in (("any", {}), ("last", {"last": True}), ("fixed", {"size": 32})):
        path = blur(tmp_path / f"{name}.onnx", **given)
        fitted = prepared(OnnxModel(path=str(path), halo_px=2), image)
        volume, _ = fitted.probability(run_of(Threads(1)))
        found.append(volume.read(whole(volume.shape5)))
        assert fitted.tiles.tile == ((1, 32, 32) if name == "fixed" else (1, 64, 64))
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found[2], found[0], rtol=0, atol=1e-6)


def test_pixels_without_a_value_are_background(tmp_path):
    image = discs(50, 60).astype(np.float32)
    image[20:30, 20:30] = np.nan
    saved = save(tmp_path / "image.ome.zarr", image, "YX")
    model = {"method": "onnx", "path": str(blur(tmp_path / "model.onnx")), "halo_px": 4}
    context, labels = run_step(tmp_path, saved, model=model)
    assert (labels[0, 0, 0, 20:30, 20:30] == 0).all()
    assert labels.max() > 0
    assert context.warnings == ["100 pixels are NaN or infinite: they count as background"]


def test_logits_are_refused_unless_the_activation_is_told(tmp_path):
    image = discs(40, 40)
    path = str(blur(tmp_path / "model.onnx", logits=True))
    with pytest.raises(InputError, match=r"no probability.*from 0 to 1.*Set activation"):
        prepared(OnnxModel(path=path), image).probability(run_of(Threads(1)))
    told, _ = prepared(OnnxModel(path=path, activation="sigmoid"), image).probability(
        run_of(Threads(1))
    )
    plain, _ = prepared(OnnxModel(path=str(blur(tmp_path / "other.onnx"))), image).probability(
        run_of(Threads(1))
    )
    here = whole(told.shape5)
    np.testing.assert_allclose(told.read(here), plain.read(here), rtol=0, atol=1e-6)


def test_a_boundary_is_taken_off_and_softmax_is_over_channels():
    output = np.array([2.0, 1.0, 0.5], np.float32).reshape(3, 1, 1, 1)
    share = np.exp(output) / np.exp(output).sum()
    options = OnnxModel(path="x", foreground_channel=1, boundary_channel=2)
    found = to_probability(output, options, "softmax")
    np.testing.assert_allclose(found, share[1] * (1 - share[2]), rtol=1e-6)
    with pytest.raises(InputError, match="no such channel"):
        to_probability(output[:2], options, "softmax")


def test_the_record_tells_the_model_and_the_key_its_bytes(tmp_path):
    saved = save(tmp_path / "image.ome.zarr", discs(40, 40), "YX")
    path = blur(tmp_path / "model.onnx")
    model = {"method": "onnx", "path": str(path), "halo_px": 4, "device": "cpu"}
    context, _ = run_step(tmp_path, saved, model=model)
    told = context.details["model"]
    assert told["digest"] == digest_path(path)
    assert told["runtime"].startswith("onnxruntime 1.")
    assert (told["tile"], told["halo"]) == ([1, 64, 64], [0, 4, 4])
    assert (told["device"], told["exactness"]) == ("cpu", "numeric")
    params = SegmentObjectsParams.model_validate({"model": model})
    before = STEP.state(params, None)
    blur(path, weights=(0.9,))
    assert STEP.state(params, None) not in (before, STEP.state(SegmentObjectsParams(), None))
    path.unlink()
    assert "missing" in STEP.state(params, None)


def test_only_what_a_model_made_is_not_called_exact(tmp_path):
    assert STEP.exactness.parameter == "model"
    assert "a learned model is used" in STEP.exactness.unless
    saved = save(tmp_path / "image.ome.zarr", discs(40, 40), "YX")
    model = {"method": "onnx", "path": str(blur(tmp_path / "model.onnx")), "halo_px": 4}
    for scheduler, device in ((Threads(1), "cpu"), (Pickled(), "auto")):
        chosen = OnnxModel.model_validate(model | {"device": device})
        fitted = prepared(chosen, discs(40, 40), scheduler=scheduler)
        assert fitted.details["exactness"] == "numeric"
    context, _ = run_step(tmp_path, saved)
    assert "model" not in context.details


def test_parameters_without_effect_are_warned_of(tmp_path):
    saved = save(tmp_path / "image.ome.zarr", discs(40, 40), "YX")
    model = {"method": "onnx", "path": str(blur(tmp_path / "model.onnx")), "min_iou": 0.3}
    context, _ = run_step(
        tmp_path, saved, model=model, smoothing_px=2, threshold={"method": "otsu"}
    )
    assert [warning.split(" is set")[0] for warning in context.warnings] == [
        "smoothing_px",
        "threshold",
        "model.min_iou",
    ]


def test_outputs_that_are_not_taken_are_warned_of(tmp_path):
    saved = save(tmp_path / "image.ome.zarr", discs(40, 40), "YX")
    path = blur(tmp_path / "model.onnx")
    network = onnx.load(path)
    network.graph.output.append(onnx.helper.make_tensor_value_info("c", 1, ["n", 1, "y", "x"]))
    onnx.save(network, path)
    model = {"method": "onnx", "path": str(path), "halo_px": 4}
    context, labels = run_step(tmp_path, saved, model=model)
    assert context.warnings == ["Of the model's outputs o is taken, and not c"]
    assert labels.max() > 0
