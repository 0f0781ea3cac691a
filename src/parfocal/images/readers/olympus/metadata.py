"""What the settings of an Olympus acquisition say about its image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

from parfocal.core.blocks import Shape
from parfocal.errors import InputError
from parfocal.models.image import Channel

__all__ = ["OlympusSettings"]

_UNITS_UM = {"nm": 1e-3, "um": 1.0, "µm": 1.0, "mm": 1e3}
_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_REMEDY = "Split or export the image in the software that wrote it, or try reader=bioformats."


class OlympusSettings:
    """The main file of settings.

    Parameters
    ----------
    content : bytes
        The file.
    name : str
        Its name.
    where : Path
        The source, for errors.

    Raises
    ------
    InputError
        If it is damaged, or names axes that cannot be kept.
    """

    def __init__(self, content: bytes, name: str, where: Path) -> None:
        from parfocal.images.readers.olympus.files import damaged, settings_of

        self._sections = settings_of(content, name, where)
        self._axes = {
            str(section["AxisCode"]): section
            for key, section in self._sections.items()
            if key.startswith("Axis ") and key.endswith(" Parameters Common")
            if section.get("AxisCode")
        }
        self._order = str(self._get("Axis Parameter Common").get("AxisOrder", ""))
        if "X" not in self._axes or len(self._order) < 2 or not set(self._order) <= set(self._axes):
            raise damaged(where, f"axes {self._order or 'unknown'} in {name}")
        several = [axis for axis in self._axes if axis not in "XYZTCL" and self.size(axis) > 1]
        if several or (self.size("L") > 1 and self.size("C") > 1):
            what = "The image has axes that the result cannot keep"
            found = ", ".join(several) or "wavelengths (L) of several channels"
            raise InputError(
                what, where=where, expected="T, C, Z, Y, X", found=found, remedy=_REMEDY
            )

    def _get(self, section: str) -> Mapping[str, Any]:
        return self._sections.get(section, {})

    def listed(self) -> tuple[str, ...]:
        """Return names of the settings of planes that were saved: all, or the first and last."""
        saved = self._get("ProfileSaveInfo")
        ends = self._names(key for key in ("PtyFileNameS", "PtyFileNameE") if key in saved)
        return tuple(sorted({*ends, *self.in_order()}))

    def in_order(self) -> tuple[str, ...]:
        """Return names of the settings of planes in the order of their list, if there is one."""
        keys = (key for key in self._get("ProfileSaveInfo") if key.startswith("IniFileName"))
        return self._names(key for key in keys if "Thumb" not in key)

    def _names(self, keys: Iterable[str]) -> tuple[str, ...]:
        saved = self._get("ProfileSaveInfo")
        names = (PureWindowsPath(str(saved[key])).name for key in keys)
        return tuple(name for name in names if name.lower().endswith(".pty"))

    def size(self, axis: str) -> int:
        """Return how many elements an axis was to have; 1 where it is not used."""
        size = self._axes.get(axis, {}).get("MaxSize", 1)
        return max(1, size) if isinstance(size, int) else 1

    def plane_axes(self) -> str:
        """Return the axes that tell planes apart."""
        return self._order[2:]

    def is_plane_axis(self, axis: str) -> bool:
        """Whether the axis tells planes apart."""
        return axis in self._order[2:]

    def letter(self, axis: str, warn: list[str]) -> str:
        """Return which axis of the file is `axis`: wavelengths are channels."""
        if axis == "C" and self.size("L") > 1:
            warn.append(f"Its {self.size('L')} wavelengths (L) are read as channels")
            return "L"
        return axis

    def check_plane(self, plane: tuple[int, int], where: Path, warn: list[str]) -> None:
        """Refuse planes of another size than stated; warn where they are no X and Y."""
        first, second = self._order[0], self._order[1]
        stated = self.size(second), self.size(first)
        if plane != stated:
            what = "The planes are of another size than the settings state"
            expected = f"{stated} along {second}, {first}"
            raise InputError(what, where=where, expected=expected, found=plane, remedy=_REMEDY)
        if (first, second) != ("X", "Y"):
            warn.append(f"Planes were scanned along {first} and {second}: its Y is {second}")

    def fields(self, shape5: Shape, warn: list[str]) -> dict[str, float]:
        """Return sizes of pixels and the time increment as fields of ImageMetadata."""
        reference = self._get("Reference Image Parameter")
        found: dict[str, float] = {}
        second = self._order[1]
        for axis, key in (("x", "Width"), ("y", "Height")):
            size = _positive(reference.get(f"{key}ConvertValue"))
            unit = str(reference.get(f"{key}Unit", "um"))
            if size and unit in _UNITS_UM and (axis == "x" or second == "Y"):
                found[f"{axis}_um"] = size * _UNITS_UM[unit]
        steps = {"y": second} if second == "Z" else {"z": "Z"}
        for axis, code in steps.items():
            step = self._step(code, _UNITS_UM, warn) if code == second or shape5[2] > 1 else None
            if step:
                found[f"{axis}_um"] = step
        if shape5[0] > 1:
            step = self._step("T", _UNITS_S, warn)
            if step:
                found["time_increment_s"] = step
        return found

    def _step(self, axis: str, units: Mapping[str, float], warn: list[str]) -> float | None:
        """Return the distance from one element of an axis to the next."""
        section = self._axes.get(axis, {})
        unit = str(section.get("UnitName") or section.get("PixUnit") or "")
        step = _positive(section.get("Interval"))
        if not step:
            ends = [section.get(key) for key in ("StartPosition", "EndPosition")]
            if not all(isinstance(end, int | float) for end in ends) or self.size(axis) < 2:
                return None
            step = _positive(abs(ends[1] - ends[0]) / (self.size(axis) - 1))  # type: ignore[operator]
        if step and unit not in units:
            warn.append(f"The interval along {axis} has no known unit: {unit!r}")
            return None
        return step * units[unit] if step else None

    def channels(self, count: int, warn: list[str]) -> tuple[Channel, ...]:
        """Return what is said of the channels that were active; nothing where it does not fit."""
        found = []
        number = 1
        while section := self._get(f"GUI Channel {number} Parameters"):
            if section.get("CH Activate", 1):
                found.append(_channel(section))
            number += 1
        if found and len(found) != count:
            warn.append(
                f"The settings describe {len(found)} active channels and there are {count}: their "
                "names are left out"
            )
        return tuple(found) if len(found) == count else ()


def _channel(section: Mapping[str, Any]) -> Channel:
    names = [str(section.get(key, "")) for key in ("DyeName", "CH Name")]
    name = next((one for one in names if one not in ("", "None")), None)
    waves = {
        key: size
        for key, tag in (("excitation_nm", "Excitation"), ("emission_nm", "Emission"))
        if (size := _positive(section.get(f"{tag}Wavelength")))
    }
    return Channel(name=name, **waves)


def _positive(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and math.isfinite(value) and value > 0
    return float(value) if is_number else None
