"""Cellpose itself runs a small network with random weights."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cellpose import vit
from segment_anything.modeling import ImageEncoderViT

from memory_images import save
from model_runs import discs, run_step
from parfocal.analysis.models.loading import open_model
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.model_options import CellposeModel

pytestmark = [
    pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning"),
    pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning"),  # of planes of one pixel
]


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Return the file of a model with one layer instead of 24."""
    small = {"depth": 1, "embed_dim": 16, "num_heads": 2, "mlp_ratio": 1, "out_chans": 8}

    def encoder(_):
        return SimpleNamespace(image_encoder=ImageEncoderViT(use_rel_pos=True, **small))

    monkeypatch.setitem(vit.sam_model_registry, "vit_l", encoder)
    torch.manual_seed(0)
    path = tmp_path / "model"
    vit.CPSAM().save_model(str(path))
    return path


def loaded(path, **options):
    chosen = {"cellprob_threshold": -20.0, "flow_threshold": 0.0} | options
    return open_model(CellposeModel(path=str(path), **chosen), 1).predictor()


@pytest.mark.parametrize("size", [(40, 50), (1, 40), (40, 1)])
def test_labels_have_the_size_of_the_tile_and_are_always_the_same(weights, size):
    tile = np.random.default_rng(0).random((1, 1, *size), np.float32)
    found = loaded(weights).predict(tile)
    assert found.shape == tile.shape
    assert found.max() > 0
    np.testing.assert_array_equal(loaded(weights).predict(tile), found)


def test_volumes_are_seen_from_three_directions(weights):
    tile = np.random.default_rng(0).random((1, 3, 24, 24), np.float32)
    found = loaded(weights, volume=True).predict(tile)
    assert found.shape == tile.shape
    assert found.max() > 0


def test_the_step_writes_what_cellpose_finds(tmp_path, weights):
    image = save(tmp_path / "image.ome.zarr", discs(64, 70), "YX")
    model = {"method": "cellpose", "path": str(weights), "cellprob_threshold": -20}
    context, labels = run_step(tmp_path, image, model=model | {"flow_threshold": 0})
    assert context.details["objects"] == labels.max() > 0
    assert context.details["model"]["runtime"].startswith("cellpose 4.")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"nonsense", "cannot load the model"),
        (b"", "cannot load the model"),
        ([1, 2], "cannot load the model"),
        (torch.zeros(3), "cannot load the model"),
        ({"a": torch.zeros(2)}, "does not appear to be a CP4 model"),
        ({"W2": torch.eye(192).reshape(192, 3, 8, 8)}, r"lacks weights.*found 1\b"),
    ],
    ids=["text", "empty", "list", "tensor", "other", "incomplete"],
)
def test_other_files_are_told(tmp_path, weights, content, match):
    path = tmp_path / "other"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(InputError, match=match):
        loaded(path)


def test_a_kind_of_network_that_cellpose_does_not_bring_is_told(tmp_path):
    path = tmp_path / "dino"
    names = {"encoder.cls_token": (1,), "encoder.patch_embed.proj.weight": (768, 2), "W2": (1,)}
    torch.save({name: torch.zeros(shape) for name, shape in names.items()}, path)
    with pytest.raises(ConfigurationError, match="Cellpose lacks what this kind of model needs"):
        loaded(path)
