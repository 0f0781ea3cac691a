"""The metadata of OME-NGFF: written for 0.4 and 0.5, read from 0.1 on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from parfocal.errors import InputError
from parfocal.images.writers.layout import LevelLayout
from parfocal.models.image import AXES, Channel, ImageMetadata

__all__ = [
    "image_attributes",
    "read_axes",
    "read_channels",
    "read_scales",
    "read_translations",
]

_TO_UM = {
    "angstrom": 1e-4,
    "picometer": 1e-6,
    "nanometer": 1e-3,
    "micrometer": 1.0,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "meter": 1e6,
    "inch": 25400.0,
}
_TO_S = {
    "nanosecond": 1e-9,
    "microsecond": 1e-6,
    "millisecond": 1e-3,
    "second": 1.0,
    "minute": 60.0,
    "hour": 3600.0,
    "day": 86400.0,
}
_TYPES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}


def image_attributes(
    metadata: ImageMetadata,
    levels: Sequence[LevelLayout],
    version: str,
    *,
    windows: Sequence[tuple[float, float]] | None,
) -> dict[str, Any]:
    """Return the NGFF attributes of an image: multiscales, omero or image-label.

    Each level has the exact scale of its pixels, and the translation by which its first
    pixel lies in the middle of those of the full resolution that it stands for.

    Parameters
    ----------
    metadata : ImageMetadata
        Its axes, sizes of pixels and channels.
    levels : sequence of LevelLayout
        The full resolution first.
    version : {"0.5", "0.4"}
        Version of OME-NGFF.
    windows : sequence of (low, high), or None
        For each channel the values to show as black and as full; None for labels.

    Returns
    -------
    dict
        To be placed under ``ome`` for 0.5, at the root for 0.4.
    """
    labels = windows is None
    multiscale: dict[str, Any] = {
        "name": metadata.name,
        "type": "nearest" if labels else "mean",
        "metadata": _method(levels, labels=labels),
        "axes": [_axis(metadata, axis) for axis in metadata.axes],
        "datasets": [
            _dataset(metadata, levels[: n + 1], labels=labels) for n in range(len(levels))
        ],
    }
    attributes: dict[str, Any] = {"multiscales": [multiscale]}
    if version == "0.4":
        multiscale["version"] = version
    else:
        attributes = {"version": version} | attributes
    if windows is None:
        attributes["image-label"] = {"version": version} if version == "0.4" else {}
    else:
        attributes["omero"] = {"channels": _channels(metadata, windows)}
    return attributes


def _method(levels: Sequence[LevelLayout], *, labels: bool) -> dict[str, str]:
    along_z = levels[0].shape[2] != levels[-1].shape[2]
    block = "2 by 2 by 2" if along_z else "2 by 2"
    if labels:
        first = "first" if along_z else "upper left"
        return {
            "description": f"{first} of {block} labels",
            "method": "parfocal.images.pyramid.halve_labels",
        }
    return {
        "description": f"mean of {block} pixels, halves rounded up",
        "method": "parfocal.images.pyramid.halve",
    }


def _axis(metadata: ImageMetadata, axis: str) -> dict[str, str]:
    described = {"name": axis.lower(), "type": _TYPES[axis]}
    if axis == "T" and metadata.time_increment_s:
        described["unit"] = "second"
    if _TYPES[axis] == "space" and _pixel_size(metadata, axis):
        described["unit"] = "micrometer"
    return described


def _pixel_size(metadata: ImageMetadata, axis: str) -> float | None:
    sizes = {
        "T": metadata.time_increment_s,
        "Z": metadata.z_um,
        "Y": metadata.y_um,
        "X": metadata.x_um,
    }
    return sizes.get(axis)


def _dataset(
    metadata: ImageMetadata, levels: Sequence[LevelLayout], *, labels: bool
) -> dict[str, Any]:
    """Describe the last of `levels`, which are those from the full resolution on."""
    level = len(levels) - 1
    depths = [layout.shape[2] for layout in levels]
    halvings = {"Y": level, "X": level, "Z": len(set(depths)) - 1}
    scale, translation = [], []
    for axis in metadata.axes:
        size = _pixel_size(metadata, axis) or 1.0
        factor = 2 ** halvings.get(axis, 0)
        scale.append(size * factor)
        # The upper left pixel of 2 by 2 stands where it stood; their mean, in the middle.
        translation.append(0.0 if labels else size * (factor - 1) / 2)
    transforms: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
    if any(translation):
        transforms.append({"type": "translation", "translation": translation})
    return {"path": str(level), "coordinateTransformations": transforms}


_RGB = ("FF0000", "00FF00", "0000FF")


def _channels(
    metadata: ImageMetadata, windows: Sequence[tuple[float, float]]
) -> list[dict[str, Any]]:
    described = metadata.channels or (Channel(),) * metadata.size("C")
    rows = []
    for index, (name, channel) in enumerate(zip(metadata.channel_names(), described, strict=True)):
        color = channel.color
        if color is None and metadata.rgb:
            color = _RGB[index]
        row: dict[str, Any] = {"label": name, "active": True}
        row["color"] = color or _default_color(channel, index, len(described))
        row["window"] = _window(np.dtype(metadata.dtype), windows[index], rgb=metadata.rgb)
        rows.append(row)
    return rows


def _window(dtype: np.dtype[Any], window: tuple[float, float], *, rgb: bool) -> dict[str, Any]:
    """Return the range of the data type, and the part of it to show."""
    start, end = window
    if dtype.kind == "f":
        return {"min": start, "max": end, "start": start, "end": end}
    limits = {"min": int(np.iinfo(dtype).min), "max": int(np.iinfo(dtype).max)}
    if rgb:
        return limits | {"start": limits["min"], "end": limits["max"]}
    return limits | {"start": int(start), "end": int(end)}


def _default_color(channel: Channel, index: int, count: int) -> str:
    """Return a colour to show: that of the emission, or else one for each channel.

    Source: OMERO, which takes emissions up to 500 nm for blue and up to 560 nm for green.
    """
    if channel.emission_nm:
        bands = ((500, "0000FF"), (560, "00FF00"))
        return next((color for end, color in bands if channel.emission_nm <= end), "FF0000")
    colors = ("00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF")
    return "FFFFFF" if count == 1 else colors[index % len(colors)]


def read_axes(multiscale: Mapping[str, Any], where: Path) -> tuple[str, dict[str, str]]:
    """Return the axes of a multiscales entry, in upper case, and the unit of each.

    Raises
    ------
    InputError
        If they are not a part of TCZYX in that order, Y and X included.
    """
    described = multiscale.get("axes", [axis.lower() for axis in AXES])
    units: dict[str, str] = {}
    names = []
    for axis in described:
        if isinstance(axis, str):
            names.append(axis.upper())
            continue
        name = str(axis.get("name", "")).upper()
        names.append(name)
        if axis.get("unit"):
            units[name] = str(axis["unit"])
    axes = "".join(names)
    if [a for a in AXES if a in names] != names or "YX" not in axes:
        what = "The axes of the OME-Zarr are not supported"
        expected = "some of t, c, z, y, x in this order, with y and x"
        remedy = "Convert the image with axes of these names and in this order."
        raise InputError(what, where=where, expected=expected, found=names, remedy=remedy)
    return axes, units


def read_scales(
    multiscale: Mapping[str, Any], axes: str, units: Mapping[str, str], warn: list[str]
) -> dict[str, float]:
    """Return the size of a pixel of the full resolution along T (s), Z, Y and X (µm).

    Axes without a unit, or with one that is no length or time, are left out.
    """
    factors = [1.0] * len(axes)
    dataset = multiscale["datasets"][0]
    for transform in (
        *dataset.get("coordinateTransformations", ()),
        *multiscale.get("coordinateTransformations", ()),
    ):
        if transform.get("type") == "scale" and len(transform.get("scale", ())) == len(axes):
            scale = transform["scale"]
            factors = [f * float(s) for f, s in zip(factors, scale, strict=True)]
        elif any(transform.get("translation") or ()):
            warn.append("The image is moved by a translation, which is not kept")
    sizes = {}
    for axis, factor in zip(axes, factors, strict=True):
        unit = units.get(axis)
        table = _TO_S if axis == "T" else _TO_UM
        if axis == "C" or unit is None or factor <= 0:
            continue
        if unit not in table:
            warn.append(f"The unit {unit!r} of axis {axis} is not known: its scale is left out")
            continue
        sizes[axis] = factor * table[unit]
    return sizes


def read_translations(
    multiscale: Mapping[str, Any], axes: str, units: Mapping[str, str]
) -> dict[str, float]:
    """Return where the first pixel of the full resolution lies along each axis.

    In µm and s where the unit is a length or a time; otherwise as it stands.
    """
    place = [0.0] * len(axes)
    dataset = multiscale["datasets"][0]
    for transform in (
        *dataset.get("coordinateTransformations", ()),
        *multiscale.get("coordinateTransformations", ()),
    ):
        numbers = transform.get(transform.get("type"), ())
        if not isinstance(numbers, list) or len(numbers) != len(axes):
            continue
        if transform["type"] == "scale":  # also of what was moved before
            place = [p * float(n) for p, n in zip(place, numbers, strict=True)]
        elif transform["type"] == "translation":
            place = [p + float(n) for p, n in zip(place, numbers, strict=True)]
    tables = {axis: _TO_S if axis == "T" else _TO_UM for axis in axes}
    factors = [tables[axis].get(units.get(axis, ""), 1.0) for axis in axes]
    return {axis: p * f for axis, p, f in zip(axes, place, factors, strict=True)}


def read_channels(omero: Mapping[str, Any], count: int, warn: list[str]) -> tuple[Channel, ...]:
    """Return the channels that the omero block describes; none if their number is another."""
    described = omero.get("channels") or ()
    if not described:
        return ()
    if len(described) != count:
        warn.append(f"{len(described)} channels are described, {count} are there: left out")
        return ()
    channels = []
    for row in described:
        color = str(row.get("color", "")).upper().lstrip("#")
        channels.append(
            Channel(
                name=str(row["label"]) if row.get("label") else None,
                color=color if re.fullmatch("[0-9A-F]{6}", color) else None,
            )
        )
    return tuple(channels)
