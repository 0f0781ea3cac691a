"""What a BigDataViewer file (h5 with an xml beside it) holds.

Each setup, a view of the sample at one angle, tile, channel and illumination, is an image; views
are registered by the XML, which is kept but not applied.

Source: the data format of BigDataViewer, as its documentation describes it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from parfocal.errors import InputError
from parfocal.images.readers.dimensions import positive

__all__ = [
    "Setup",
    "describe_setups",
    "find_setups",
    "is_bigdataviewer",
    "xml_beside",
]

_UNITS_UM = {"m": 1e6, "mm": 1e3, "um": 1.0, "µm": 1.0, "micron": 1.0, "nm": 1e-3}
_UNITS_UM |= {"micrometer": 1.0, "microns": 1.0, "μm": 1.0}


@dataclass(frozen=True)
class Setup:
    """One setup.

    Parameters
    ----------
    name : str
        Such as ``s00``.
    datasets : list of str
        One a time point.
    """

    name: str
    datasets: list[str]


def is_bigdataviewer(file: Any) -> bool:
    """Tell whether an open HDF5 file is one of BigDataViewer."""
    return "t00000" in file and any(re.fullmatch(r"s\d{2,}", name) for name in file)


def xml_beside(path: Path) -> Path:
    """Return where the XML of a file is."""
    return path.with_suffix(".xml")


def _times(file: Any) -> list[str]:
    return sorted(name for name in file if re.fullmatch(r"t\d{5,}", name))


def find_setups(file: Any, path: Path) -> list[Setup]:
    """List the setups in the order of their numbers.

    Raises
    ------
    InputError
        If one lacks a time point that another has.
    """
    setups = sorted(name for name in file if re.fullmatch(r"s\d{2,}", name))
    found = []
    for setup in setups:
        names = [f"{time}/{setup}/0/cells" for time in _times(file)]
        missing = [name for name in names if name not in file]
        if missing:
            what = "A time point is missing in the BigDataViewer file"
            where = f"{path}, dataset {missing[0]}"
            remedy = "Put all its files into one folder, or save it again."
            raise InputError(what, where=where, remedy=remedy)
        found.append(Setup(setup, names))
    return found


def describe_setups(path: Path, warn: list[str]) -> dict[str, dict[str, Any]]:
    """Return for setups of the XML their fields of ImageMetadata; none where there is no XML."""
    xml = xml_beside(path)
    if not xml.is_file():
        warn.append(f"There is no {xml.name} beside {path.name}: the sizes of voxels are not known")
        return {}
    try:
        root = ET.fromstring(xml.read_text(encoding="utf-8"))  # noqa: S314 - expat limits entities
    except (ET.ParseError, UnicodeDecodeError) as error:
        warn.append(f"{xml.name} cannot be read and is left out: {error}")
        return {}
    described = {}
    for setup in root.iterfind(".//ViewSetup"):
        number = (setup.findtext("id") or "").strip()
        if number.isdecimal():
            described[f"s{int(number):02}"] = _fields(setup, xml, warn)
    return described


def _fields(setup: ET.Element, xml: Path, warn: list[str]) -> dict[str, Any]:
    name = (setup.findtext("name") or "").strip()
    fields: dict[str, Any] = {"name": name} if name else {}
    unit = (setup.findtext("voxelSize/unit") or "").strip()
    texts = (setup.findtext("voxelSize/size") or "").split()
    if not texts:
        return fields
    try:
        sizes = [positive(float(text) * _UNITS_UM[unit]) for text in texts]
    except (ValueError, KeyError):
        warn.append(f"{xml.name} states voxels of {' '.join(texts)} {unit!r}: they are left out")
        return fields
    return fields | {f"{axis}_um": size for axis, size in zip("xyz", sizes, strict=False)}
