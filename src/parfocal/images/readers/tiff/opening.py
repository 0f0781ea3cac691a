"""Open TIFF files, and the sets of them that a companion file or one of them describes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from parfocal.errors import InputError
from parfocal.images.readers.listening import listening
from parfocal.images.readers.tiff.pixels import DAMAGE

__all__ = ["DAMAGED", "OpenTiff", "open_tiff"]

DAMAGED = "The file is truncated or damaged: copy, download or save it again."
_COMPANION = ".companion.ome"


@dataclass(frozen=True)
class OpenTiff:
    """A TIFF whose pages are known.

    Parameters
    ----------
    tiff : tifffile.TiffFile
        The open file; the first of a set.
    series : list of tifffile.TiffPageSeries
        All that it holds.
    ome_xml : str or None
        What describes its images.
    named : tuple of Path
        The files that the OME-XML names, there or missing, and the companion that holds it.
    warnings : tuple of str
        What tifffile says about it.
    """

    tiff: Any
    series: list[Any]
    ome_xml: str | None
    named: tuple[Path, ...]
    warnings: tuple[str, ...]


def open_tiff(path: Path) -> OpenTiff:
    """Open a TIFF, or the companion file of several; a TIFF that names a companion goes by it.

    Raises
    ------
    InputError
        If it is damaged, no TIFF, or the companion or all TIFFs of it are missing.

    Source: OME-TIFF specification, ``BinaryOnly`` and ``TiffData/UUID``.
    """
    if path.name.lower().endswith(_COMPANION):
        return _open_set(path)
    opened = _open(path, None)
    if opened.ome_xml is None:
        return opened
    root = _parsed(opened.ome_xml)
    only = None if root is None else root.find("{*}BinaryOnly")
    if only is None:
        return replace(opened, named=() if root is None else _named(root, path.parent))
    opened.tiff.close()
    companion = path.parent / only.get("MetadataFile", "").replace("\\", "/")
    if not companion.is_file():
        what = "The TIFF is described by a companion file, which is missing"
        remedy = "Put all files of the set into one folder."
        raise InputError(what, where=path, expected=companion.name or "its name", remedy=remedy)
    found = _open_set(companion)
    return replace(found, named=(*found.named, companion))


def _open_set(companion: Path) -> OpenTiff:
    """Open the first TIFF of those that a companion file describes, with all their images."""
    try:
        text = companion.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        what = "The companion file cannot be read"
        raise InputError(what, where=companion, found=error, remedy=DAMAGED) from error
    root = _parsed(text)
    if root is None:
        what = "The companion file is no OME-XML"
        raise InputError(what, where=companion, remedy=DAMAGED)
    named = _named(root, companion.parent)
    there = [path for path in named if path.is_file()]
    if not there:
        what = "The companion file names no TIFF that is there"
        found = f"{len(named)} names"
        remedy = "Put all files of the set into one folder."
        raise InputError(
            what, where=companion, expected="TIFFs beside it", found=found, remedy=remedy
        )
    for element in root.iter():
        if element.get("FileName") and element.tag.endswith("UUID"):
            # Whole paths are found from wherever the first TIFF lies.
            element.set("FileName", str(_beside(companion.parent, element).absolute()))
    opened = _open(there[0], ET.tostring(root, encoding="unicode"))
    return replace(opened, ome_xml=text, named=named)


def _parsed(text: str) -> ET.Element | None:
    try:
        return ET.fromstring(text)  # noqa: S314 - expat limits expansion of entities
    except ET.ParseError:
        return None


def _beside(folder: Path, element: ET.Element) -> Path:
    return folder / element.get("FileName", "").replace("\\", "/")


def _named(root: ET.Element, folder: Path) -> tuple[Path, ...]:
    """Return the files that an OME-XML says planes lie in; one that was renamed is not missing."""
    own = (root.get("UUID") or "").strip()
    elements = [
        element
        for element in root.iterfind("{*}Image/{*}Pixels/{*}TiffData/{*}UUID")
        if element.get("FileName") and (not own or (element.text or "").strip() != own)
    ]
    return tuple(dict.fromkeys(_beside(folder, element) for element in elements))


def _open(path: Path, ome_xml: str | None) -> OpenTiff:
    """Open one file; `ome_xml` goes before its own."""
    import tifffile

    stated = {"omexml": ome_xml, "is_ome": True} if ome_xml is not None else {}
    tiff: Any = None
    try:
        with listening("tifffile") as heard:  # it tells damage by logging it
            tiff = tifffile.TiffFile(path, **stated)
            found = list(tiff.series)
            for one in found:
                _ = one.dataoffset
            text = tiff.ome_metadata
    except (tifffile.TiffFileError, OSError, *DAMAGE) as error:
        if tiff is not None:
            tiff.close()
        what = "The TIFF cannot be read"
        raise InputError(what, where=path, found=error, remedy=DAMAGED) from error
    if heard.errors or not found:
        tiff.close()
        what = "The TIFF is damaged"
        shown = "; ".join(heard.errors) or "no image in it"
        raise InputError(what, where=path, found=shown, remedy=DAMAGED)
    return OpenTiff(tiff, found, text or None, (), tuple(heard.warnings))
