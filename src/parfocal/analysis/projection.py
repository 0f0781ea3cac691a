"""Projections of images along Z or T that give the same pixels for any division into blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.plane_ranks import median_of
from parfocal.analysis.plane_sums import PlaneDeviation, PlaneSum, float_dtype, sum_dtype
from parfocal.analysis.stacks import Stack, plan_tile
from parfocal.core.blocks import Readable, Region, Shape, iter_blocks, region_shape
from parfocal.core.tally import Tally

__all__ = ["Method", "ProjectedSource", "projected_dtype"]

Method = Literal["max", "min", "mean", "sum", "std", "median"]

_AXES = {"T": 0, "Z": 2}


def projected_dtype(
    dtype: np.dtype[Any], method: Method, planes: int, *, as_float: bool
) -> np.dtype[Any]:
    """Return the data type of a projection.

    Parameters
    ----------
    dtype : dtype
        That of the image.
    method : str
        What is taken of each column.
    planes : int
        How many planes are projected.
    as_float : bool
        Whether means and medians are floats, instead of rounded to the type of the image.

    Returns
    -------
    dtype
        Of sums, a type that holds any sum of so many planes (64 bits at most); of deviations and
        as floats, float32, or float64 where float32 does not hold the pixels exactly.
    """
    if method == "sum":
        return sum_dtype(dtype, planes)
    return float_dtype(dtype) if method == "std" or as_float else dtype


@dataclass(frozen=True)
class ProjectedSource:
    """A projected image, computed where it is read.

    Parameters
    ----------
    source : Readable
        The image.
    axis : {"Z", "T"}
        The axis that is projected, and has size 1 in the result.
    planes : slice
        Which indices along it, with whole bounds and no step.
    method : str
        What is taken of each column of pixels.
    dtype : dtype
        Data type of the result; see `projected_dtype`.
    block5 : (T, C, Z, Y, X)
        The block of `source` that is cheap to read.
    tally : Tally
        Counts the results that are NaN or infinite.
    """

    source: Readable
    axis: Literal["Z", "T"]
    planes: slice
    method: Method
    dtype: np.dtype[Any]
    block5: Shape
    tally: Tally

    @property
    def shape5(self) -> Shape:
        """Size along T, C, Z, Y, X."""
        t, c, z, y, x = self.source.shape5
        return (1, c, z, y, x) if self.axis == "T" else (t, c, 1, y, x)

    def read(self, region: Region) -> NDArray[Any]:
        """Return the projected pixels of `region` (T, C, Z, Y, X).

        Raises
        ------
        InputError
            If a sum of 64-bit integers does not fit into 64 bits.
        """
        out = np.empty(region_shape(region), self.dtype)
        tile = plan_tile(self.block5, self.source.shape5, _AXES[self.axis])
        for part in iter_blocks(region, (1, 1, 1, *tile[3:])):
            t, c, z, y, x = (
                slice(inner.start - outer.start, inner.stop - outer.start)
                for inner, outer in zip(part, region, strict=True)
            )
            extent = list(part)
            extent[_AXES[self.axis]] = self.planes
            out[t, c, z, y, x] = self._project(Stack(self.source, _region(extent), tile))
        if self.dtype.kind == "f":
            self.tally.add(int(np.count_nonzero(~np.isfinite(out))))
        return out

    def _project(self, stack: Stack) -> NDArray[Any]:
        """Return what the method takes of each column (Y, X)."""
        if self.method == "median":
            return median_of(stack, self.dtype)
        if self.method in ("max", "min"):
            return _extreme(stack, np.maximum if self.method == "max" else np.minimum)
        if self.method == "std":
            spread = PlaneDeviation(stack.shape, stack.dtype)
            for plane in stack:
                spread.add(plane)
            return spread.deviation(self.dtype)
        planes = PlaneSum(stack.shape, stack.dtype)
        for plane in stack:
            planes.add(plane)
        return planes.total() if self.method == "sum" else planes.mean(self.dtype)


def _extreme(stack: Stack, choose: np.ufunc) -> NDArray[Any]:
    """Return the greatest or least pixel of each column; NaN where one of them is NaN."""
    planes = iter(stack)
    result: NDArray[Any] = next(planes).copy()
    for plane in planes:
        choose(result, plane, out=result)
    if result.dtype.kind == "f":
        # Which of 0 and -0, and which NaN is taken, would depend on the place in the block.
        result += result.dtype.type(0)
        result[np.isnan(result)] = np.nan
    return result


def _region(parts: list[slice]) -> Region:
    t, c, z, y, x = parts
    return t, c, z, y, x
