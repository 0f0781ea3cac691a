"""StarDist itself runs small networks with random weights."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from stardist.models import Config2D, Config3D, StarDist2D, StarDist3D

from parfocal.analysis.models.loading import open_model
from parfocal.errors import InputError
from parfocal.models.model_options import StardistModel

pytestmark = pytest.mark.filterwarnings("ignore")  # of Keras and TensorFlow, which are not ours

tf.config.threading.set_intra_op_parallelism_threads(1)  # before the first model is made
tf.config.threading.set_inter_op_parallelism_threads(1)

WEIGHTS = "weights_best.h5"
SMALL = {"n_channel_in": 1, "unet_n_depth": 1, "unet_n_filter_base": 4, "net_conv_after_unet": 4}


def saved(folder, dimensions):
    """Write a model, and return its folder."""
    name = f"model{dimensions}"
    if dimensions == 2:
        model = StarDist2D(Config2D(n_rays=8, **SMALL), name=name, basedir=str(folder))
    else:
        config = Config3D(rays=12, grid=(1, 1, 1), **SMALL)
        model = StarDist3D(config, name=name, basedir=str(folder))
    model.keras_model.save_weights(str(folder / name / WEIGHTS))
    return folder / name


@pytest.mark.parametrize(("dimensions", "size"), [(2, (1, 40, 50)), (3, (6, 24, 24))])
def test_labels_have_the_size_of_the_tile_and_are_always_the_same(tmp_path, dimensions, size):
    path = str(saved(tmp_path, dimensions))
    predictor = open_model(StardistModel(path=path, probability_threshold=0.3), 1).predictor()
    assert (predictor.signature.dimensions, predictor.signature.channels) == (dimensions, 1)
    tile = np.random.default_rng(0).random((1, *size), np.float32)
    found = predictor.predict(tile)
    assert found.shape == tile.shape
    assert found.dtype.kind in "iu"
    np.testing.assert_array_equal(predictor.predict(tile), found)


def test_a_folder_without_weights_is_told(tmp_path):
    """StarDist itself would run with random ones."""
    path = saved(tmp_path, 2)
    (path / WEIGHTS).unlink()
    with pytest.raises(InputError, match="holds no weights"):
        open_model(StardistModel(path=str(path)), 1).predictor()


def test_weights_of_something_else_are_told(tmp_path):
    path = saved(tmp_path, 2)
    (path / WEIGHTS).write_bytes(b"nonsense")
    with pytest.raises(InputError, match="StarDist cannot load the model"):
        open_model(StardistModel(path=str(path)), 1).predictor()
