"""What ImageJ says about an image in a TIFF: used, or else kept and told."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from parfocal.images.readers.tiff.axes import TiffLayout
from parfocal.models.image import Channel

__all__ = ["ImageJDescription", "describe_imagej", "ratio_of"]

_UNITS_UM = {
    "nm": 1e-3,
    "um": 1.0,
    "µm": 1.0,
    "μm": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "inch": 25400.0,
}
_UNITS_S = {"ms": 1e-3, "msec": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0, "hr": 3600.0}
_NO_UNIT = ("", "pixel", "pixels")
# The keys of ImageJ's binary tag; all others are lines of the image description.
_TAG = "IJMetadata"
# Such as "c:1/3 z:2/5 - ", which Bio-Formats writes before the label.
_POSITION = re.compile(r"^\s*(?:[czt]:\s*\d+/\d+\s*)+(?:-\s*)?")


@dataclass(frozen=True)
class ImageJDescription:
    """Fields of ImageMetadata, the channels, and what is kept as files by name."""

    fields: dict[str, Any]
    channels: tuple[Channel, ...]
    files: dict[str, bytes]


def describe_imagej(
    page: Any, layout: TiffLayout, stated: Mapping[str, Any], warn: list[str]
) -> ImageJDescription:
    """Gather what ImageJ says about an image.

    Parameters
    ----------
    page : tifffile.TiffPage
        The first page.
    layout : TiffLayout
        Its axes.
    stated : mapping
        ImageJ's description and binary tag, as tifffile reads them.
    warn : list of str
        Where it is added what could not be used.

    Source: ImageJ, ``ij.io.TiffEncoder`` and ``ij.io.FileInfo``.
    """
    fields = _lengths(page, layout, stated, warn) | _interval(layout, stated, warn)
    if "cf" in stated:
        warn.append(
            "ImageJ states a calibration of values (cf, c0, c1, ... in OME/ImageDescription.txt): "
            "pixels are kept as they are stored, not calibrated"
        )
    names = _channel_names(_listed(stated.get("Labels")), layout, warn)
    colors = _colors(_listed(stated.get("LUTs")), layout.size("C"), warn)
    channels = tuple(Channel(name=n, color=c) for n, c in zip(names, colors, strict=True))
    described = any(channel != Channel() for channel in channels)
    tag = page.tags.get(_TAG)
    kept = tag.value if tag is not None and isinstance(tag.value, dict) else {}
    return ImageJDescription(fields, channels if described else (), _files(page, kept, warn))


def ratio_of(tag: Any) -> float | None:
    """Return the value of a rational tag, or None where it is missing, zero or infinite."""
    if tag is None or not isinstance(tag.value, tuple) or len(tag.value) != 2:
        return None
    above, below = tag.value
    return above / below if above and below else None


def _lengths(
    page: Any, layout: TiffLayout, stated: Mapping[str, Any], warn: list[str]
) -> dict[str, float]:
    """Return the sizes of pixels; ImageJ states the units of Y and Z where they are others."""
    units = {"x": _unit(stated.get("unit", ""))}
    units |= {axis: _unit(stated.get(f"{axis}unit", units["x"])) for axis in "yz"}
    strange = sorted(set(units.values()) - _UNITS_UM.keys() - set(_NO_UNIT))
    if strange:
        warn.append(f"ImageJ's unit {', '.join(strange)} is not known: sizes in it are left out")
    sizes = {}
    for axis, tag in (("x", "XResolution"), ("y", "YResolution")):
        per_unit = ratio_of(page.tags.get(tag))
        if per_unit and units[axis] in _UNITS_UM:
            sizes[f"{axis}_um"] = _UNITS_UM[units[axis]] / per_unit
    spacing = stated.get("spacing")
    if layout.size("Z") > 1 and spacing is not None:
        if _is_positive(spacing) and units["z"] in _UNITS_UM:
            sizes["z_um"] = float(spacing) * _UNITS_UM[units["z"]]
        elif not _is_positive(spacing) or (units["z"] in _NO_UNIT and spacing != 1):
            warn.append(f"ImageJ's spacing of {spacing} has no known unit or size: it is left out")
    return sizes


def _unit(value: Any) -> str:
    return str(value).replace("\\u00B5", "µ").strip().lower()


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and 0 < value < math.inf


def _interval(layout: TiffLayout, stated: Mapping[str, Any], warn: list[str]) -> dict[str, float]:
    interval = stated.get("finterval")
    if interval is None or layout.size("T") == 1:
        return {}
    unit = _unit(stated.get("tunit", "sec"))
    if _is_positive(interval) and unit in _UNITS_S:
        return {"time_increment_s": float(interval) * _UNITS_S[unit]}
    warn.append(f"ImageJ's frame interval of {interval} {unit} is no time: it is left out")
    return {}


def _listed(value: Any) -> list[Any]:
    """Return the values of a key that tifffile gives as one value where there is only one."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _channel_names(
    labels: Sequence[str], layout: TiffLayout, warn: list[str]
) -> list[str] | list[None]:
    """Return the labels of slices as names of channels, where they are such.

    They are if all labelled slices of a channel have one label, and no two channels the same.
    """
    count = layout.size("C")
    texts = [_POSITION.sub("", str(label).split("\n", 1)[0]).strip() for label in labels]
    found: list[set[str]] = [set() for _ in range(count)]
    for t in range(layout.size("T")):
        for z in range(layout.size("Z")):
            for c in range(count):
                number = layout.plane(t, c, z)
                if number < len(texts) and texts[number]:
                    found[c].add(texts[number])
    names = [next(iter(one)) for one in found if len(one) == 1]
    if count > 1 and len(set(names)) == count:
        return names
    if any(texts):
        warn.append(
            "ImageJ's labels of slices do not name the channels, one each: they are kept in "
            "OME/ImageJ.json only"
        )
    return [None] * count


def _colors(tables: Sequence[Any], count: int, warn: list[str]) -> list[str | None]:
    """Take the colours of channels from ImageJ's lookup tables: the last entry of each."""
    if not tables:
        return [None] * count
    if len(tables) != count:
        warn.append(
            f"ImageJ states {len(tables)} lookup tables for {count} channels: they are kept in "
            "OME/ImageJ.json only"
        )
        return [None] * count
    bent = [number for number, table in enumerate(tables) if not _is_ramp(table)]
    if bent:
        numbers = ", ".join(str(number) for number in bent)
        warn.append(
            f"The lookup table of channel {numbers} is no ramp from black to a colour: it is "
            "kept in OME/ImageJ.json, and the colour of its last entry stands for it"
        )
    return ["".join(f"{int(value):02X}" for value in table[:3, -1]) for table in tables]


def _is_ramp(table: Any) -> bool:
    ramp = np.arange(256)[np.newaxis] * table[:, -1:].astype(np.float64) / 255
    return bool((np.abs(ramp - table) <= 1).all())


def _files(page: Any, kept: Mapping[str, Any], warn: list[str]) -> dict[str, bytes]:
    """Return the description, the texts of the binary tag as JSON, and its regions as they are."""
    files = {"ImageDescription.txt": page.description.encode()}
    texts = {}
    for key, value in kept.items():
        values = _listed(value)
        if not any(isinstance(one, bytes) for one in values):
            texts[str(key)] = _plain(value)
            continue
        safe = re.sub(r"[^A-Za-z0-9]+", "_", str(key))
        suffix = "roi" if key in ("ROI", "Overlays") else "bin"
        for number, content in enumerate(values, 1):
            files[f"ImageJ-{safe}-{number:04}.{suffix}"] = content
    if texts:
        text = json.dumps(texts, ensure_ascii=False, indent=1, sort_keys=True)
        files["ImageJ.json"] = text.encode() + b"\n"
    if len(files) > 1 + bool(texts):
        parts = len(files) - 1 - bool(texts)
        warn.append(f"{parts} ROI or overlay file(s) of ImageJ are kept below OME/, but not used")
    return files


def _plain(value: Any) -> Any:
    """Return what JSON can hold."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
