"""What the XML of a CZI says about its scenes.

Source: Zeiss, ZISRAW (CZI) file format, design specification of the metadata.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from decimal import Decimal
from pathlib import Path
from typing import Any

from parfocal.errors import InputError
from parfocal.images.readers.czi.tiles import Scene
from parfocal.models.image import Channel

__all__ = ["CziMetadata"]

_COLOR = re.compile(r"#(?:[0-9A-Fa-f]{2})?([0-9A-Fa-f]{6})")
_IMAGE = "./Metadata/Information/Image"


class CziMetadata:
    """The XML of a CZI.

    Parameters
    ----------
    text : str
        The XML; empty where the file has none.
    path : Path
        The file, for errors.

    Raises
    ------
    InputError
        If it is not valid XML.
    """

    def __init__(self, text: str, path: Path) -> None:
        try:
            # expat limits the expansion of entities
            root = ET.fromstring(text) if text.strip() else ET.Element("none")  # noqa: S314
        except ET.ParseError as error:
            what = "The metadata of the CZI are not valid XML"
            remedy = "The file is damaged: copy or download it again."
            raise InputError(what, where=path, found=error, remedy=remedy) from error
        self.text = text
        self._root = root

    def fields(self, scene: Scene, name: str) -> dict[str, Any]:
        """Return name, sizes of pixels, time increment and stage as fields of ImageMetadata.

        Parameters
        ----------
        scene : Scene
            Which scene.
        name : str
            The name of the file.
        """
        found: dict[str, Any] = {"name": name}
        for axis in "XYZ":
            metres = self._root.findtext(f"./Metadata/Scaling/Items/Distance[@Id='{axis}']/Value")
            if (_finite(metres) or 0) > 0:
                found[f"{axis.lower()}_um"] = float(Decimal(str(metres).strip()).scaleb(6))
        step = self._number(f"{_IMAGE}/Dimensions/T/Positions/Interval/Increment")
        if step is not None and step > 0 and scene.sizes[0] > 1:
            found["time_increment_s"] = step
        if scene.number is not None:
            described = self._root.find(
                f"{_IMAGE}/Dimensions/S/Scenes/Scene[@Index='{scene.number}']"
            )
            if described is not None:
                found |= _stage(described)
                if described.get("Name"):
                    found["name"] = f"{name}, {described.get('Name')}"
        return found

    def channels(self, first: int, count: int, warn: list[str]) -> tuple[Channel, ...]:
        """Return what is said of the channels from `first` on; nothing where it does not fit.

        Parameters
        ----------
        first, count : int
            Which channels.
        warn : list of str
            Where it is added what could not be used.
        """
        listed = self._root.findall(f"{_IMAGE}/Dimensions/Channels/Channel")
        if not listed:
            return ()
        if len(listed) < first + count:
            warn.append(
                f"The metadata describe {len(listed)} channels and the file holds "
                f"{first + count}: their names and colours are left out"
            )
            return ()
        shown = self._root.findall("./Metadata/DisplaySetting/Channels/Channel")
        displays = {one.get("Id"): one for one in shown}
        return tuple(
            _channel(one, displays.get(one.get("Id"))) for one in listed[first : first + count]
        )

    def sizes(self) -> dict[str, int]:
        """Return the sizes that are stated, by axis."""
        found = {axis: self._number(f"{_IMAGE}/Size{axis}") for axis in "TCZYX"}
        return {axis: int(size) for axis, size in found.items() if size is not None}

    def compression(self) -> str:
        """Return what is said of the compression with which the pixels were first stored."""
        method = self._root.findtext(f"{_IMAGE}/OriginalCompressionMethod")
        quality = self._root.findtext(f"{_IMAGE}/OriginalEncodingQuality")
        said = [f"method {method}"] * bool(method) + [f"quality {quality}"] * bool(quality)
        return " and ".join(said)

    def _number(self, path: str) -> float | None:
        return _finite(self._root.findtext(path))


def _finite(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _stage(scene: ET.Element) -> dict[str, float]:
    """Return the centre of a scene, in micrometres as the format has it."""
    found: dict[str, float] = {}
    centre = (scene.findtext("CenterPosition") or "").split(",")
    positions = scene.findall("./Positions/Position")
    if len(centre) == 2:
        stated = dict(zip("xy", centre, strict=True))
    elif len(positions) == 1:
        stated = {axis: positions[0].get(axis.upper(), "") for axis in "xy"}
    else:
        stated = {}
    heights = {position.get("Z", "") for position in positions}
    if len(heights) == 1:
        stated["z"] = heights.pop()
    for axis, text in stated.items():
        value = _finite(text)
        if value is not None:
            found[f"stage_{axis}_um"] = value
    return found


def _channel(described: ET.Element, display: ET.Element | None) -> Channel:
    colors = [one.findtext("Color") for one in (display, described) if one is not None]
    matches = [_COLOR.fullmatch(color) for color in colors if color]
    waves: dict[str, float] = {}
    for key, tag in (("excitation_nm", "Excitation"), ("emission_nm", "Emission")):
        value = _finite(described.findtext(f"{tag}Wavelength"))
        if value is not None and value > 0:
            waves[key] = value
    return Channel(
        name=described.get("Name") or None,
        color=next((match[1].upper() for match in matches if match), None),
        **waves,
    )
