"""The columns of a table of objects: name, type, unit and meaning."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = ["Column", "ColumnType", "channel_keys", "object_columns"]

ColumnType = Literal["text", "integer", "unsigned", "real", "boolean"]


@dataclass(frozen=True)
class Column:
    """One column.

    Parameters
    ----------
    name : str
        Unique, with the unit as suffix.
    type : str
        What its values are; only ``real`` values can be null.
    unit : str
        Its unit, empty for numbers and text.
    meaning : str
        One clause.
    """

    name: str
    type: ColumnType
    unit: str
    meaning: str


def channel_keys(names: Sequence[str]) -> list[str]:
    """Return the part of column names that stands for each channel: unique, without blanks.

    What is not a letter, digit, dot, underscore or hyphen becomes an underscore.
    """
    keys: list[str] = []
    for index, name in enumerate(names):
        key = re.sub(r"[^\w.-]+", "_", name).strip("_") or f"channel_{index}"
        keys.append(key if key not in keys else f"{key}_{index}")
    return keys


def object_columns(
    dimensions: int, channels: Sequence[str], dtype: np.dtype[np.generic]
) -> list[Column]:
    """Return the columns of a table of objects.

    Parameters
    ----------
    dimensions : {2, 3}
        3 where the label image has several planes.
    channels : sequence of str
        Names of the channels.
    dtype : dtype
        Type of the intensities.
    """
    columns = [
        Column("image_id", "text", "", "the image"),
        Column("label_name", "text", "", "the label image"),
        Column("label", "integer", "", "value of the object in the label image"),
        Column("t", "integer", "", "index of the time point"),
        *_size_columns(dimensions),
        *(Column(f"centroid_{axis}_px", "real", "px", f"mean {axis} index") for axis in "zyx"),
        *(Column(f"centroid_{axis}_um", "real", "um", f"mean {axis} position") for axis in "zyx"),
        *(
            Column(f"bbox_{axis}{end}", "integer", "px", f"{which} {axis} index")
            for axis in "zyx"
            for end, which in ((0, "first"), (1, "one past the last"))
        ),
        *_shape_columns(dimensions),
        Column("touches_border", "boolean", "", "whether the object lies at a face of the image"),
    ]
    for key, name in zip(channel_keys(channels), channels, strict=True):
        columns.extend(_intensity_columns(key, name, dtype))
    return columns


def _size_columns(dimensions: int) -> list[Column]:
    if dimensions == 2:
        return [
            Column("area_px", "integer", "px", "number of pixels"),
            Column("area_um2", "real", "um2", "area"),
        ]
    return [
        Column("volume_px", "integer", "px", "number of pixels"),
        Column("volume_um3", "real", "um3", "volume"),
    ]


def _shape_columns(dimensions: int) -> list[Column]:
    lengths = [("equivalent_diameter", "diameter of the circle or ball of the same size")]
    lengths += [("major_axis", "longest axis of the ellipse with the same second moments")]
    if dimensions == 3:
        lengths += [("middle_axis", "middle axis of the ellipsoid with the same second moments")]
    lengths += [("minor_axis", "shortest axis of the ellipse with the same second moments")]
    columns = [
        Column(f"{name}_{unit}", "real", unit, meaning)
        for name, meaning in lengths
        for unit in ("px", "um")
    ]
    ratios = [
        Column("elongation", "real", "", "1 - minor / major axis"),
        Column("extent", "real", "", "part of the bounding box that the object fills"),
    ]
    if dimensions == 3:
        surface = "surface area by Crofton's formula in 13 directions"
        return [
            *columns,
            *ratios,
            Column("surface_area_px", "real", "px2", surface),
            Column("surface_area_um2", "real", "um2", surface),
        ]
    perimeter = "perimeter by Crofton's formula in 4 directions"
    return [
        *columns,
        *ratios,
        Column("eccentricity", "real", "", "eccentricity of the ellipse of second moments"),
        Column("orientation_deg", "real", "deg", "angle from the Y axis to the major axis"),
        Column("perimeter_px", "real", "px", perimeter),
        Column("perimeter_um", "real", "um", perimeter),
    ]


def _intensity_columns(key: str, name: str, dtype: np.dtype[np.generic]) -> list[Column]:
    extreme: ColumnType = "integer" if dtype.kind in "bui" else "real"
    if dtype == np.uint64:
        extreme = "unsigned"
    total: ColumnType = "integer" if dtype.kind in "bui" and dtype.itemsize <= 2 else "real"
    kinds: list[tuple[str, ColumnType, str]] = [
        ("mean", "real", "mean"),
        ("std", "real", "standard deviation of all pixels (divided by their number)"),
        ("min", extreme, "least value"),
        ("max", extreme, "greatest value"),
        ("sum", total, "sum"),
    ]
    return [
        Column(f"intensity_{kind}_{key}", form, "", f"{meaning} in channel {name}")
        for kind, form, meaning in kinds
    ]
