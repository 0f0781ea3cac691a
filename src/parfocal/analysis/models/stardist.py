"""Models of StarDist, in planes or volumes."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.models.predictor import Signature, choose_device
from parfocal.analysis.models.recipe import recipe_by_name
from parfocal.analysis.models.weights import check_path
from parfocal.errors import ConfigurationError, InputError
from parfocal.models.model_options import StardistModel

__all__ = ["load_stardist"]

_WEIGHTS = (".h5", ".hdf5")
_DEVICES = {"cpu": "/CPU:0", "cuda": "/GPU:0"}


@dataclass(frozen=True)
class _StardistPredictor:
    """A model; TensorFlow runs one tile at a time."""

    model: Any
    options: StardistModel
    signature: Signature
    lock: Any = field(default_factory=Lock)

    def predict(self, tile: NDArray[np.float32]) -> NDArray[Any]:
        """Return the labels (1, Z, Y, X) of a tile (C, Z, Y, X)."""
        planar = self.signature.dimensions == 2
        pixels = np.moveaxis(tile[:, 0] if planar else tile, 0, -1)
        with self.lock, _on(self.signature.device):
            labels, _ = self.model.predict_instances(
                pixels,
                axes="YXC" if planar else "ZYXC",
                prob_thresh=self.options.probability_threshold,
                nms_thresh=self.options.overlap_threshold,
                show_tile_progress=False,
            )
        found: NDArray[Any] = labels[None, None] if planar else labels[None]
        return found


def _on(device: str) -> contextlib.AbstractContextManager[None]:
    """Let TensorFlow work on a device; it takes any GPU that is there by itself."""
    import tensorflow as tf

    context: contextlib.AbstractContextManager[None] = tf.device(_DEVICES[device])
    return context


def load_stardist(options: StardistModel) -> _StardistPredictor:
    """Load the folder of a model.

    Raises
    ------
    InputError
        If it is missing, or no model of StarDist.
    ConfigurationError
        If the device is not there, or TensorFlow was used before on several threads.
    """
    path = check_path(options)
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        dimensions, channels = int(config["n_dim"]), int(config["n_channel_in"])
    except (OSError, ValueError, KeyError) as error:
        what = "The folder is no model of StarDist"
        expected = "config.json with n_dim and n_channel_in"
        raise InputError(
            what, where=path, expected=expected, remedy=options.weights_from
        ) from error
    if not any(one.suffix in _WEIGHTS for one in path.iterdir()):
        # With none StarDist would take random ones.
        what = "The folder holds no weights"
        raise InputError(
            what,
            where=path,
            expected=f"a file {' or '.join(_WEIGHTS)}",
            remedy=options.weights_from,
        )
    import stardist.models
    import tensorflow as tf

    threading = tf.config.threading
    if threading.get_intra_op_parallelism_threads() != 1:  # can be set once only
        try:
            threading.set_intra_op_parallelism_threads(1)
            threading.set_inter_op_parallelism_threads(1)
        except RuntimeError as error:
            what = "TensorFlow was used in this process before, on several threads"
            remedy = "Set tf.config.threading to 1 thread first, or use the parfocal command."
            raise ConfigurationError(what, where="model", remedy=remedy) from error
    device = choose_device(options.device, gpu=bool(tf.config.list_physical_devices("GPU")))
    kind = stardist.models.StarDist2D if dimensions == 2 else stardist.models.StarDist3D
    try:
        with contextlib.redirect_stdout(sys.stderr), _on(device):  # it tells of its loading
            model = kind(None, name=path.name, basedir=str(path.parent))
    except (OSError, ValueError, FileNotFoundError) as error:
        what = f"StarDist cannot load the model: {error}"
        raise InputError(what, where=path, remedy=options.weights_from) from error
    signature = Signature(
        runtime=f"stardist {stardist.__version__}, tensorflow {tf.__version__}",
        device=device,
        dimensions=dimensions,
        labels=True,
        recipe=recipe_by_name(options.normalisation, options),
        channels=channels,
        padded=False,
    )
    return _StardistPredictor(model, options, signature)
