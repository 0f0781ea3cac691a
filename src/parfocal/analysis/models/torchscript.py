"""Networks in TorchScript files, run by PyTorch on one thread a tile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.models.predictor import Layout, Signature, choose_device, refuse
from parfocal.analysis.models.recipe import recipe_by_name
from parfocal.analysis.models.weights import single_file
from parfocal.errors import InputError
from parfocal.models.model_options import TorchscriptModel

__all__ = ["TorchPredictor", "load_script", "load_torchscript"]


@dataclass(frozen=True)
class TorchPredictor:
    """A network with its axes.

    Attributes
    ----------
    script : torch.jit.ScriptModule
        What runs.
    source : str
        Its name, for errors.
    layout : Layout
        Its axes.
    signature : Signature
        What it states.
    arguments : mapping
        What it is called with besides the tile.
    """

    script: Any
    source: str
    layout: Layout
    signature: Signature
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def predict(self, tile: NDArray[np.float32]) -> NDArray[Any]:
        """Return what the network gives for a tile (C, Z, Y, X)."""
        import torch

        batch = torch.from_numpy(self.layout.to_network(tile)).to(self.signature.device)
        try:
            with torch.inference_mode():
                output = self.script(batch, **self.arguments)
        except (RuntimeError, torch.jit.Error) as error:
            what = f"The model does not take a tile: {str(error).strip().splitlines()[-1]}"
            remedy = "Set tile_px, tile_planes and channels to what the model was made for."
            found = tuple(batch.shape)
            raise InputError(what, where=self.source, found=found, remedy=remedy) from error
        if isinstance(output, tuple | list):
            output = output[0]
        if not isinstance(output, torch.Tensor):
            what = "The model gives no array"
            raise refuse(what, "a tensor", type(output).__name__)
        z, y, x = tile.shape[1:]
        return self.layout.from_network(output.cpu().numpy(), (z, y, x))


def load_script(source: Path | bytes, name: str, device: str) -> tuple[Any, str]:
    """Load a TorchScript file, and return it with the device that it is on.

    Raises
    ------
    InputError
        If it is damaged, or no TorchScript.
    ConfigurationError
        If the device is not there.
    """
    import torch

    chosen = choose_device(device, gpu=torch.cuda.is_available())
    torch.set_num_threads(1)
    file = BytesIO(source) if isinstance(source, bytes) else str(source)
    try:
        script = torch.jit.load(file, map_location=chosen)
    except (RuntimeError, ValueError) as error:
        what = f"The file is no TorchScript: {str(error).strip().splitlines()[0]}"
        raise InputError(what, where=name, remedy=TorchscriptModel.weights_from) from error
    return script.eval(), chosen


def load_torchscript(options: TorchscriptModel) -> TorchPredictor:
    """Load a TorchScript file.

    Raises
    ------
    InputError
        If it is missing or damaged.
    """
    import torch

    path = single_file(options)
    script, device = load_script(path, str(path), options.device)
    signature = Signature(
        runtime=f"torch {torch.__version__}",
        device=device,
        dimensions=options.dimensions,
        labels=options.output == "labels",
        recipe=recipe_by_name(options.normalisation, options),
        activation=options.activation,
    )
    return TorchPredictor(
        script, str(path), Layout("bcyx" if options.dimensions == 2 else "bczyx"), signature
    )
