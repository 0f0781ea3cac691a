"""Models of InstanSeg: TorchScript files that give the labels of nuclei and cells."""

from __future__ import annotations

from pathlib import Path

from parfocal.analysis.models.predictor import Layout, Signature
from parfocal.analysis.models.recipe import recipe_by_name
from parfocal.analysis.models.torchscript import TorchPredictor, load_script
from parfocal.analysis.models.weights import check_path
from parfocal.errors import InputError
from parfocal.models.model_options import InstansegModel

__all__ = ["load_instanseg"]


def load_instanseg(options: InstansegModel) -> TorchPredictor:
    """Load a file ``instanseg.pt``, or the folder with it.

    Raises
    ------
    InputError
        If it is missing, damaged, or of something else.
    """
    import torch

    path = check_path(options)
    path = path / "instanseg.pt" if path.is_dir() else path
    script, device = load_script(Path(path), str(path), options.device)
    if not hasattr(script, "cells_and_nuclei"):
        what = "The TorchScript is no model of InstanSeg"
        raise InputError(what, where=path, remedy=options.weights_from)
    wanted = [1, 1]
    if script.cells_and_nuclei:
        wanted = [1, 0] if options.target == "nuclei" else [0, 1]
    signature = Signature(
        runtime=f"torch {torch.__version__}",
        device=device,
        dimensions=2,
        labels=True,
        recipe=recipe_by_name(options.normalisation, options),
        pixel_size_um=float(script.pixel_size) or None,
    )
    arguments = {"target_segmentation": torch.tensor(wanted)}
    return TorchPredictor(script, str(path), Layout("bcyx"), signature, arguments)
