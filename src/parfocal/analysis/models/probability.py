"""Predict the probability of foreground of a whole image, tile by tile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.block_grid import BlockGrid
from parfocal.analysis.models.loading import ModelHandle
from parfocal.analysis.models.predictor import Activation, refuse
from parfocal.analysis.models.tiles import Tiles, View
from parfocal.core.blocks import Region, Writable, region_shape, whole
from parfocal.core.scheduler import Scheduler
from parfocal.models.model_options import NetworkModel

__all__ = ["predict_probability", "to_probability"]

_SLACK = 1e-3
"""How far a probability may lie beyond 0 and 1, by rounding."""


def predict_probability(
    handle: ModelHandle,
    view: View,
    tiles: Tiles,
    target: Writable,
    *,
    scheduler: Scheduler,
    progress: Callable[[int, int], None],
) -> None:
    """Write the probability of foreground.

    Parameters
    ----------
    handle : ModelHandle
        The model, a `NetworkModel`.
    view : View
        What it sees.
    tiles : Tiles
        How the image is divided.
    target : Writable
        (T, 1, Z, Y, X) float32; NaN where a channel has no value.
    scheduler : Scheduler
        Where tiles are worked on.
    progress : callable
        Called as ``progress(done, total)`` in tiles.

    Raises
    ------
    InputError
        If the model does not take a tile, or gives no probabilities.
    """
    regions = BlockGrid(whole(target.shape5), (1, 1, *tiles.core))
    work = _Tile(handle, view, tiles, target)
    for done, _ in enumerate(scheduler.map(work, regions), 1):
        progress(done, len(regions))


@dataclass(frozen=True)
class _Tile:
    """Called with the block of a tile, it writes the probability there."""

    handle: ModelHandle
    view: View
    tiles: Tiles
    target: Writable

    def __call__(self, region: Region) -> None:
        predictor = self.handle.predictor()
        options = self.handle.options
        if not isinstance(options, NetworkModel):
            msg = f"{options.method} gives no probability"
            raise TypeError(msg)
        halo = self.tiles.halo
        start = [part.start - margin for part, margin in zip(region[2:], halo, strict=True)]
        seen = self.view.read(region[0].start, start, self.tiles.tile)
        output = predictor.predict(seen)
        probability = to_probability(output, options, predictor.signature.activation)
        z, y, x = (
            slice(margin, margin + size)
            for margin, size in zip(halo, region_shape(region)[2:], strict=True)
        )
        block = np.ascontiguousarray(probability[z, y, x])[None, None]
        block[np.isnan(self._values(region))] = np.nan
        self.target.write(region, block)

    def _values(self, region: Region) -> NDArray[Any]:
        """Return the sum over channels, which is NaN where one has no value."""
        source = self.view.source
        if source.dtype.kind != "f":
            return np.zeros(1)
        t, _, z, y, x = region
        values = np.zeros(region_shape(region))
        for channel in self.view.channels:
            block = source.read((t, slice(channel, channel + 1), z, y, x))
            values[~np.isfinite(block)] = np.nan
        return values


def to_probability(
    output: NDArray[Any], options: NetworkModel, activation: Activation
) -> NDArray[np.float32]:
    """Turn the output of a network into the probability of being inside an object.

    Parameters
    ----------
    output : (K, Z, Y, X)
        What it gives.
    options : NetworkModel
        Which channel is what.
    activation : str
        What turns it into probabilities.

    Returns
    -------
    (Z, Y, X) float32
        From 0 to 1; with a boundary, foreground times what is not boundary.

    Raises
    ------
    InputError
        If there is no such channel, or the values are no probabilities.
    """
    wanted = [options.foreground_channel]
    if options.boundary_channel is not None:
        wanted.append(options.boundary_channel)
    if max(wanted) >= len(output):
        what = "The model's output has no such channel"
        remedy = "Set foreground_channel and boundary_channel, which count from 0."
        raise refuse(what, f"less than {len(output)}", max(wanted), remedy)
    values = output.astype(np.float32)
    if activation == "softmax":
        values -= values.max(axis=0)
        np.exp(values, out=values)
        values /= values.sum(axis=0)
    chosen = values[wanted]
    if activation == "sigmoid":
        chosen = np.reciprocal(1 + np.exp(-np.clip(chosen, -80, 80)))
    low, high = float(chosen.min()), float(chosen.max())
    if not -_SLACK <= low <= high <= 1 + _SLACK:
        what = "The model's output is no probability"
        remedy = "Set activation to sigmoid or softmax, or output to labels."
        raise refuse(what, "values from 0 to 1", f"{low:.6g} to {high:.6g}", remedy)
    np.clip(chosen, 0, 1, out=chosen)
    result: NDArray[np.float32] = chosen[0]
    return result if len(wanted) == 1 else result * (1 - chosen[1])
