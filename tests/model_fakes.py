"""What Cellpose, StarDist and PyTorch do where we call them, made up: tests run without gigabytes.

``tests/models`` runs the real ones. Whatever finds objects here finds what touches above one half.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
from scipy import ndimage

__all__ = ["install_cellpose", "install_stardist"]

WEIGHTS = ("encoder", "W2")


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


def labels_of(image):
    return ndimage.label(image > 0.5)[0].astype(np.uint16)


def install_torch(monkeypatch, **more):
    """Let ``torch`` be there, on a machine without a GPU."""
    content = {
        "__version__": "2.0",
        "cuda": SimpleNamespace(is_available=lambda: False),
        "device": str,
        "set_num_threads": lambda number: None,
    }
    install(monkeypatch, torch=content | more)


def install_cellpose(monkeypatch, calls):
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

    install_torch(monkeypatch, load=load)
    install(monkeypatch, cellpose={}, cellpose__models={"CellposeModel": CellposeModel})
    monkeypatch.setattr("parfocal.analysis.models.cellpose.version", lambda name: "4.2")


def install_stardist(monkeypatch, calls, *, threads=0):
    """Let StarDist be there; TensorFlow has been used on so many `threads`, 0 for not at all."""

    class StarDist:
        def __init__(self, config, *, name, basedir):
            print("Loading network weights")
            if (Path(basedir) / name / "weights_best.h5").read_bytes() != b"weights":
                raise OSError("Unable to synchronously open file")

        def predict_instances(self, image, **options):
            calls.append(options)
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

    config = SimpleNamespace(threading=Threading(), list_physical_devices=lambda kind: [])
    install(
        monkeypatch,
        tensorflow={"config": config, "__version__": "2.21"},
        stardist={"__version__": "0.9"},
        stardist__models={"StarDist2D": StarDist, "StarDist3D": StarDist},
    )
