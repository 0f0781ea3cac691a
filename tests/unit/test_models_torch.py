"""TorchScript and InstanSeg give what the same networks give as ONNX; PyTorch is made up."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy import ndimage

from memory_images import save
from model_fakes import install_torch, save_script
from model_runs import Pickled, discs, prepared, run_of, run_step
from onnx_networks import blur, blurred
from parfocal.analysis.models.loading import check_model, open_model
from parfocal.core.blocks import whole
from parfocal.core.scheduler import Threads
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.model_options import (
    BioimageioModel,
    InstansegModel,
    OnnxModel,
    TorchscriptModel,
)


@pytest.fixture(autouse=True)
def calls(monkeypatch):
    """Let PyTorch be there, and return what it was asked."""
    seen = []
    install_torch(monkeypatch, seen)
    return seen


def probability(options, image, scheduler):
    fitted = prepared(options, image, scheduler=scheduler)
    volume, _ = fitted.probability(run_of(scheduler))
    return volume.read(whole(volume.shape5))[0, 0]


@pytest.mark.parametrize("scheduler", [Threads(3), Pickled()], ids=["threads", "pickled"])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_probability_is_that_of_the_whole_image_and_of_onnx(tmp_path, dimensions, scheduler):
    image = discs(*(75, 90) if dimensions == 2 else (9, 40, 50))
    script = save_script(tmp_path / "model.pt", "blur")
    network = blur(tmp_path / "model.onnx", dimensions)
    given = {"normalisation": "percentile", "halo_px": 4, "tile_px": 24}
    given |= {"tile_planes": 12, "halo_planes": 3} if dimensions == 3 else {}
    options = TorchscriptModel(path=str(script), dimensions=dimensions, **given)
    found = probability(options, image, scheduler)
    as_onnx = probability(OnnxModel(path=str(network), **given), image, scheduler)
    np.testing.assert_allclose(found, as_onnx, rtol=0, atol=1e-6)
    low, high = np.percentile(image, [1, 99.8], method="inverted_cdf")
    seen = (image.astype(float) - low) / (float(high) - low)
    np.testing.assert_allclose(np.squeeze(found), blurred(seen), rtol=0, atol=1e-5)
    assert found.max() > 0.9


def test_the_step_finds_the_same_objects_for_any_tiles_and_threads(tmp_path, calls):
    image = save(tmp_path / "image.ome.zarr", discs(64, 70), "YX")
    script = save_script(tmp_path / "model.pt", "blur")
    model = {"method": "torchscript", "path": str(script), "halo_px": 4}
    found = []
    for tile, threads in ((None, 1), (24, 2)):
        context, labels = run_step(tmp_path, image, threads, model=model | {"tile_px": tile})
        told = context.details["model"]
        assert (told["runtime"], told["device"], told["exactness"]) == (
            "torch 2.0",
            "cpu",
            "numeric",
        )
        found.append(labels)
    assert found[0].max() > 5
    np.testing.assert_array_equal(found[0], found[1])
    assert {"threads": 1} in calls  # a tile
    assert {"map_location": "cpu"} in calls


@pytest.mark.parametrize(("tile", "halo"), [(None, 16), (48, 16), (100, 32)])
def test_labels_are_joined_to_those_of_the_whole_image(tmp_path, tile, halo):
    image = discs(90, 110, radius=5, count=14)
    saved = save(tmp_path / "image.ome.zarr", image, "YX")
    script = save_script(tmp_path / "model.pt", "components")
    model = {"method": "torchscript", "path": str(script), "output": "labels"}
    model |= {"tile_px": tile, "halo_px": halo}
    context, labels = run_step(tmp_path, saved, 3, model=model, min_diameter_px=0)
    expected, count = ndimage.label(image > 110, np.ones((3, 3)))
    np.testing.assert_array_equal(labels[0, 0, 0], expected)
    assert context.details["objects"] == count > 5


def test_a_logit_is_no_probability_until_the_activation_is_told(tmp_path):
    image = discs(40, 40)
    path = str(save_script(tmp_path / "model.pt", "blur", logits=True))
    with pytest.raises(InputError, match=r"no probability.*Set activation"):
        probability(TorchscriptModel(path=path), image, Threads(1))
    told = probability(TorchscriptModel(path=path, activation="sigmoid"), image, Threads(1))
    plain = TorchscriptModel(path=str(save_script(tmp_path / "other.pt", "blur")))
    np.testing.assert_allclose(told, probability(plain, image, Threads(1)), rtol=0, atol=1e-6)


def instanseg(folder, **stated):
    given = {"pixel_size": 0.5, "cells_and_nuclei": True} | stated
    return str(save_script(folder / "instanseg.pt", "instanseg", **given))


@pytest.mark.parametrize(("target", "first"), [("nuclei", 1), ("cells", 101)])
def test_instanseg_is_asked_for_nuclei_or_cells(tmp_path, target, first):
    path = instanseg(tmp_path)
    tile = np.zeros((1, 1, 32, 32), np.float32)
    tile[..., 4:12, 4:12] = 0.3
    tile[..., 6:9, 6:9] = 1
    expected = first * (tile > (0.5 if target == "nuclei" else 0.25))
    for given in (path, str(tmp_path)):  # the file, or its folder
        predictor = open_model(InstansegModel(path=given, target=target), 1).predictor()
        assert predictor.signature.pixel_size_um == 0.5
        np.testing.assert_array_equal(predictor.predict(tile), expected)


def test_instanseg_of_one_target_gives_that_one(tmp_path):
    path = instanseg(tmp_path, cells_and_nuclei=False, pixel_size=0.0)
    predictor = open_model(InstansegModel(path=path, target="cells"), 1).predictor()
    assert predictor.signature.pixel_size_um is None
    tile = np.zeros((1, 1, 8, 8), np.float32)
    tile[..., 2:5, 2:5] = 1
    np.testing.assert_array_equal(predictor.predict(tile), tile)


def test_the_step_joins_what_instanseg_finds(tmp_path):
    image = discs(90, 110, radius=5, count=14)
    saved = save(tmp_path / "image.ome.zarr", image, "YX", y_um=0.5, x_um=0.5)
    expected, count = ndimage.label(image > 110)
    for tile in (None, 64):
        model = {"method": "instanseg", "path": instanseg(tmp_path), "halo_px": 20}
        context, labels = run_step(
            tmp_path, saved, 2, model=model | {"tile_px": tile}, min_diameter_px=0
        )
        np.testing.assert_array_equal(labels[0, 0, 0] > 0, expected > 0)
        assert labels.max() == context.details["objects"] == count
        assert context.details["model"]["runtime"] == "torch 2.0"


def test_other_files_are_told(tmp_path):
    path = str(save_script(tmp_path / "model.pt", "blur"))
    with pytest.raises(InputError, match="no model of InstanSeg"):
        open_model(InstansegModel(path=path), 1).predictor()
    (tmp_path / "half.pt").write_text('{"network"')
    (tmp_path / "state.pt").write_text('{"weights": 1}')
    for name in ("half.pt", "state.pt"):
        options = TorchscriptModel(path=str(tmp_path / name))
        with pytest.raises(InputError, match=r"no TorchScript.*torch\.jit\.script") as caught:
            open_model(options, 1).predictor()
        assert "more" not in str(caught.value)  # of what PyTorch says, the first line
    with pytest.raises(InputError, match=r"no such model.*not downloaded.*torch\.jit"):
        open_model(TorchscriptModel(path=str(tmp_path / "none.pt")), 1)
    with pytest.raises(InputError, match="not a file"):
        open_model(TorchscriptModel(path=str(tmp_path)), 1).predictor()


def test_a_tile_that_the_network_does_not_take_is_told(tmp_path):
    path = str(save_script(tmp_path / "model.pt", "blur"))
    predictor = open_model(TorchscriptModel(path=path), 2).predictor()
    match = r"does not take a tile.*expected input to have 1 channels.*found \(1, 2, 32, 32\).*Set"
    with pytest.raises(InputError, match=match):
        predictor.predict(np.zeros((2, 1, 32, 32), np.float32))


def test_a_network_that_gives_no_array_is_told(tmp_path):
    path = str(save_script(tmp_path / "model.pt", "nothing"))
    predictor = open_model(TorchscriptModel(path=path), 1).predictor()
    with pytest.raises(InputError, match=r"gives no array.*expected a tensor; found NoneType"):
        predictor.predict(np.zeros((1, 1, 32, 32), np.float32))


@pytest.mark.parametrize("options", [TorchscriptModel, InstansegModel])
def test_pytorch_that_is_missing_is_told_with_its_extra(tmp_path, monkeypatch, options):
    chosen = options(path=str(save_script(tmp_path / "model.pt", "blur")))
    monkeypatch.setitem(sys.modules, "torch", None)
    missing = r"needs torch.*pip install 'parfocal\[torch\]'"
    with pytest.raises(ConfigurationError, match=missing):
        check_model(chosen)
    with pytest.raises(ConfigurationError, match=missing):
        open_model(chosen, 1).predictor()


@pytest.mark.parametrize("method", [TorchscriptModel, InstansegModel, BioimageioModel])
def test_a_url_is_no_path(method):
    with pytest.raises(ValueError, match="not downloaded"):
        method(path="https://example.org/model")
