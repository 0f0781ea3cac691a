"""What the XML of a Leica image says about it besides the places of its pixels."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np

from parfocal.images.readers.lif.layout import LifLayout
from parfocal.models.image import Channel

__all__ = ["channels_of", "fields_of"]

_IMAGE = "./Data/Image"
_LUTS = {
    "red": "FF0000",
    "green": "00FF00",
    "blue": "0000FF",
    "cyan": "00FFFF",
    "magenta": "FF00FF",
    "yellow": "FFFF00",
    "gray": "FFFFFF",
    "grey": "FFFFFF",
}
_GRADIENT = re.compile(r"Gradient\s*\(\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\)")
_UNITS_UM = {"m": 1e6, "mm": 1e3, "um": 1.0, "µm": 1.0, "nm": 1e-3}
_REGULAR = 0.05


def channels_of(element: ET.Element, layout: LifLayout) -> tuple[Channel, ...]:
    """Return what is said of each channel; nothing where all is silence.

    Parameters
    ----------
    element : Element
        The ``Element`` of the image.
    layout : LifLayout
        Its layout.
    """
    if layout.rgb:
        colors = (("Red", "FF0000"), ("Green", "00FF00"), ("Blue", "0000FF"))
        return tuple(Channel(name=name, color=color) for name, color in colors)
    listed = element.findall(f"{_IMAGE}/ImageDescription/Channels/ChannelDescription")
    if len(listed) != layout.shape5[1]:
        return ()
    found = tuple(_channel(one) for one in listed)
    return found if any(one != Channel() for one in found) else ()


def _channel(described: ET.Element) -> Channel:
    said = {one.findtext("Key"): one.findtext("Value") for one in described.iter("ChannelProperty")}
    lut = described.get("LUTName", "")
    gradient = _GRADIENT.fullmatch(lut)
    color = _LUTS.get(lut.lower())
    if gradient and all(int(part) < 256 for part in gradient.groups()):
        color = "".join(f"{int(part):02X}" for part in gradient.groups())
    return Channel(name=said.get("DyeName") or None, color=color)


def fields_of(element: ET.Element, layout: LifLayout, tile: int, warn: list[str]) -> dict[str, Any]:
    """Return sizes of pixels, time increment and stage as fields of ImageMetadata.

    The size of a pixel is the distance from the first to the last, divided by one less than
    their number.

    Parameters
    ----------
    element : Element
        The ``Element`` of the image.
    layout : LifLayout
        Its layout.
    tile : int
        Which tile of a mosaic it is, 0 where it is none.
    warn : list of str
        Where it is added what could not be used.
    """
    found: dict[str, Any] = {}
    for axis in "ZYX":
        one = layout.dimensions.get(axis)
        step = one.step if one is not None else None
        if one is None or step is None or not math.isfinite(step):
            continue
        if one.unit in _UNITS_UM:
            found[f"{axis.lower()}_um"] = step * _UNITS_UM[one.unit]
        else:
            warn.append(f"The size of pixels along {axis} has no known unit: {one.unit!r}")
    return found | _interval(element, layout, warn) | _stage(element, layout, tile)


def _interval(element: ET.Element, layout: LifLayout, warn: list[str]) -> dict[str, float]:
    """Return the time from one time point to the next, where it is always the same."""
    t = layout.shape5[0]
    times = _times(element)
    slowest = max(layout.steps.values()) == layout.steps["T"]
    if t > 1 and slowest and len(times) >= t and len(times) % t == 0:
        starts = times.reshape(t, -1)[:, 0]
        steps = np.diff(starts) / 1e7
        mean = float(steps.mean())
        if mean > 0 and np.abs(steps - mean).max() <= _REGULAR * mean:
            return {"time_increment_s": mean}
        warn.append("Its time points do not follow at one interval: it is left out")
        return {}
    one = layout.dimensions.get("T")
    step = one.step if one is not None and one.unit == "s" else None
    return {"time_increment_s": step} if step and math.isfinite(step) else {}


def _times(element: ET.Element) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the times of the planes in units of 100 ns."""
    listed = element.find(f"{_IMAGE}/TimeStampList")
    if listed is None:
        return np.empty(0, np.int64)
    try:
        stamps = [
            (int(one.attrib["HighInteger"]) << 32) + int(one.attrib["LowInteger"])
            for one in listed.iter("TimeStamp")
        ] or [int(word, 16) for word in (listed.text or "").split()]
        return np.array(stamps, np.int64)
    except (KeyError, ValueError, OverflowError):
        return np.empty(0, np.int64)


def _stage(element: ET.Element, layout: LifLayout, tile: int) -> dict[str, float]:
    """Return the place of the stage, which the file has in metres."""
    tiles = element.findall(f"{_IMAGE}/Attachment[@Name='TileScanInfo']/Tile")
    settings = element.find(
        f"{_IMAGE}/Attachment[@Name='HardwareSetting']/ATLConfocalSettingDefinition"
    )
    if len(tiles) == layout.tiles:
        stated = {axis: tiles[tile].get(f"Pos{axis.upper()}") for axis in "zyx"}
    elif settings is not None and layout.tiles == 1:
        stated = {axis: settings.get(f"StagePos{axis.upper()}") for axis in "yx"}
    else:
        return {}
    found: dict[str, float] = {}
    for axis, text in stated.items():
        try:
            value = float(text or "") * 1e6
        except ValueError:
            continue
        if math.isfinite(value):
            found[f"stage_{axis}_um"] = value
    return found
