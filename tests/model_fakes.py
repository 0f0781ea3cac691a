"""What Cellpose, StarDist and PyTorch do where we call them, made up: tests run without gigabytes.

``tests/models`` runs the real ones. Whatever finds objects here finds what touches above one half.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
from scipy import ndimage

from onnx_networks import GAIN, OFFSET, RADIUS

__all__ = ["install_cellpose", "install_stardist", "install_torch", "save_script"]

WEIGHTS = ("encoder", "W2")

_here = threading.local()
"""Of each thread: whether PyTorch infers, and the device that TensorFlow is told to work on."""


def install(monkeypatch, **modules):
    """Let modules be imported; a dot in a name is written as two underscores."""
    for name, content in modules.items():
        dotted = name.replace("__", ".")
        module = ModuleType(dotted)
        module.__spec__ = ModuleSpec(dotted, None)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, dotted, module)
        parent, _, own = dotted.rpartition(".")
        if parent:
            setattr(sys.modules[parent], own, module)


@contextlib.contextmanager
def here(name, value):
    """Let this thread know a value."""
    before = getattr(_here, name, None)
    setattr(_here, name, value)
    try:
        yield
    finally:
        setattr(_here, name, before)


def labels_of(image):
    return ndimage.label(image > 0.5)[0].astype(np.uint16)


class Tensor:
    """An array on a device."""

    def __init__(self, values, device="cpu"):
        self.values, self.device = np.asarray(values), device

    @property
    def shape(self):
        return self.values.shape

    def to(self, device):
        return Tensor(self.values, device)

    def cpu(self):
        return self.to("cpu")

    def numpy(self):
        if self.device != "cpu":
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu()")
        return self.values


def save_script(path, network, **attributes):
    """Write what `Script` reads: the name of a network, its settings, and what it states."""
    path.write_text(json.dumps({"network": network} | attributes))
    return path


class Script:
    """A network of TorchScript: `blur`, `components` or `instanseg`, or one that gives no array.

    `blur` and `components` find what those of `onnx_networks` do.
    """

    def __init__(self, network, device, *, channels=1, logits=False, **attributes):
        self._run = getattr(self, f"_{network}")
        self._channels, self._logits, self._device = channels, logits, device
        self._training = True
        self.__dict__.update(attributes)

    def eval(self):
        self._training = False
        return self

    def __call__(self, x, **arguments):
        assert getattr(_here, "inference", False), "gradients are kept"
        assert not self._training, "it is not told to evaluate"
        assert x.device == self._device, "tile and network are on different devices"
        if x.shape[1] != self._channels:
            raise RuntimeError(
                "The following operation failed in the TorchScript interpreter.\n"
                f"RuntimeError: expected input to have {self._channels} channels"
            )
        return self._run(x.values, **arguments)

    def _give(self, values):
        return Tensor(np.float32(values), self._device)

    def _blur(self, values):
        width = (1, 1) + (2 * RADIUS + 1,) * (values.ndim - 2)
        means = ndimage.uniform_filter(np.float64(values), width, mode="constant")
        logits = GAIN * means.sum(axis=1, keepdims=True) + OFFSET
        return self._give(logits if self._logits else 1 / (1 + np.exp(-logits)))

    def _components(self, values):
        touching = np.ones((3,) * (values.ndim - 2))
        return self._give(ndimage.label(values[0, 0] > 0.5, touching)[0][None, None]), "more"

    def _instanseg(self, values, *, target_segmentation):
        """Nuclei lie above 0.5 and cells above 0.25; their labels count from 1 and from 101."""
        nuclei, cells = target_segmentation.cpu().numpy()
        if nuclei and cells and self.cells_and_nuclei:
            raise RuntimeError("two label images are one too many")
        above = values[:, :1] > (0.5 if nuclei else 0.25)
        labels = ndimage.label(above)[0]
        return self._give(np.where(above, labels + 100 * (not nuclei), 0))

    def _nothing(self, values):
        return None


def install_torch(monkeypatch, calls=None, *, gpu=False, **more):
    """Let ``torch`` be there; `calls` are the devices of scripts and how many threads there are."""
    told = [] if calls is None else calls

    def load(file, *, map_location):
        content = file.read() if hasattr(file, "read") else Path(file).read_bytes()
        try:
            described = json.loads(content)
        except ValueError as error:
            raise RuntimeError("PytorchStreamReader failed: not a ZIP archive\nmore") from error
        if "network" not in described:
            raise RuntimeError("PytorchStreamReader failed locating file constants.pkl\nmore")
        told.append({"map_location": map_location})
        return Script(described.pop("network"), map_location, **described)

    class JitError(Exception):
        pass

    content = {
        "__version__": "2.0",
        "Tensor": Tensor,
        "cuda": SimpleNamespace(is_available=lambda: gpu),
        "device": str,
        "from_numpy": Tensor,
        "inference_mode": lambda: here("inference", True),
        "set_num_threads": lambda number: told.append({"threads": number}),
        "tensor": Tensor,
    }
    install(monkeypatch, torch=content | more, torch__jit={"load": load, "Error": JitError})


def install_cellpose(monkeypatch, calls, *, gpu=False):
    """Let Cellpose be there; a model's file lists its weights, and `calls` what it was asked."""

    class CellposeModel:
        def __init__(self, *, pretrained_model, device, use_bfloat16):
            names = Path(pretrained_model).read_text().split()
            if "W2" not in names:
                raise ValueError("This model does not appear to be a CP4 model.")
            calls.append({"device": device, "use_bfloat16": use_bfloat16})
            self.net = SimpleNamespace(state_dict=lambda: dict.fromkeys(WEIGHTS))

        def eval(self, x, **options):
            calls.append(options)
            assert options["channel_axis"] == 0
            return labels_of(x[0].astype(float)).squeeze(), None, None

    def load(path, *, map_location, weights_only, mmap):
        assert weights_only
        return dict.fromkeys(Path(path).read_text().split())

    install_torch(monkeypatch, gpu=gpu, load=load)
    install(monkeypatch, cellpose={}, cellpose__models={"CellposeModel": CellposeModel})
    monkeypatch.setattr("parfocal.analysis.models.cellpose.version", lambda name: "4.2")


def install_stardist(monkeypatch, calls, *, threads=0, gpu=False):
    """Let StarDist be there; TensorFlow has been used on so many `threads`, 0 for not at all.

    `calls` are what it was asked, and on which device.
    """

    class StarDist:
        def __init__(self, config, *, name, basedir):
            print("Loading network weights")
            self.device = _here.tensorflow
            if (Path(basedir) / name / "weights_best.h5").read_bytes() != b"weights":
                raise OSError("Unable to synchronously open file")

        def predict_instances(self, image, **options):
            assert _here.tensorflow == self.device
            calls.append(options | {"device": self.device})
            return labels_of(image[..., 0]), {}

    class Threading:
        number = threads

        def get_intra_op_parallelism_threads(self):
            return self.number

        def set_intra_op_parallelism_threads(self, number):
            if self.number:
                raise RuntimeError("Intra op parallelism cannot be modified after initialization.")
            self.number = number

        set_inter_op_parallelism_threads = staticmethod(lambda number: None)

    found = [SimpleNamespace(name="/physical_device:GPU:0")] if gpu else []
    config = SimpleNamespace(threading=Threading(), list_physical_devices=lambda kind: found)
    tensorflow = {
        "config": config,
        "device": lambda name: here("tensorflow", name),
        "__version__": "2.21",
    }
    install(
        monkeypatch,
        tensorflow=tensorflow,
        stardist={"__version__": "0.9"},
        stardist__models={"StarDist2D": StarDist, "StarDist3D": StarDist},
    )
