"""Models of Cellpose 4."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import version
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.models.predictor import Signature, choose_device
from parfocal.analysis.models.recipe import recipe_by_name
from parfocal.analysis.models.weights import single_file
from parfocal.errors import InputError
from parfocal.models.model_options import CellposeModel

__all__ = ["load_cellpose"]


@dataclass(frozen=True)
class _CellposePredictor:
    """A model; it runs one tile at a time."""

    model: Any
    options: CellposeModel
    signature: Signature
    lock: Any = field(default_factory=Lock)

    def predict(self, tile: NDArray[np.float32]) -> NDArray[Any]:
        """Return the labels (1, Z, Y, X) of a tile (C, Z, Y, X)."""
        chosen = self.options
        with self.lock:
            labels, _, _ = self.model.eval(
                tile if chosen.volume else tile[:, 0],
                channel_axis=0,
                z_axis=1 if chosen.volume else None,
                do_3D=chosen.volume,
                normalize=False,  # is done already, alike for all tiles
                diameter=chosen.diameter_px,
                flow_threshold=chosen.flow_threshold,
                cellprob_threshold=chosen.cellprob_threshold,
                min_size=-1,  # sizes are limited by the step
                max_size_fraction=1.0,  # of a tile, which says nothing
            )
        found: NDArray[Any] = labels[None] if chosen.volume else labels[None, None]
        return found


def load_cellpose(options: CellposeModel) -> _CellposePredictor:
    """Load the file of a model.

    Raises
    ------
    InputError
        If it is missing, or no model of Cellpose 4.
    ConfigurationError
        If the device is not there.
    """
    path = single_file(options)
    import cellpose.models
    import torch

    device = choose_device(options.device, gpu=torch.cuda.is_available())
    torch.set_num_threads(1)
    try:
        model = cellpose.models.CellposeModel(
            pretrained_model=str(path), device=torch.device(device), use_bfloat16=device != "cpu"
        )
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        what = f"Cellpose cannot load the model: {str(error).strip().splitlines()[0]}"
        raise InputError(what, where=path, remedy=options.weights_from) from error
    signature = Signature(
        runtime=f"cellpose {version('cellpose')}, torch {torch.__version__}",
        device=device,
        dimensions=3 if options.volume else 2,
        labels=True,
        recipe=recipe_by_name(options.normalisation, options),
        padded=False,
    )
    return _CellposePredictor(model, options, signature)
