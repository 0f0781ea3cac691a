"""Learned models that cannot be used are told, with the remedy, before any work is done."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from pydantic import ValidationError

from model_runs import discs, prepared
from onnx_networks import blur, components, save_network
from parfocal.analysis.models.loading import open_model
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.model_options import OnnxModel


def test_a_url_is_no_path():
    with pytest.raises(ValidationError, match=r"not downloaded\. Export your network"):
        OnnxModel(path="https://example.org/model.onnx")


def refused(path, image=None, *, error=InputError, match, channels=(0,), mode="auto", **options):
    given = {"path": str(path)} | options
    with pytest.raises(error, match=match):
        prepared(
            OnnxModel(**given),
            discs(40, 40) if image is None else image,
            channels=channels,
            mode=mode,
        )


def test_files_that_are_no_models_are_told(tmp_path):
    refused(tmp_path / "none.onnx", match=r"no such model.*not downloaded.*Export")
    refused(tmp_path, match="not a file")
    (tmp_path / "text.onnx").write_text("nonsense")
    refused(tmp_path / "text.onnx", match="no ONNX model")
    path = blur(tmp_path / "model.onnx")
    content = path.read_bytes()
    (tmp_path / "half.onnx").write_bytes(content[: len(content) // 2])
    refused(tmp_path / "half.onnx", match="no ONNX model")


def test_weights_in_another_file_are_told_since_no_digest_would_cover_them(tmp_path):
    model = onnx.load(blur(tmp_path / "model.onnx"))
    path = tmp_path / "outside.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    refused(path, match=r"weights in another file.*found w\.bin.*one file")


def test_models_that_do_not_fit_the_image_are_told(tmp_path):
    path = blur(tmp_path / "model.onnx", weights=(1.0, 1.0, 1.0))
    refused(path, error=ConfigurationError, match=r"number of channels.*expected 3; found 1")
    volumes = blur(tmp_path / "volumes.onnx", 3)
    refused(volumes, error=ConfigurationError, match="one plane")
    labels = components(tmp_path / "labels.onnx", steps=1)
    refused(labels, output="labels", mode="volume", error=ConfigurationError, match="another kind")


@pytest.mark.parametrize(
    ("elem", "name", "pixel"),
    [
        (TensorProto.UINT8, "uint8", 300),
        (TensorProto.UINT8, "uint8", 0.5),
        (TensorProto.INT32, "int32", 2**32),
        (TensorProto.FLOAT16, "float16", 70000),
    ],
)
def test_pixels_that_the_model_cannot_take_are_told(tmp_path, elem, name, pixel):
    cast = helper.make_node("Cast", ["i"], ["o"], to=TensorProto.FLOAT)
    sizes = ["n", 1, "y", "x"]
    path = save_network(tmp_path / "cast.onnx", [cast], {}, sizes, sizes, elem=elem)
    model = open_model(OnnxModel(path=str(path), normalisation="none"), 1).predictor()
    tile = np.full((1, 1, 32, 32), 200, np.float32)
    np.testing.assert_array_equal(model.predict(tile)[0], tile[0])
    tile[0, 0, 5, 5] = pixel
    with pytest.raises(InputError, match=f"does not hold.*expected {name}; found"):
        model.predict(tile)


def test_tiles_that_are_too_small_or_of_the_wrong_size_are_told_before_any_work(tmp_path):
    path = blur(tmp_path / "model.onnx")
    smaller = r"smaller than its halo.*at least 3 x halo_px.*tile_px 64, halo_px 32"
    refused(path, tile_px=64, halo_px=32, error=ConfigurationError, match=smaller)
    fixed = blur(tmp_path / "fixed.onnx", size=64)
    refused(fixed, tile_px=128, error=ConfigurationError, match=r"one size only.*expected 64")
    refused(fixed, halo_px=30, error=ConfigurationError, match="smaller than its halo")


def test_a_gpu_that_is_not_there_is_told(tmp_path):
    path = blur(tmp_path / "model.onnx")
    refused(path, device="cuda", error=ConfigurationError, match=r"no GPU.*device=cpu")


def test_pixel_sizes_are_compared(tmp_path):
    options = OnnxModel(path=str(blur(tmp_path / "model.onnx")), pixel_size_um=0.5)
    image = discs(40, 40)
    assert prepared(options, image, x_um=0.52).warnings == []
    (near,) = prepared(options, image, x_um=0.6).warnings
    assert "pixels of 0.5 um" in near
    (unknown,) = prepared(options, image).warnings
    assert "does not tell" in unknown
    with pytest.raises(InputError, match=r"another size.*expected 0\.5 um; found 1\.2 um"):
        prepared(options, image, x_um=1.2)


def test_a_library_that_is_missing_is_told_with_its_extra(tmp_path, monkeypatch):
    path = blur(tmp_path / "model.onnx", weights=(0.5,))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    missing = r"needs onnxruntime.*pip install 'parfocal\[models\]'"
    refused(path, error=ConfigurationError, match=missing)


def test_a_model_that_is_changed_under_way_is_told(tmp_path):
    path = blur(tmp_path / "model.onnx", weights=(0.25,))
    handle = open_model(OnnxModel(path=str(path)), 1)
    blur(path, weights=(0.125,), logits=True)
    with pytest.raises(InputError, match="changed while it was used"):
        handle.predictor()
