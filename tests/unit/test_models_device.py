"""Models run on the device that is asked for; the libraries, and the GPU, are made up."""

from __future__ import annotations

import json

import numpy as np
import pytest

from memory_images import save
from model_fakes import install_cellpose, install_stardist, install_torch, save_script
from model_runs import discs, run_step
from parfocal.analysis.models.loading import open_model
from parfocal.errors import ConfigurationError
from parfocal.models.segment_params import SegmentObjectsParams

METHODS = ("torchscript", "instanseg", "bioimageio", "cellpose", "stardist")


def written(method, folder):
    """Write a model, and return its path."""
    stated = {"pixel_size": 0.0, "cells_and_nuclei": False}
    path = folder / "model"
    match method:
        case "torchscript":
            save_script(path, "blur")
        case "instanseg":
            save_script(path, "instanseg", **stated)
        case "bioimageio":
            path.mkdir()
            save_script(path / "weights.pt", "blur")
            tensor = {"axes": "bcyx", "shape": {"min": [1, 1, 32, 32], "step": [0, 0, 16, 16]}}
            described = {"format_version": "0.4.10", "inputs": [tensor], "outputs": [tensor]}
            described["weights"] = {"torchscript": {"source": "weights.pt"}}
            (path / "rdf.yaml").write_text(json.dumps(described))  # which is YAML, too
        case "cellpose":
            path.write_text("encoder W2")
        case "stardist":
            path.mkdir()
            (path / "config.json").write_text(json.dumps({"n_dim": 2, "n_channel_in": 1}))
            (path / "weights_best.h5").write_bytes(b"weights")
    return str(path)


def installed(method, monkeypatch, *, gpu):
    """Let the library of a method be there, and return what it is asked."""
    calls = []
    installs = {"cellpose": install_cellpose, "stardist": install_stardist}
    installs.get(method, install_torch)(monkeypatch, calls, gpu=gpu)
    return calls


def devices(calls):
    """Return where the library was told to work."""
    keys = ("map_location", "device")
    return {call[key] for call in calls for key in keys if key in call}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("asked", "gpu", "taken"),
    [
        ("cuda", True, "cuda"),
        ("auto", True, "cuda"),
        ("cpu", True, "cpu"),
        ("auto", False, "cpu"),
        ("cpu", False, "cpu"),
    ],
)
def test_the_library_gets_the_device_and_the_record_tells_it(
    tmp_path, monkeypatch, method, asked, gpu, taken
):
    calls = installed(method, monkeypatch, gpu=gpu)
    image = save(tmp_path / "image.ome.zarr", discs(40, 40), "YX")
    model = {"method": method, "path": written(method, tmp_path), "device": asked, "halo_px": 8}
    if method == "bioimageio":
        model["normalisation"] = "percentile"
    context, labels = run_step(tmp_path, image, model=model)
    assert labels.max() > 0
    told = context.details["model"]
    assert (told["device"], told["exactness"]) == (taken, "numeric")
    names = {"cpu": "/CPU:0", "cuda": "/GPU:0"}
    assert devices(calls) == {names[taken] if method == "stardist" else taken}


@pytest.mark.parametrize("method", METHODS)
def test_a_gpu_that_is_not_there_is_told_before_any_work(tmp_path, monkeypatch, method):
    calls = installed(method, monkeypatch, gpu=False)
    model = {"method": method, "path": written(method, tmp_path), "device": "cuda"}
    options = SegmentObjectsParams.model_validate({"model": model}).model
    with pytest.raises(ConfigurationError, match=r"sees no GPU.*found cuda.*set device=cpu"):
        open_model(options, 1).predictor()
    assert devices(calls) == set()


@pytest.mark.parametrize(("gpu", "reduced"), [(True, True), (False, False)])
def test_cellpose_takes_numbers_of_16_bits_on_a_gpu_only(tmp_path, monkeypatch, gpu, reduced):
    calls = installed("cellpose", monkeypatch, gpu=gpu)
    model = {"method": "cellpose", "path": written("cellpose", tmp_path)}
    options = SegmentObjectsParams.model_validate({"model": model}).model
    found = open_model(options, 1).predictor().predict(np.ones((1, 1, 8, 8), np.float32))
    assert found.all()
    assert calls[0]["use_bfloat16"] is reduced
