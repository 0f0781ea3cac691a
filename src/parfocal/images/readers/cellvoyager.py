"""Open plates of Yokogawa CellVoyager (CV7000, CV8000) by their measurement files."""

from __future__ import annotations

import functools
import math
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree as ET

from parfocal.errors import InputError
from parfocal.images.readers.planes.files import PlaneFilesSource
from parfocal.images.readers.planes.plane_set import PlaneSet
from parfocal.images.readers.planes.records import (
    Index,
    PlaneRecord,
    elements,
    local_name,
    set_of_records,
    unreadable,
)
from parfocal.models.image import Channel

__all__ = ["open_source"]

_INDEX = "MeasurementData.mlf"
_DETAIL = "MeasurementDetail.mrf"


class CellVoyagerSource(PlaneFilesSource):
    """``MeasurementData.mlf`` of a plate, or the ``.wpi`` file beside it."""

    def _find(self) -> PlaneSet:
        return _read(self.path)

    def other_files(self) -> list[Path]:
        """Return the TIFFs, there or missing, the settings, and the dark and flat fields."""
        files = self.planes.files()
        settings = {".mlf", ".mrf", ".mes", ".wpi", ".wpp", ".ppf"}
        for file in self.path.parent.iterdir():
            corrections = file.name.startswith(("DC_", "SC_")) and file.suffix.lower() == ".tif"
            if corrections or file.suffix.lower() in settings:
                files.add(file)
        return sorted(files - {self.path})


def _read(path: Path) -> PlaneSet:
    index = path if path.suffix.lower() == ".mlf" else path.with_name(_INDEX)
    if not index.is_file():
        what = "The plate has no index of its measurements"
        remedy = "Copy the whole folder of the plate again."
        raise InputError(what, where=path, expected=index, remedy=remedy)
    beside = sorted(
        file for file in path.parent.iterdir() if file.suffix.lower() in (".mrf", ".mes", ".wpi")
    )
    stamps = tuple((file, file.stat().st_mtime_ns) for file in [index, *beside])
    return _parse(index, stamps)


@functools.lru_cache(maxsize=2)
def _parse(path: Path, stamps: tuple[tuple[Path, int], ...]) -> PlaneSet:
    """Read an index; the latest are kept, since all images of a plate need the same one."""
    index = Index(path, path.parent.name, [], {}, {}, {}, [])
    tree = elements(path)
    if local_name(next(tree)) != "MeasurementData":
        raise unreadable(path, "no MeasurementData element")
    errors: list[str] = []
    try:
        for element in tree:
            if local_name(element) == "MeasurementRecord":
                _take(index, element, errors)
                element.clear()
    except (KeyError, ValueError) as error:
        raise unreadable(path, f"a record without a valid {error}") from error
    if errors:
        index.warnings.append(f"{path.name} tells {len(errors)} errors, the first: {errors[0]}")
    _take_settings(index, [file for file, _ in stamps[1:]])
    index.texts[path.name] = path.read_bytes()
    return set_of_records(index)


def _attributes(element: ET.Element) -> dict[str, str]:
    """Return the attributes by their names without namespace."""
    return {key.rpartition("}")[2]: value for key, value in element.items()}


def _take(index: Index, element: ET.Element, errors: list[str]) -> None:
    """Add what the index says about one plane, or the error that it tells in its place."""
    values = _attributes(element)
    text = (element.text or "").strip()
    if values.get("Type") != "IMG":
        errors.append(text or str(values.get("Type")))
        return
    if not text:
        msg = "file name"
        raise ValueError(msg)
    index.records.append(
        PlaneRecord(
            well=(int(values["Row"]), int(values["Column"])),
            field=int(values["FieldIndex"]),
            time=int(values["TimePoint"]),
            channel=int(values["Ch"]),
            plane=int(values["ZIndex"]),
            path=index.path.parent / text.replace("\\", "/"),
            stage_um=(_number(values, "Z"), _number(values, "Y"), _number(values, "X")),
            seconds=_seconds(values.get("Time", "")),
        )
    )


def _number(values: dict[str, str], key: str) -> float | None:
    try:
        number = float(values[key])
    except (KeyError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _seconds(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _take_settings(index: Index, files: list[Path]) -> None:
    """Add names, sizes and channels from the files beside the index."""
    lights: dict[str, float] = {}
    for file in files:
        index.texts[file.name] = file.read_bytes()
        for element in elements(file):
            kind, values = local_name(element), _attributes(element)
            if kind == "WellPlate" and values.get("Name"):
                index.plate = values["Name"]
            elif kind == "MeasurementChannel":
                _take_sizes(index, values)
            elif kind == "LightSource":
                wavelength = _number(values, "WaveLength")
                if wavelength and wavelength > 0:
                    lights[values.get("Name", "")] = wavelength
            elif kind == "Channel" and values.get("Ch", "").isdecimal():
                index.channels[int(values["Ch"])] = _channel(element, values, lights)
    names = {file.name.lower() for file in files}
    if _DETAIL.lower() not in names:
        index.warnings.append(f"{_DETAIL} is not there: the size of pixels is left out")


def _take_sizes(index: Index, values: dict[str, str]) -> None:
    keys = {"y_um": "VerticalPixelDimension", "x_um": "HorizontalPixelDimension"}
    for key, name in keys.items():
        size = _number(values, name)
        if size is not None and size > 0 and index.fields.setdefault(key, size) != size:
            index.warnings.append(f"Channels differ in {name}: that of the first is taken")


def _channel(element: ET.Element, values: dict[str, str], lights: dict[str, float]) -> Channel:
    """Read a channel of the settings: its colour is #AARRGGBB."""
    own = [(child.text or "").strip() for child in element]
    waves = {lights[name] for name in own if name in lights}
    color = values.get("Color", "").lstrip("#")[-6:].upper()
    return Channel(
        name=values.get("Target") or values.get("Acquisition") or None,
        color=color if len(color) == 6 and not set(color) - set("0123456789ABCDEF") else None,
        excitation_nm=waves.pop() if len(waves) == 1 else None,
    )


open_source = CellVoyagerSource
