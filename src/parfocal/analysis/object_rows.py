"""From exact sums to the columns of a table: each number is rounded in one fixed way."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.analysis.exact import ratio, root_ratio, total_of
from parfocal.analysis.groups import Totals
from parfocal.analysis.shape import (
    axis_lengths,
    crofton_weights,
    eccentricity,
    elongation,
    equivalent_diameter,
    orientation_deg,
)
from parfocal.core.blocks import Shape

__all__ = ["Spacing", "geometry_columns", "intensity_columns"]

Arrays = dict[str, NDArray[Any]]
Floats = NDArray[np.float64]
Spacing = tuple[float | None, float | None, float | None]
"""Distance of pixels along Z, Y, X in micrometres; None where unknown."""

_AXIS_NAMES = {2: ("major_axis", "minor_axis"), 3: ("major_axis", "middle_axis", "minor_axis")}


def geometry_columns(totals: Totals, spacing_um: Spacing, shape: Shape) -> Arrays:
    """Return size, position and shape of each object.

    Parameters
    ----------
    totals : Totals
        Of all blocks of one time point; see `block_part` for the keys.
    spacing_um : tuple of float or None
        Distance of pixels along Z, Y, X in micrometres.
    shape : (T, 1, Z, Y, X)
        Size of the label image; objects are 2D where it has one plane.

    Returns
    -------
    dict of str to (N,) array
        In pixels (as if all distances were 1) and micrometres; NaN where unknown.
    """
    dimensions = 3 if shape[2] > 1 else 2
    axes = "zyx"[-dimensions:]
    known = tuple(size for size in spacing_um[-dimensions:] if size is not None)
    moments = _moments(totals, axes)
    columns = _position_columns(totals, spacing_um, shape, dimensions)
    columns |= _unit_columns(totals, moments, (1.0,) * dimensions, "px")
    if len(known) == dimensions:
        columns |= _unit_columns(totals, moments, known, "um")
    else:
        empty = np.full(totals.ids.size, np.nan)
        columns |= dict.fromkeys(_um_names(columns, dimensions), empty)
    scale = np.array(known if len(known) == dimensions else (1.0,) * dimensions)
    moments = moments * np.outer(scale, scale)
    lengths = axis_lengths(moments)
    columns["elongation"] = elongation(lengths)
    if dimensions == 2:
        columns["eccentricity"] = eccentricity(lengths)
        columns["orientation_deg"] = orientation_deg(moments)
    return columns


def _um_names(columns: Arrays, dimensions: int) -> list[str]:
    """Return the names of micrometre columns that stand beside those in pixels."""
    units = {"area_px": "area_um2", "volume_px": "volume_um3"}
    units |= {"surface_area_px": "surface_area_um2"}
    lengths = ["equivalent_diameter", "perimeter", *_AXIS_NAMES[dimensions]]
    units |= {f"{name}_px": f"{name}_um" for name in lengths}
    return [units[name] for name in columns if name in units]


def _floats(values: NDArray[np.object_]) -> Floats:
    return values.astype(np.float64)


def _moments(totals: Totals, axes: str) -> Floats:
    """Return the covariance matrices (N, D, D) of the coordinates, in pixels."""
    n = totals.exact(("n",))
    result = np.empty((n.size, len(axes), len(axes)))
    for first, second in itertools.combinations_with_replacement(range(len(axes)), 2):
        one, other = axes[first], axes[second]
        product = totals.exact((one, other)) * n - totals.exact((one,)) * totals.exact((other,))
        result[:, first, second] = result[:, second, first] = _floats(product / (n * n))
    return result


def _position_columns(totals: Totals, spacing_um: Spacing, shape: Shape, dimensions: int) -> Arrays:
    n = totals.exact(("n",))
    columns: Arrays = {"area_px" if dimensions == 2 else "volume_px": n.astype(np.int64)}
    box = np.ones(n.size, np.int64)
    border = np.zeros(n.size, bool)
    for axis, step, size in zip("zyx", spacing_um, shape[2:], strict=True):
        mean = _floats(totals.exact((axis,)) / n)
        columns[f"centroid_{axis}_px"] = mean
        columns[f"centroid_{axis}_um"] = mean * (np.nan if step is None else step)
        empty = np.zeros(0, np.int64)
        first = totals.minima.get((axis,), empty)
        end = totals.maxima.get((axis,), empty) + 1
        columns[f"bbox_{axis}0"], columns[f"bbox_{axis}1"] = first, end
        box = box * (end - first)
        if axis != "z" or dimensions == 3:
            border |= (first == 0) | (end == size)
    columns["extent"] = n.astype(np.float64) / box
    columns["touches_border"] = border
    return columns


def _unit_columns(totals: Totals, moments: Floats, spacing: tuple[float, ...], unit: str) -> Arrays:
    dimensions = len(spacing)
    n = _floats(totals.exact(("n",)))
    size = n * math.prod(spacing)
    lengths = axis_lengths(moments * np.outer(spacing, spacing))
    columns: Arrays = {f"equivalent_diameter_{unit}": equivalent_diameter(size, dimensions)}
    for number, name in enumerate(_AXIS_NAMES[dimensions]):
        columns[f"{name}_{unit}"] = lengths[:, number]
    crofton = _crofton(totals, crofton_weights(spacing))
    if dimensions == 2:
        columns[f"perimeter_{unit}"] = crofton
    else:
        columns["surface_area_px" if unit == "px" else "surface_area_um2"] = crofton
    if unit == "um":
        columns["area_um2" if dimensions == 2 else "volume_um3"] = size
    return columns


def _crofton(totals: Totals, weights: Sequence[float]) -> Floats:
    result = np.zeros(totals.ids.size)
    for number, weight in enumerate(weights):
        result = result + _floats(totals.exact(("cut", number))) * weight
    return result


def intensity_columns(totals: Totals, channel: int, dtype: np.dtype[Any]) -> Arrays:
    """Return mean, std, min, max and sum of one channel in each object.

    Parameters
    ----------
    totals : Totals
        Of all blocks of one time point; see `block_part` for the keys.
    channel : int
        Index of the channel.
    dtype : dtype
        Type of the pixels.

    Returns
    -------
    dict of str to (N,) array
        ``min`` and ``max`` are integers where the pixels are; ``sum`` where they have at most 16
        bits. NaN where an object has no finite pixel.
    """
    objects = totals.ids.size
    counts = totals.exact(("n",)) - totals.exact(("skipped", channel))
    sums = _joined(totals, "sum", channel)
    squares = _joined(totals, "square", channel)
    mean, std, total = (np.full(objects, np.nan) for _ in range(3))
    for row in range(objects):
        if count := counts[row]:
            # Both have the same lowest limb, so that the square's exponent is twice the sum's.
            (one, exponent), (two, _) = sums[row], squares[row]
            total[row] = ratio(one, 1, exponent)
            mean[row] = ratio(one, count, exponent)
            std[row] = root_ratio(two * count - one * one, count * count, 2 * exponent)
    columns: Arrays = {"mean": mean, "std": std}
    columns["min"] = _extreme(totals.minima, channel, dtype, counts)
    columns["max"] = _extreme(totals.maxima, channel, dtype, counts)
    narrow = dtype.kind != "f" and dtype.itemsize <= 2
    exact_sums = np.array([one << exponent for one, exponent in sums] if narrow else [], np.int64)
    columns["sum"] = exact_sums if narrow else total
    return columns


def _joined(totals: Totals, name: str, channel: int) -> list[tuple[int, int]]:
    """Return the exact sum of each object as ``(total, exponent)``."""
    limbs = {
        key[2]: totals.exact(key)
        for key in totals.sum_keys()
        if isinstance(key, tuple) and key[:2] == (name, channel)
    }
    return [
        total_of({position: values[row] for position, values in limbs.items()})
        for row in range(totals.ids.size)
    ]


def _extreme(
    extremes: dict[Any, NDArray[Any]],
    channel: int,
    dtype: np.dtype[Any],
    counts: NDArray[np.object_],
) -> NDArray[Any]:
    values = extremes.get(("value", channel), np.zeros(0, dtype))
    if dtype.kind != "f":
        return values.astype(np.uint64 if dtype == np.uint64 else np.int64)
    return np.where(counts.astype(np.int64) > 0, values.astype(np.float64), np.nan)
