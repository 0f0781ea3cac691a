"""Models of Cellpose 4."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from pickle import UnpicklingError
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.models.predictor import Signature, choose_device
from parfocal.analysis.models.recipe import recipe_by_name
from parfocal.analysis.models.weights import single_file
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.model_options import CellposeModel

__all__ = ["load_cellpose"]

MOST_CHANNELS = 3
"""Cellpose leaves out those after the third."""

_NO_MODEL = (
    AttributeError,
    EOFError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    UnpicklingError,
    ValueError,
)
"""What Cellpose and PyTorch raise for other files."""


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
        # Cellpose drops axes of one pixel.
        found: NDArray[Any] = np.reshape(labels, (1, *tile.shape[1:]))
        return found


def load_cellpose(options: CellposeModel) -> _CellposePredictor:
    """Load the file of a model.

    Raises
    ------
    InputError
        If it is missing, or no model of Cellpose 4.
    ConfigurationError
        If the device is not there, or Cellpose cannot run this kind of model here or sees fewer
        channels.
    """
    path = single_file(options)
    if len(options.channels or ()) > MOST_CHANNELS:
        what = "Cellpose would see the first three channels only"
        found = len(options.channels or ())
        remedy = "Name three channels or fewer."
        raise ConfigurationError(
            what, where="model.channels", expected=MOST_CHANNELS, found=found, remedy=remedy
        )
    import cellpose.models
    import torch

    device = choose_device(options.device, gpu=torch.cuda.is_available())
    torch.set_num_threads(1)
    try:
        model = cellpose.models.CellposeModel(
            pretrained_model=str(path), device=torch.device(device), use_bfloat16=device != "cpu"
        )
        weights = torch.load(str(path), map_location="cpu", weights_only=True, mmap=True)
    except NameError as error:  # of a backbone that is imported if it is there
        what = f"Cellpose lacks what this kind of model needs: {error}"
        remedy = "Install it, or choose a model of the kind cpsam."
        raise ConfigurationError(what, where=path, remedy=remedy) from error
    except _NO_MODEL as error:
        what = (
            f"Cellpose cannot load the model: {(str(error).strip() or 'it ends').splitlines()[0]}"
        )
        raise InputError(what, where=path, remedy=options.weights_from) from error
    _require_all(model.net.state_dict(), weights, path)
    signature = Signature(
        runtime=f"cellpose {version('cellpose')}, torch {torch.__version__}",
        device=device,
        dimensions=3 if options.volume else 2,
        labels=True,
        recipe=recipe_by_name(options.normalisation, options),
        padded=False,
    )
    return _CellposePredictor(model, options, signature)


def _require_all(wanted: Collection[str], weights: Collection[str], path: Path) -> None:
    """Refuse a file without some of the weights, which Cellpose would replace by random ones."""
    found = {name.removeprefix("module.") for name in weights}
    missing = [name for name in wanted if name not in found]
    if missing:
        what = f"The file lacks weights of the model, such as {missing[0]}"
        raise InputError(
            what,
            where=path,
            expected=len(wanted),
            found=len(wanted) - len(missing),
            remedy=CellposeModel.weights_from,
        )
