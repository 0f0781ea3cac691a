"""What all runtimes of learned models have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.models.recipe import Recipe
from parfocal.errors import ConfigurationError, InputError

__all__ = ["Activation", "Layout", "Predictor", "Signature", "Sizes", "choose_device", "refuse"]

Sizes = tuple[int, int, int]
"""Pixels along Z, Y, X."""

Activation = Literal["none", "sigmoid", "softmax"]


@dataclass(frozen=True)
class Signature:
    """What a model states of itself, and how it runs.

    Attributes
    ----------
    runtime : str
        Library and version.
    device : str
        ``cpu`` or ``cuda``.
    dimensions : int
        2 if it sees planes, 3 if volumes.
    labels : bool
        Whether it gives labels instead of probabilities.
    channels : int or None
        How many it sees; None for any number, or where it does not say.
    fixed : (Z, Y, X) int or None
        The only size that it takes, along each axis; None for any.
    least, step : (Z, Y, X) int
        Other sizes are ``least`` plus multiples of ``step``.
    halo : (Z, Y, X) int or None
        The margin that it asks for.
    pixel_size_um : float or None
        Of the images that it was made for.
    recipe : Recipe
        How channels are normalised.
    activation : str
        What turns its output into probabilities.
    outputs : tuple of str
        Names of all that it gives, where it says so; the first is taken.
    padded : bool
        Whether it must see whole tiles, so that the image is mirrored at its border.
    """

    runtime: str
    device: str
    dimensions: int
    labels: bool
    recipe: Recipe
    channels: int | None = None
    fixed: tuple[int | None, int | None, int | None] = (None, None, None)
    least: Sizes = (1, 1, 1)
    step: Sizes = (1, 1, 1)
    halo: Sizes | None = None
    pixel_size_um: float | None = None
    activation: Activation = "none"
    outputs: tuple[str, ...] = ()
    padded: bool = True


class Predictor(Protocol):
    """A model that is loaded; several threads may use it at once."""

    @property
    def signature(self) -> Signature:
        """What it states of itself."""

    def predict(self, tile: NDArray[np.float32]) -> NDArray[Any]:
        """Return what the model gives for a tile.

        Parameters
        ----------
        tile : (C, Z, Y, X) float32
            Normalised; Z is 1 for a model of planes.

        Returns
        -------
        (K, Z, Y, X)
            As many pixels as `tile`; labels have one channel.

        Raises
        ------
        InputError
            If the model does not take such a tile, or gives something else.
        """


@dataclass(frozen=True)
class Layout:
    """In which order a network takes and gives axes.

    Attributes
    ----------
    taken, given : str
        Some of the letters ``bczyx``; either may lack ``b``, ``c`` and ``z``.
    """

    taken: str
    given: str | None = None

    def to_network(self, tile: NDArray[Any]) -> NDArray[Any]:
        """Return a tile (C, Z, Y, X) as a batch of one in the network's order."""
        batch, axes = tile[None], "bczyx"
        for axis in set("bcz") - set(self.taken):
            batch, axes = batch.take(0, axes.index(axis)), axes.replace(axis, "")
        return np.ascontiguousarray(batch.transpose([axes.index(axis) for axis in self.taken]))

    def from_network(self, output: NDArray[Any], size: Sizes) -> NDArray[Any]:
        """Return an output as (K, Z, Y, X).

        Raises
        ------
        InputError
            If it has other axes or another size.
        """
        axes = self.given or self._axes_of(output.ndim)
        if len(axes) != output.ndim:
            what = "The model's output has other axes"
            raise refuse(what, len(axes), output.shape)
        for axis in "zcb":
            if axis not in axes:
                output, axes = output[None], axis + axes
        if output.shape[axes.index("b")] != 1:
            what = "The model gives several images for one"
            raise refuse(what, 1, output.shape)
        result: NDArray[Any] = output.transpose([axes.index(axis) for axis in "bczyx"])[0]
        if result.shape[1:] != size:
            what = "The model's output has another size than its input"
            raise refuse(what, size, result.shape)
        return result

    def _axes_of(self, number: int) -> str:
        """Return the axes of an output that has as many as the input, or lacks channels."""
        axes = self.taken
        for axis in "cb":
            if len(axes) > number:
                axes = axes.replace(axis, "")
        return axes


def refuse(what: str, expected: object, found: object, remedy: str | None = None) -> InputError:
    """Return the error for a model that does not do what its options say."""
    hint = remedy or "Export the model so that each pixel of the input has one of the output."
    return InputError(what, where="model", expected=expected, found=found, remedy=hint)


def choose_device(asked: str, *, gpu: bool) -> str:
    """Return ``cpu`` or ``cuda``.

    Raises
    ------
    ConfigurationError
        If a GPU is asked for that is not there.
    """
    if asked == "cuda" and not gpu:
        what = "The runtime of the model sees no GPU"
        remedy = "Install its variant for GPUs on a machine with one, or set device=cpu."
        raise ConfigurationError(what, where="model.device", found=asked, remedy=remedy)
    return "cuda" if gpu and asked != "cpu" else "cpu"
