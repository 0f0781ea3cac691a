"""What makers of microscopes and scanners say about an image in tags of their own."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from parfocal.images.readers.tiff.axes import TiffLayout
from parfocal.images.readers.tiff.imagej import ratio_of
from parfocal.models.image import Channel

__all__ = ["VendorDescription", "describe_vendor", "vendor_axes"]

_DECIMAL = re.compile(r"[0-9]+\.?[0-9]*|\.[0-9]+")
_FOCUS = 65424  # of Hamamatsu: the distance from the middle of the slide in nanometres
_CENTIMETRE = 3
_UM = {"um": 1.0, "µm": 1.0, "micron": 1.0, "microns": 1.0, "nm": 1e-3, "mm": 1e3}


@dataclass(frozen=True)
class VendorDescription:
    """Fields of ImageMetadata, the channels, and what is kept as files by name."""

    fields: dict[str, Any] = field(default_factory=dict)
    channels: tuple[Channel, ...] = ()
    files: dict[str, bytes] = field(default_factory=dict)


def vendor_axes(tiff: Any, series: Any) -> str:
    """Return the letters of the axes of a series, as tifffile names them but for two makers.

    The channels of Zeiss LSM are samples (S) where a page holds several. Where MetaMorph's planes
    were taken at several wavelengths, they are unknown (I), which tifffile takes for T or Z.

    Parameters
    ----------
    tiff : tifffile.TiffFile
        The open file.
    series : tifffile.TiffPageSeries
        The image.
    """
    axes: str = series.get_axes(squeeze=False)
    if tiff.is_lsm and series.keyframe.samplesperpixel > 1:
        return axes.replace("C", "S")
    if tiff.is_stk and axes[0] in "TZ":
        waves = np.atleast_1d((tiff.stk_metadata or {}).get("Wavelengths", ()))
        return axes if len({float(wave) for wave in waves}) < 2 else f"I{axes[1:]}"
    return axes


def describe_vendor(
    tiff: Any, series: Any, layout: TiffLayout, warn: list[str]
) -> VendorDescription:
    """Gather what a file says that is neither OME-TIFF nor of ImageJ.

    Sizes are taken where a unit stands with them. Dots per inch are for print and are left out.

    Parameters
    ----------
    tiff : tifffile.TiffFile
        The open file.
    series : tifffile.TiffPageSeries
        The image.
    layout : TiffLayout
        Its axes.
    warn : list of str
        Where warnings are added.
    """
    if tiff.is_svs:
        return VendorDescription(_aperio(series.keyframe))
    if tiff.is_lsm:
        return _zeiss(tiff.lsm_metadata, layout)
    if tiff.is_stk:
        return _metamorph(tiff.stk_metadata, layout, warn)
    fields = _centimetres(series.keyframe)
    if tiff.is_ndpi and layout.size("Z") > 1:
        fields |= _focal_planes(series, warn)
    return VendorDescription(fields)


def _aperio(page: Any) -> dict[str, Any]:
    """Return the pixel size of a slide: micrometres per pixel, among fields divided by ``|``.

    Source: Aperio, Digital Slides and Third-Party Data Interchange, ``MPP``.
    """
    stated = re.search(r"\|\s*MPP\s*=\s*([0-9.]+)\s*(?:\||$)", page.description)
    size = float(stated[1]) if stated and _DECIMAL.fullmatch(stated[1]) else 0.0
    return {"x_um": size, "y_um": size} if size > 0 else {}


def _centimetres(page: Any) -> dict[str, Any]:
    unit = page.tags.get("ResolutionUnit")
    if unit is None or int(unit.value) != _CENTIMETRE:
        return {}
    sizes = {"x_um": "XResolution", "y_um": "YResolution"}
    ratios = {key: ratio_of(page.tags.get(tag)) for key, tag in sizes.items()}
    return {key: 1e4 / ratio for key, ratio in ratios.items() if ratio}


def _focal_planes(series: Any, warn: list[str]) -> dict[str, Any]:
    """Return the distance of Hamamatsu's focal planes, where they lie evenly."""
    places = [page.aspage().tags.valueof(_FOCUS) for page in series.pages]
    steps = set()
    if None not in places:
        steps = {high - low for low, high in pairwise(places)}
    if len(steps) == 1 and (step := abs(steps.pop())) > 0:
        return {"z_um": step / 1000}
    warn.append("The focal planes of the slide do not lie evenly: their distance is left out")
    return {}


def _zeiss(stated: Mapping[str, Any], layout: TiffLayout) -> VendorDescription:
    """Read what Zeiss LSM states: sizes of voxels in metres, times in seconds, colours."""
    sizes = {f"{axis.lower()}_um": stated.get(f"VoxelSize{axis}", 0) * 1e6 for axis in "ZYX"}
    fields = {key: size for key, size in sizes.items() if _is_size(size)}
    if layout.size("Z") == 1:
        fields.pop("z_um", None)
    interval = stated.get("TimeIntervall", 0)
    if layout.size("T") > 1 and _is_size(interval):
        fields["time_increment_s"] = float(interval)
    colors = stated.get("ChannelColors") or {}
    names, tints = colors.get("ColorNames") or [], colors.get("Colors") or []
    count = layout.size("C") * layout.size("S")
    channels = (Channel(),) * count
    if len(names) == len(tints) == count:
        channels = tuple(
            Channel(name=str(name) or None, color="".join(f"{int(one):02X}" for one in tint[:3]))
            for name, tint in zip(names, tints, strict=True)
        )
    return VendorDescription(fields, channels, {"lsm.json": _json(stated)})


def _metamorph(stated: Mapping[str, Any], layout: TiffLayout, warn: list[str]) -> VendorDescription:
    """Read what MetaMorph states: sizes of pixels in a unit, and the distances of planes."""
    fields: dict[str, Any] = {}
    factor = _UM.get(str(stated.get("CalibrationUnits", "")).strip("\0 ").lower())
    if factor and stated.get("SpatialCalibration"):
        for axis in "XY":
            size = float(stated.get(f"{axis}Calibration", 0)) * factor
            if _is_size(size):
                fields[f"{axis.lower()}_um"] = size
    steps = {abs(float(step)) for step in np.atleast_1d(stated.get("ZDistance", ()))}
    if layout.size("Z") > 1 and steps != {0.0}:
        if len(steps) == 1 and factor:
            fields["z_um"] = steps.pop() * factor
        else:
            warn.append("MetaMorph's distances of planes are not even, or without unit: left out")
    return VendorDescription(fields, (), {"stk.json": _json(stated)})


def _is_size(value: float) -> bool:
    return 0 < value < math.inf


def _json(stated: Mapping[str, Any]) -> bytes:
    text = json.dumps(stated, default=_plain, ensure_ascii=False, indent=1, sort_keys=True)
    return text.encode() + b"\n"


def _plain(value: Any) -> Any:
    """Return what JSON can hold."""
    if isinstance(value, np.ndarray):
        return value.astype(str).tolist() if value.dtype.kind == "M" else value.tolist()
    return value.item() if isinstance(value, np.generic) else str(value)
