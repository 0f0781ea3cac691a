"""Open plates of Operetta and Opera Phenix, as Harmony exports them, by their index."""

from __future__ import annotations

import functools
import math
from pathlib import Path, PureWindowsPath
from typing import Any
from xml.etree import ElementTree as ET

from parfocal.errors import InputError
from parfocal.images.image import Image
from parfocal.images.readers.planes.files import PlaneFilesSource
from parfocal.images.readers.planes.plane_set import PlaneImage, PlaneSet
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

_ROOT = "EvaluationInputData"
_UM = {"m": 1e6, "mm": 1e3, "um": 1.0, "µm": 1.0, "nm": 1e-3}
_S = {"s": 1.0, "ms": 1e-3, "min": 60.0}

_Texts = dict[str, tuple[str, str]]
"""Text and unit of the children of an element, by name."""


class OperettaSource(PlaneFilesSource):
    """``Index.idx.xml``, ``Index.xml`` or ``Index.ref.xml`` of a plate."""

    def _find(self) -> PlaneSet:
        return _read(self.path)


def _read(path: Path) -> PlaneSet:
    stat = path.stat()
    return _parse(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=2)
def _parse(path: Path, size: int, stamp: int) -> PlaneSet:  # noqa: ARG001
    """Read an index; the latest are kept, since all images of a plate need the same one."""
    tree = elements(path)
    root = next(tree)
    if local_name(root) != _ROOT:
        raise unreadable(path, f"a {local_name(root)} element, not {_ROOT}")
    plates: list[str] = []
    maps: dict[str, _Texts] = {}
    images: list[_Texts] = []
    for element in tree:
        kind = local_name(element)
        if kind == "Image" and len(element):
            images.append(_texts(element))
        elif kind == "Plate":
            plates.append(_texts(element).get("Name", ("", ""))[0])
        elif kind == "Entry":
            maps.setdefault(element.get("ChannelID", ""), {}).update(_texts(element))
        if kind in ("Image", "Entry"):
            element.clear()
    if len(plates) > 1:
        raise unreadable(path, f"{len(plates)} plates in one index: {', '.join(plates)}")
    index = Index(path, plates[0] if plates else path.parent.name, [], {}, {}, {}, [])
    try:
        for texts in images:
            _take(index, texts, maps)
    except (KeyError, ValueError) as error:
        raise unreadable(path, f"an image without a valid {error}") from error
    index.texts["harmony.xml"] = path.read_bytes()
    index.own = _size_check(path, images, maps)
    return set_of_records(index)


def _texts(element: ET.Element) -> _Texts:
    return {
        local_name(child): ((child.text or "").strip(), child.get("Unit", "")) for child in element
    }


def _take(index: Index, image: _Texts, maps: dict[str, _Texts]) -> None:
    """Add what the index says about one plane."""
    number = image["ChannelID"][0]
    all_texts = {**maps.get(number, {}), **image}
    index.records.append(
        PlaneRecord(
            well=(int(image["Row"][0]), int(image["Col"][0])),
            field=int(image["FieldID"][0]),
            time=int(image["TimepointID"][0]),
            channel=int(number),
            plane=int(image["PlaneID"][0]),
            path=_file(index.path.parent, image["URL"][0]),
            stage_um=(
                _quantity(image, "PositionZ", _UM),
                _quantity(image, "PositionY", _UM),
                _quantity(image, "PositionX", _UM),
            ),
            seconds=_quantity(image, "MeasurementTimeOffset", _S),
        )
    )
    if int(number) not in index.channels:
        index.channels[int(number)] = _channel(all_texts)
        for key, name in (("y_um", "ImageResolutionY"), ("x_um", "ImageResolutionX")):
            size = _quantity(all_texts, name, _UM)
            known = index.fields.setdefault(key, size)
            if known != size:
                index.warnings.append(f"Channels differ in {name}: that of the first is taken")
        index.fields = {key: size for key, size in index.fields.items() if size and size > 0}


def _file(folder: Path, url: str) -> Path:
    """Return where a file lies; an absolute place is that on the computer of the microscope."""
    if not url:
        msg = "URL"
        raise ValueError(msg)
    plain = url.replace("\\", "/")
    absolute = plain.startswith("/") or "://" in plain or PureWindowsPath(plain).drive
    return folder / plain.rsplit("/", 1)[-1] if absolute else folder / plain


def _quantity(texts: _Texts, name: str, units: dict[str, float]) -> float | None:
    text, unit = texts.get(name, ("", ""))
    try:
        value = round(float(text) * units[unit], 9)
    except (ValueError, KeyError):
        return None
    return value if math.isfinite(value) else None


def _channel(texts: _Texts) -> Channel:
    wavelengths = {
        "excitation_nm": _quantity(texts, "MainExcitationWavelength", {"nm": 1.0}),
        "emission_nm": _quantity(texts, "MainEmissionWavelength", {"nm": 1.0}),
    }
    known = {key: value for key, value in wavelengths.items() if value and value > 0}
    return Channel(name=texts.get("ChannelName", ("", ""))[0] or None, **known)


def _size_check(path: Path, images: list[_Texts], maps: dict[str, _Texts]) -> Any:
    """Return what refuses an image that has not the size that the index says."""
    sizes = set()
    for image in images:
        texts = {**maps.get(image["ChannelID"][0], {}), **image}
        sizes.add(tuple(texts.get(f"ImageSize{axis}", ("", ""))[0] for axis in "YX"))

    def check(image: PlaneImage, first: Image) -> dict[str, Any]:
        found = tuple(map(str, first.shape5[3:]))
        if found not in sizes and all(all(size) for size in sizes):
            what = "A file of the plate has not the size that the index says"
            where = f"{path}, {image.place}: {image.files[0, 0, 0]}"
            expected = " or ".join(f"{y} x {x}" for y, x in sorted(sizes))
            raise InputError(what, where=where, expected=expected, found=" x ".join(found))
        return {}

    return check


open_source = OperettaSource
