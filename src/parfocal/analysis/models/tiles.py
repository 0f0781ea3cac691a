"""How an image is divided for a model, and what the model sees of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.models.predictor import Signature, Sizes
from parfocal.analysis.models.recipe import Affine
from parfocal.core.blocks import Readable, Shape
from parfocal.errors import ConfigurationError
from parfocal.models.model_options import LearnedModel

__all__ = ["Tiles", "View", "plan_tiles"]

_TILE = {2: (1, 512, 512), 3: (32, 256, 256)}
_HALO = {2: (0, 64, 64), 3: (8, 32, 32)}
_STRIDE = 32
"""By which the sides of most networks can be divided."""


@dataclass(frozen=True)
class Tiles:
    """Sizes of tiles.

    Attributes
    ----------
    tile : (Z, Y, X)
        What the model sees.
    halo : (Z, Y, X)
        Its margin on each side.
    """

    tile: Sizes
    halo: Sizes

    @property
    def core(self) -> Sizes:
        """The block that a tile owns."""
        z, y, x = (tile - 2 * halo for tile, halo in zip(self.tile, self.halo, strict=True))
        return z, y, x


def plan_tiles(options: LearnedModel, signature: Signature, shape: Shape) -> Tiles:
    """Choose tiles by what the user, else the model, else a default says.

    Parameters
    ----------
    options : LearnedModel
        What the user says.
    signature : Signature
        What the model says.
    shape : (T, C, Z, Y, X)
        Size of the image, of which default tiles need not be larger.

    Raises
    ------
    ConfigurationError
        If the model does not take such tiles, or a block is smaller than its halo.
    """
    planar = signature.dimensions == 2
    tiles, halos = [], []
    for place, axis in enumerate("zyx"):
        if planar and axis == "z":
            tile, halo = 1, 0
        else:
            asked = options.tile_planes if axis == "z" else options.tile_px
            margin = options.halo_planes if axis == "z" else options.halo_px
            fixed = signature.fixed[place]
            halo = _halo(margin, signature, place)
            tile = asked or fixed or _default(signature, place, halo, shape[place + 2])
            _check(tile, halo, signature, place)
        tiles.append(tile)
        halos.append(halo)
    (tz, ty, tx), (hz, hy, hx) = tiles, halos
    return Tiles((tz, ty, tx), (hz, hy, hx))


def _halo(asked: int | None, signature: Signature, place: int) -> int:
    if asked is not None:
        return asked
    default = _HALO[signature.dimensions][place]
    stated = signature.halo[place] if signature.halo else 0
    fixed = signature.fixed[place]
    return stated or (default if fixed is None else min(default, fixed // 4))


def _default(signature: Signature, place: int, halo: int, size: int) -> int:
    """Return the default tile, or a smaller one that holds the image with its margins."""
    stride = _STRIDE if place else 1
    wanted = max(_TILE[signature.dimensions][place], 4 * halo)
    if place:
        wanted = min(wanted, max(size, halo) + 2 * halo)
    step, least = signature.step[place], signature.least[place]
    if step > 1:
        return least + max(0, -(-(wanted - least) // step)) * step
    return max(least, -(-wanted // stride) * stride)


def _check(tile: int, halo: int, signature: Signature, place: int) -> None:
    name, margin = ("tile_planes", "halo_planes") if place == 0 else ("tile_px", "halo_px")
    fixed, least, step = (
        signature.fixed[place],
        signature.least[place],
        signature.step[place],
    )
    if tile - 2 * halo < max(1, halo):
        what = "The block of a tile is smaller than its halo"
        raise ConfigurationError(
            what,
            where=f"model.{name}, model.{margin}",
            expected=f"{name} of at least 3 x {margin}",
            found=f"{name} {tile}, {margin} {halo}",
            remedy=f"Choose a larger {name} or a smaller {margin}.",
        )
    if fixed is not None and tile != fixed:
        what = "The model takes tiles of one size only"
        remedy = f"Leave out {name}, or set it to {fixed}."
        raise ConfigurationError(
            what, where=f"model.{name}", expected=fixed, found=tile, remedy=remedy
        )
    if tile < least or (tile - least) % step:
        nearest = least + max(0, round((tile - least) / step)) * step
        what = "The model does not take tiles of this size"
        raise ConfigurationError(
            what,
            where=f"model.{name}",
            expected=f"{least} plus a multiple of {step}",
            found=tile,
            remedy=f"Set {name} to {nearest}.",
        )


@dataclass(frozen=True)
class View:
    """The channels of one image, as a model sees them.

    Attributes
    ----------
    source : Readable
        The image.
    channels : tuple of int
        Which channels, in the model's order.
    affine : Affine
        How they are normalised.
    """

    source: Readable
    channels: tuple[int, ...]
    affine: Affine

    def read(self, time: int, start: Sequence[int], size: Sizes) -> NDArray[np.float32]:
        """Return a tile (C, Z, Y, X), mirrored where it leaves the image.

        Parameters
        ----------
        time : int
            Time point.
        start : (Z, Y, X)
            Its first pixel, which may lie before the image's.
        size : (Z, Y, X)
            Its size; some of it lies in the image.
        """
        ends = [first + length for first, length in zip(start, size, strict=True)]
        shape = self.source.shape5[2:]
        z, y, x = (
            slice(max(0, first), min(end, whole))
            for first, end, whole in zip(start, ends, shape, strict=True)
        )
        t = slice(time, time + 1)
        blocks = [
            self.source.read((t, slice(channel, channel + 1), z, y, x))[0, 0]
            for channel in self.channels
        ]
        beyond = [
            (part.start - first, end - part.stop)
            for part, first, end in zip((z, y, x), start, ends, strict=True)
        ]
        tile = self.affine.apply(np.stack(blocks))
        return np.pad(tile, [(0, 0), *beyond], mode="symmetric") if any(map(any, beyond)) else tile
