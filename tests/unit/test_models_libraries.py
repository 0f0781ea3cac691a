"""What Cellpose and StarDist are asked, and what is made of their answers; both are made up."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import ndimage

from memory_images import save
from model_fakes import install_cellpose, install_stardist
from model_runs import discs, run_step
from parfocal.analysis.models.loading import open_model
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.model_options import CellposeModel, StardistModel


@pytest.fixture
def calls():
    return []


def cellpose_file(folder, content="encoder W2"):
    path = folder / "cellpose"
    path.write_text(content)
    return str(path)


def stardist_folder(folder, dimensions=2, weights=b"weights"):
    path = folder / "stardist"
    path.mkdir()
    config = {"n_dim": dimensions, "n_channel_in": 1}
    (path / "config.json").write_text(json.dumps(config))
    if weights is not None:
        (path / "weights_best.h5").write_bytes(weights)
    return str(path)


@pytest.mark.parametrize("library", ["cellpose", "stardist"])
def test_objects_are_those_of_the_library_for_any_tiles(tmp_path, monkeypatch, calls, library):
    image = discs(90, 110, radius=5, count=14)
    saved = save(tmp_path / "image.ome.zarr", image, "YX")
    if library == "cellpose":
        install_cellpose(monkeypatch, calls)
        path = cellpose_file(tmp_path)
    else:
        install_stardist(monkeypatch, calls)
        path = stardist_folder(tmp_path)
    expected, count = ndimage.label(image > 110)
    for tile in (None, 64):
        model = {"method": library, "path": path, "tile_px": tile, "halo_px": 20}
        context, labels = run_step(tmp_path, saved, 2, model=model, min_diameter_px=0)
        assert labels.max() == context.details["objects"] == count
        np.testing.assert_array_equal(labels[0, 0, 0] > 0, expected > 0)
        assert context.details["model"]["runtime"].startswith(library)
        assert context.details["model"]["exactness"] == "numeric"


@pytest.mark.parametrize("size", [(1, 8, 9), (1, 1, 9), (1, 8, 1), (4, 8, 9), (4, 1, 9)])
def test_cellpose_drops_axes_of_one_pixel_and_they_are_put_back(tmp_path, monkeypatch, calls, size):
    install_cellpose(monkeypatch, calls)
    options = CellposeModel(path=cellpose_file(tmp_path), volume=size[0] > 1, diameter_px=15)
    tile = np.random.default_rng(0).random((1, *size), np.float32)
    found = open_model(options, 1).predictor().predict(tile)
    np.testing.assert_array_equal(found > 0, tile > 0.5)
    assert calls[0] == {"device": "cpu", "use_bfloat16": False}
    asked = calls[1]
    assert (asked["do_3D"], asked["z_axis"]) == ((True, 1) if size[0] > 1 else (False, None))
    assert (asked["normalize"], asked["diameter"], asked["min_size"]) == (False, 15, -1)


@pytest.mark.parametrize(
    ("content", "match"),
    [("encoder", "not appear to be a CP4 model"), ("W2", r"lacks weights.*encoder.*found 1")],
)
def test_files_that_are_no_models_of_cellpose_are_told(
    tmp_path, monkeypatch, calls, content, match
):
    install_cellpose(monkeypatch, calls)
    path = cellpose_file(tmp_path, content)
    with pytest.raises(InputError, match=match):
        open_model(CellposeModel(path=path), 1).predictor()


def test_cellpose_is_not_given_channels_that_it_would_leave_out(tmp_path, monkeypatch, calls):
    install_cellpose(monkeypatch, calls)
    options = CellposeModel(path=cellpose_file(tmp_path), channels=(0, 1, 2, 3))
    with pytest.raises(ConfigurationError, match=r"three channels only.*found 4"):
        open_model(options, 4).predictor()


@pytest.mark.parametrize(("dimensions", "axes"), [(2, "YXC"), (3, "ZYXC")])
def test_stardist_is_asked_by_its_axes(tmp_path, monkeypatch, calls, capsys, dimensions, axes):
    install_stardist(monkeypatch, calls)
    path = stardist_folder(tmp_path, dimensions)
    predictor = open_model(StardistModel(path=path, overlap_threshold=0.3), 1).predictor()
    assert "Loading" not in capsys.readouterr().out  # which is for results
    tile = np.random.default_rng(0).random((1, 4 if dimensions == 3 else 1, 8, 9), np.float32)
    np.testing.assert_array_equal(predictor.predict(tile) > 0, tile > 0.5)
    asked = {"prob_thresh": None, "nms_thresh": 0.3, "show_tile_progress": False}
    assert calls == [asked | {"axes": axes, "device": "/CPU:0"}]


@pytest.mark.parametrize(
    ("weights", "match"), [(None, "holds no weights"), (b"nonsense", "StarDist cannot load")]
)
def test_folders_that_are_no_models_of_stardist_are_told(
    tmp_path, monkeypatch, calls, weights, match
):
    install_stardist(monkeypatch, calls)
    path = stardist_folder(tmp_path, weights=weights)
    with pytest.raises(InputError, match=match):
        open_model(StardistModel(path=path), 1).predictor()


def test_tensorflow_that_was_used_on_several_threads_is_told(tmp_path, monkeypatch, calls):
    install_stardist(monkeypatch, calls, threads=2)
    with pytest.raises(ConfigurationError, match="TensorFlow was used"):
        open_model(StardistModel(path=stardist_folder(tmp_path)), 1).predictor()
