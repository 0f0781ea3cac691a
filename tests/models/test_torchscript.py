"""PyTorch itself runs TorchScript files and those of InstanSeg."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from memory_images import save
from model_runs import discs, prepared, run_of, run_step
from onnx_networks import GAIN, OFFSET, RADIUS, blur
from parfocal.analysis.models.loading import open_model
from parfocal.core.blocks import whole
from parfocal.core.scheduler import Threads
from parfocal.errors import InputError
from parfocal.models.model_options import InstansegModel, OnnxModel, TorchscriptModel

# PyTorch advises other formats, which do not hold what users have.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")


class Blur(torch.nn.Module):
    """The network that `onnx_networks.blur` writes."""

    def __init__(self):
        super().__init__()
        width = 2 * RADIUS + 1
        self.convolution = torch.nn.Conv2d(1, 1, width, padding=RADIUS)
        torch.nn.init.constant_(self.convolution.weight, GAIN / width**2)
        torch.nn.init.constant_(self.convolution.bias, OFFSET)

    def forward(self, x):
        return torch.sigmoid(self.convolution(x))


class Instanseg(torch.nn.Module):
    """As files of InstanSeg are: labels of nuclei or cells, here of rows and columns of squares."""

    def __init__(self):
        super().__init__()
        self.pixel_size = 0.5
        self.cells_and_nuclei = True

    def forward(self, x, target_segmentation: torch.Tensor):
        above = (x[:, :1] > 0.5).to(torch.float32)
        return above * (1 + target_segmentation[1])


def saved(module, path):
    torch.jit.script(module.eval()).save(str(path))
    return str(path)


def test_torchscript_gives_what_the_same_network_gives_as_onnx(tmp_path):
    image = discs(75, 90)
    paths = saved(Blur(), tmp_path / "model.pt"), str(blur(tmp_path / "model.onnx"))
    found = []
    for options in (TorchscriptModel, OnnxModel):
        chosen = options(path=paths[options is OnnxModel], tile_px=32, halo_px=4)
        fitted = prepared(chosen, image)
        volume, _ = fitted.probability(run_of(Threads(2)))
        found.append(volume.read(whole(volume.shape5)))
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-6)
    assert found[0].max() > 0.9


def test_the_step_finds_the_same_objects_for_any_tiles_and_threads(tmp_path):
    image = save(tmp_path / "image.ome.zarr", discs(64, 70), "YX")
    model = {"method": "torchscript", "path": saved(Blur(), tmp_path / "model.pt"), "halo_px": 4}
    found = []
    for tile, threads in ((None, 1), (24, 2)):
        context, labels = run_step(tmp_path, image, threads, model=model | {"tile_px": tile})
        assert context.details["model"]["runtime"] == f"torch {torch.__version__}"
        found.append(labels)
    assert found[0].max() > 5
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize(("target", "label"), [("nuclei", 1), ("cells", 2)])
def test_instanseg_is_asked_for_nuclei_or_cells(tmp_path, target, label):
    path = saved(Instanseg(), tmp_path / "instanseg.pt")
    for given in (path, str(tmp_path)):  # the file, or its folder
        predictor = open_model(InstansegModel(path=given, target=target), 1).predictor()
        assert predictor.signature.pixel_size_um == 0.5
        tile = np.zeros((1, 1, 32, 32), np.float32)
        tile[..., 4:9, 4:9] = 1
        np.testing.assert_array_equal(predictor.predict(tile), label * tile)


def test_other_files_are_told(tmp_path):
    path = saved(Blur(), tmp_path / "model.pt")
    with pytest.raises(InputError, match="no model of InstanSeg"):
        open_model(InstansegModel(path=path), 1).predictor()
    half, state = tmp_path / "half.pt", tmp_path / "state.pt"
    half.write_bytes((tmp_path / "model.pt").read_bytes()[:500])
    torch.save(Blur().state_dict(), state)
    for other in (half, state):
        with pytest.raises(InputError, match=r"no TorchScript.*torch\.jit\.script"):
            open_model(TorchscriptModel(path=str(other)), 1).predictor()


def test_a_tile_of_other_channels_is_told(tmp_path):
    predictor = open_model(TorchscriptModel(path=saved(Blur(), tmp_path / "model.pt")), 2)
    with pytest.raises(InputError, match=r"does not take a tile.*to have 1 channels"):
        predictor.predictor().predict(np.zeros((2, 1, 32, 32), np.float32))
