"""Read from OME-XML what Parfocal keeps about an image; any schema version."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

from parfocal.models.image import Channel

__all__ = ["OmeImage", "parse_ome_xml"]

_UM = {
    "ym": 1e-18,
    "zm": 1e-15,
    "am": 1e-12,
    "fm": 1e-9,
    "pm": 1e-6,
    "nm": 1e-3,
    "µm": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "dm": 1e5,
    "m": 1e6,
    "km": 1e9,
    "Å": 1e-4,
    "in": 25400.0,
    "ft": 304800.0,
    "thou": 25.4,
    "mil": 25.4,
}
_S = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_ALIASES = {"um": "µm", "μm": "µm", "us": "µs", "μs": "µs", "micron": "µm"}


@dataclass(frozen=True)
class OmeImage:
    """One Image element: fields of ImageMetadata, and its channels."""

    fields: dict[str, Any]
    channels: tuple[Channel, ...]


def parse_ome_xml(text: str, warn: list[str], *, all_images: bool = False) -> list[OmeImage]:
    """Read the Image elements that have planes.

    Parameters
    ----------
    text : str
        The XML.
    warn : list of str
        Where warnings are added.
    all_images : bool
        Whether those without planes in a TIFF count too.

    Returns
    -------
    list of OmeImage
        In the order of the XML; none if it is not well-formed, which is warned of.

    Source: https://docs.openmicroscopy.org/ome-model (schema 2016-06).
    """
    try:
        root = ET.fromstring(text)  # noqa: S314 - expat limits expansion of entities
    except ET.ParseError as error:
        warn.append(f"The OME-XML is not well-formed and is left out: {error}")
        return []
    images = []
    own = root.get("Creator", "").startswith("Parfocal")
    for element in root.findall("{*}Image"):
        pixels = element.find("{*}Pixels")
        if pixels is None or (pixels.find("{*}TiffData") is None and not all_images):
            continue
        fields = _sizes(pixels, warn) | _stage(pixels)
        if element.get("Name"):
            fields["name"] = element.get("Name")
        images.append(OmeImage(fields, _channels(pixels, warn, own=own)))
    return images


def _sizes(pixels: ET.Element, warn: list[str]) -> dict[str, Any]:
    wanted = {
        "x_um": ("PhysicalSizeX", "µm", _UM),
        "y_um": ("PhysicalSizeY", "µm", _UM),
        "z_um": ("PhysicalSizeZ", "µm", _UM),
        "time_increment_s": ("TimeIncrement", "s", _S),
    }
    fields: dict[str, Any] = {}
    for key, (name, default, table) in wanted.items():
        value = _quantity(pixels, name, default, table, warn)
        if value is not None:
            fields[key] = value
    return fields


def _stage(pixels: ET.Element) -> dict[str, float]:
    """Return where the first plane was taken; the schema's reference frame is no length."""
    planes = pixels.findall("{*}Plane")
    if not planes:
        return {}
    first = min(planes, key=lambda plane: [plane.get(f"The{axis}", "").zfill(9) for axis in "TCZ"])
    fields = {}
    for axis in "ZYX":
        unit = first.get(f"Position{axis}Unit", "reference frame")
        factor = _UM.get(_ALIASES.get(unit, unit))
        try:
            place = float(first.get(f"Position{axis}", "nan"))
        except ValueError:
            continue
        if factor is not None and math.isfinite(place):
            fields[f"stage_{axis.lower()}_um"] = place * factor
    return fields


def _quantity(
    element: ET.Element,
    name: str,
    default: str,
    table: dict[str, float],
    warn: list[str],
) -> float | None:
    """Return an attribute in the unit that `table` is about; the schema's default unit counts."""
    text = element.get(name)
    if text is None:
        return None
    unit = element.get(f"{name}Unit", default)
    factor = table.get(_ALIASES.get(unit, unit))
    try:
        value = float(text) * factor if factor is not None else 0.0
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        warn.append(f"{name}={text!r} {unit!r} in the OME-XML is no size: it is left out")
        return None
    return value


def _channels(pixels: ET.Element, warn: list[str], *, own: bool) -> tuple[Channel, ...]:
    return tuple(
        Channel(
            name=element.get("Name") or None,
            color=_color(element.get("Color"), white=own),
            excitation_nm=_nanometres(element, "ExcitationWavelength", warn),
            emission_nm=_nanometres(element, "EmissionWavelength", warn),
        )
        for element in pixels.findall("{*}Channel")
    )


def _nanometres(element: ET.Element, name: str, warn: list[str]) -> float | None:
    if element.get(f"{name}Unit", "nm") == "nm":
        return _quantity(element, name, "nm", {"nm": 1.0}, warn)
    size = _quantity(element, name, "nm", _UM, warn)
    return None if size is None else round(size * 1000, 6)


def _color(text: str | None, *, white: bool) -> str | None:
    """Return RRGGBB of OME's signed 32-bit RGBA.

    Opaque white is the schema's default, and many programs write it for every channel: it says
    nothing unless `white` is set.
    """
    try:
        value = int(text) & 0xFFFFFFFF if text is not None else 0xFFFFFFFF
    except ValueError:
        return None
    unsaid = text is None or (value == 0xFFFFFFFF and not white)
    return None if unsaid else f"{value >> 8:06X}"
