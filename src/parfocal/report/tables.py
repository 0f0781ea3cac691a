"""Distributions of measurements, read from the tables of objects column by column."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import InputError
from parfocal.report.content import Distribution

__all__ = [
    "Axis",
    "Column",
    "Joined",
    "Table",
    "choose_axis",
    "count_objects",
    "known_in_um",
    "own_axes",
    "read_table",
    "round_step",
    "select_columns",
]

SIZES = ("volume_um3", "area_um2", "volume_px", "area_px")
SHAPES = ("elongation",)
HIGHEST = {"elongation": 1.0}
"""What a measurement cannot exceed."""
INTENSITY = "intensity_mean_"
MOST_INTENSITIES = 4
FEWEST_BINS, MOST_BINS = 5, 30
SAMPLE = 100
SMALLEST_STEP = 1e-300


@dataclass(frozen=True)
class Column:
    """The key numbers of one column of one table.

    Parameters
    ----------
    values : int
        How many objects have a value; at least one.
    minimum, median, mean, maximum : float
        Of those.
    whole : bool
        Whether the column holds integers.
    sample : (n,) float64
        All values in rising order, or evenly spaced quantiles where they are many.
    """

    values: int
    minimum: float
    median: float
    mean: float
    maximum: float
    whole: bool
    sample: NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """What the report needs of one table of objects."""

    path: Path
    objects: int
    columns: dict[str, Column]


@dataclass(frozen=True)
class Axis:
    """The bins of one measurement.

    Parameters
    ----------
    first : int
        The first bin begins at this many steps from zero.
    step : float
        Width of each bin.
    bins : int
        How many there are.
    closed : bool
        Whether a value at the very end of the last bin belongs to it.
    """

    first: int
    step: float
    bins: int
    closed: bool = False

    @property
    def low(self) -> float:
        """Where the first bin begins."""
        return self.first * self.step


def read_table(path: Path) -> Table:
    """Read the key numbers of the columns that a report shows.

    Raises
    ------
    InputError
        If the file is not a Parquet table.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            names = select_columns(file.schema_arrow.names)
            found = {name: _summarise(_values(file, name)) for name in names}
            return Table(
                path=path,
                objects=file.metadata.num_rows,
                columns={name: column for name, column in found.items() if column},
            )
    except pa.ArrowException as error:
        what = "A table cannot be read"
        raise InputError(
            what,
            where=path,
            expected="a Parquet file",
            found=error,
            remedy="Restore the file, or remove it and run measure-objects again.",
        ) from error


def select_columns(names: Sequence[str]) -> list[str]:
    """Return which columns a report shows: sizes, shapes, and mean intensities."""
    intensities = [name for name in names if name.startswith(INTENSITY)]
    known = [name for name in (*SIZES, *SHAPES) if name in names]
    return known + intensities[:MOST_INTENSITIES]


def _values(file: Any, name: str) -> NDArray[Any]:
    """Return the finite values of one column."""
    values: NDArray[Any] = (
        file.read(columns=[name], use_threads=False).column(0).drop_null().to_numpy()
    )
    return values[np.isfinite(values)] if values.dtype.kind == "f" else values


def _summarise(values: NDArray[Any]) -> Column | None:
    if not values.size:
        return None
    rising = np.sort(values).astype(np.float64)
    sampled = min(rising.size, SAMPLE)
    places = (2 * np.arange(sampled) + 1) * rising.size // (2 * sampled)
    middle = (rising.size - 1) / 2
    return Column(
        values=rising.size,
        minimum=float(rising[0]),
        median=float(rising[math.floor(middle)] + rising[math.ceil(middle)]) / 2,
        mean=math.fsum(rising / rising.size),
        maximum=float(rising[-1]),
        whole=values.dtype.kind in "iu",
        sample=rising[places],
    )


def choose_axis(columns: Sequence[Column], name: str) -> Axis:
    """Choose bins at round numbers that hold nearly all objects of some images.

    The half percent of the objects at either end does not count, so that a few outliers
    do not squeeze all others into one bin.

    Parameters
    ----------
    columns : sequence of Column
        The same column of all tables; not empty.
    name : str
        Its name: no bin ends beyond what the measurement can reach.
    """
    samples = np.concatenate([column.sample for column in columns])
    weights = np.concatenate(
        [np.full(column.sample.size, column.values / column.sample.size) for column in columns]
    )
    order = np.argsort(samples, kind="stable")
    samples, share = samples[order], np.cumsum(weights[order])
    first, last = np.searchsorted(share, [0.005 * share[-1], 0.995 * share[-1]])
    low, high = float(samples[first]), float(samples[min(last, samples.size - 1)])
    width = (high - low) / _bins(sum(column.values for column in columns)) or abs(low) / 10
    step = round_step(width, whole=all(column.whole for column in columns))
    first_bin, end = math.floor(low / step), math.floor(high / step) + 1
    if name not in HIGHEST:
        return Axis(first_bin, step, end - first_bin)
    end = min(end, round(HIGHEST[name] / step))
    first_bin = min(first_bin, end - 1)
    return Axis(first_bin, step, end - first_bin, closed=True)


def _bins(objects: int) -> int:
    """Return how many bins suit a number of objects, by the rule of Rice: 2 n^(1/3)."""
    return min(MOST_BINS, max(FEWEST_BINS, math.ceil(2 * math.cbrt(objects))))


def round_step(width: float, *, whole: bool) -> float:
    """Return 1, 2, 2.5 or 5 times a power of ten: the first that is not much less than `width`.

    It is whole for whole numbers.
    """
    if width < (1 if whole else SMALLEST_STEP):
        return 1.0
    power = 10.0 ** math.floor(math.log10(width))
    factors = (1, 2, 5, 10) if whole and power < 10 else (1, 2, 2.5, 5, 10)
    return next((f * power for f in factors if f * power >= 0.75 * width), 10 * power)


def own_axes(table: Table) -> dict[str, Axis]:
    """Return bins that suit the objects of one table, for each of its columns."""
    return {name: choose_axis([column], name) for name, column in table.columns.items()}


def count_objects(table: Table, axes: dict[str, Axis]) -> list[Distribution]:
    """Count the objects of one table in the bins of `axes`, for each column that has one.

    Volumes and areas in pixels are left out where the same are known in micrometres.
    """
    from pyarrow import parquet

    distributions = []
    with parquet.ParquetFile(table.path) as file:
        for name, column in table.columns.items():
            if name not in axes or known_in_um(name, table):
                continue
            axis = axes[name]
            counts = _count(_values(file, name), axis)
            distributions.append(
                Distribution(
                    column=name,
                    low=axis.low,
                    step=axis.step,
                    counts=tuple(counts),
                    outside=column.values - sum(counts),
                    minimum=column.minimum,
                    mean=column.mean,
                    maximum=column.maximum,
                    median=column.median,
                )
            )
    return distributions


def known_in_um(name: str, table: Table) -> bool:
    """Return whether a column in pixels is there in micrometres too."""
    stem, _, unit = name.rpartition("_")
    return unit == "px" and any(f"{stem}_{um}" in table.columns for um in ("um", "um2", "um3"))


def _count(values: NDArray[Any], axis: Axis) -> list[int]:
    places = np.floor(values / axis.step) - axis.first
    if axis.closed:
        places[values == (axis.first + axis.bins) * axis.step] = axis.bins - 1
    inside = places[(places >= 0) & (places < axis.bins)].astype(np.intp)
    return [int(count) for count in np.bincount(inside, minlength=axis.bins)]


class Joined:
    """The sum of one measurement over images, all counted on the same axis."""

    def __init__(self) -> None:
        self.distribution: Distribution | None = None

    def add(self, one: Distribution) -> None:
        """Add the objects of one image."""
        self.distribution = _join(self.distribution, one) if self.distribution else one


def _join(first: Distribution, second: Distribution) -> Distribution:
    share = second.objects / (first.objects + second.objects)
    return Distribution(
        column=first.column,
        low=first.low,
        step=first.step,
        counts=tuple(map(operator.add, first.counts, second.counts)),
        outside=first.outside + second.outside,
        minimum=min(first.minimum, second.minimum),
        mean=first.mean * (1 - share) + second.mean * share,
        maximum=max(first.maximum, second.maximum),
    )
