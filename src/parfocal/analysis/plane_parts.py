"""What one block says of the quality of a plane: exact sums and a histogram."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.elementary import sine
from parfocal.analysis.exact import Integers, Limbs, limbs, square_limbs
from parfocal.analysis.ranks import first_digits, order_keys

__all__ = ["PlanePart", "plane_part", "tile_size", "usable"]

_LARGEST_TILE = 128
_SMALLEST_TILE = 16


@dataclass
class PlanePart:
    """Exact sums over some pixels; parts are joined in any order.

    Attributes
    ----------
    sums : dict of key to int
        ``"n"`` finite pixels, ``"skipped"`` others, ``"saturated"``; ``("value", limb)`` their
        sum; ``"laplacian_n"``, ``("laplacian", limb)``, ``("laplacian_square", limb)``;
        ``("noise", limb)``; ``("power", bin, limb)``.
    histogram : (2**16,) or (2**8,) int64
        Of the first bits of the pixels.
    extremes : list of number
        Least and greatest value, or nothing.
    """

    sums: dict[Hashable, int]
    histogram: Integers
    extremes: list[float | int] = field(default_factory=list)

    def add(self, other: PlanePart) -> None:
        """Join `other` to this part."""
        for key, value in other.sums.items():
            self.sums[key] = self.sums.get(key, 0) + value
        self.histogram = self.histogram + other.histogram
        both = self.extremes + other.extremes
        self.extremes = [min(both), max(both)] if both else []

    def limbs_of(self, *name: Hashable) -> dict[int, int]:
        """Return the sums of limbs that are kept under `name`."""
        return {
            key[-1]: value
            for key, value in self.sums.items()
            if isinstance(key, tuple) and key[:-1] == name
        }


def tile_size(height: int, width: int) -> int:
    """Return the side of the tiles for power spectra: a power of two up to 128, or 0."""
    side = min(height, width, _LARGEST_TILE)
    return 1 << (side.bit_length() - 1) if side >= _SMALLEST_TILE else 0


def usable(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return the pixels (N,) that are finite."""
    flat = pixels.ravel()
    return flat[np.isfinite(flat)] if flat.dtype.kind == "f" else flat


def plane_part(
    padded: NDArray[Any], inner: tuple[slice, slice], tile: int, saturation: float | None
) -> PlanePart:
    """Assess one block of a plane.

    Parameters
    ----------
    padded : (Y, X) bool, integer or float
        The block with one more pixel on each side where the plane has one.
    inner : tuple of slice
        Where the block lies in it.
    tile : int
        Side of the tiles for power spectra, which start at the block's corner; 0 for none.
    saturation : float, int or None
        Pixels of at least this value are saturated.
    """
    block = padded[inner]
    values = usable(block)
    sums: dict[Hashable, int] = {"n": values.size, "skipped": block.size - values.size}
    if saturation is not None:
        sums["saturated"] = int(np.count_nonzero(values >= saturation))
    _put(sums, "value", limbs(values))
    _put_filters(sums, _wide(padded))
    if tile:
        _put_power(sums, block, tile)
    extremes = [values.min().item(), values.max().item()] if values.size else []
    return PlanePart(sums, first_digits(order_keys(values)), extremes)


def _put(sums: dict[Hashable, int], name: str, parts: Limbs) -> None:
    for position, limb in parts.items():
        sums[name, position] = int(limb.sum())


def _wide(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return pixels in a type that holds 16 times their values; 64-bit integers are rounded."""
    if pixels.dtype.kind == "f" or pixels.dtype.itemsize > 4:
        return pixels.astype(np.float64)
    return pixels.astype(np.int32 if pixels.dtype.itemsize <= 2 else np.int64)


def _put_filters(sums: dict[Hashable, int], pixels: NDArray[Any]) -> None:
    """Add the Laplacian and the noise filter of all pixels that have 8 neighbours."""
    if min(pixels.shape) < 3:
        return
    with np.errstate(invalid="ignore", over="ignore"):
        down = pixels[2:] - 2 * pixels[1:-1] + pixels[:-2]
        noise = np.abs(_second_difference(down))
        laplacian = _second_difference(pixels[1:-1]) + down[:, 1:-1]
    if pixels.dtype.kind == "f":
        finite = np.isfinite(noise) & np.isfinite(laplacian)
        noise, laplacian = noise[finite], laplacian[finite]
    sums["laplacian_n"] = laplacian.size
    parts = limbs(laplacian.ravel())
    _put(sums, "laplacian", parts)
    _put(sums, "laplacian_square", square_limbs(parts))
    _put(sums, "noise", limbs(noise.ravel()))


def _second_difference(pixels: NDArray[Any]) -> NDArray[Any]:
    difference: NDArray[Any] = pixels[:, 2:] - 2 * pixels[:, 1:-1] + pixels[:, :-2]
    return difference


@lru_cache(maxsize=4)
def _spectrum_grid(tile: int) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.float64]]:
    """Return the Hann window, the ring of each frequency, and its weight."""
    across = np.arange(tile // 2 + 1)
    down = np.minimum(np.arange(tile), tile - np.arange(tile))
    rise = sine(math.pi * down / tile) ** 2
    ring = np.rint(np.sqrt(down[:, None] ** 2 + across[None, :] ** 2)).astype(np.intp)
    weight = np.where((across == 0) | (across == tile // 2), 1.0, 2.0)
    counts = np.bincount(ring.ravel(), np.broadcast_to(weight, ring.shape).ravel())
    return np.outer(rise, rise), ring.ravel(), (weight / counts[ring]).ravel()


def _put_power(sums: dict[Hashable, int], block: NDArray[Any], tile: int) -> None:
    """Add the mean power of each ring of frequencies over whole tiles without NaN."""
    window, rings, weights = _spectrum_grid(tile)
    rows, columns = (size // tile for size in block.shape)
    spectra = []
    for row in range(rows):
        for column in range(columns):
            part = block[row * tile : (row + 1) * tile, column * tile : (column + 1) * tile]
            if part.dtype.kind == "f" and not np.isfinite(part).all():
                continue
            spectrum = np.fft.rfft2(part * window).ravel()
            power = spectrum.real**2 + spectrum.imag**2
            spectra.append(np.bincount(rings, power * weights)[2 : tile // 2 + 1])
    if not spectra:
        return
    for position, limb in limbs(np.concatenate(spectra)).items():
        for ring, total in enumerate(limb.reshape(len(spectra), -1).sum(axis=0), start=2):
            sums["power", ring, position] = int(total)
