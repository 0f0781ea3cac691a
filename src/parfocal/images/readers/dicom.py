"""Open DICOM: whole slides with all files of their series, and other images of one file each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from parfocal.errors import InputError
from parfocal.images.image import Image, ImageEntry
from parfocal.images.libraries import library
from parfocal.images.readers.dicom_codecs import is_lossy
from parfocal.images.readers.dicom_file import DAMAGE, DAMAGED, DicomFile
from parfocal.images.readers.dicom_metadata import describe_slide, describe_stack
from parfocal.images.readers.dicom_pixels import DicomPixels
from parfocal.images.readers.dicom_slide import find_members, gather_tiles, is_slide
from parfocal.images.readers.registry import ReadOptions
from parfocal.images.readers.series import choose_series
from parfocal.models.image import ImageMetadata

__all__ = ["list_series", "open_series", "other_files"]


def list_series(path: Path) -> list[ImageEntry]:
    """List the one image of a DICOM file, or of the slide that it is a part of.

    Raises
    ------
    InputError
        If it is damaged, or its pixels cannot be kept.
    """
    with open_series(path, "", ReadOptions()) as image:
        return [ImageEntry("0", image.metadata, _aside(path))]


def open_series(path: Path, series: str, options: ReadOptions) -> Image:
    """Open a DICOM file, or the full resolution of the slide that it is a part of.

    Raises
    ------
    InputError
        If it is damaged, its pixels cannot be kept, files of the slide are missing or do not
        fit together, or `series` is not its only image, ``0``.
    """
    choose_series(path, series, ["0"])
    with ExitStack() as undo:
        opened = DicomFile(path)
        undo.callback(opened.close)
        try:
            if is_slide(opened.header):
                image = _open_slide(path, opened, options, undo)
            else:
                image = _open_stack(path, opened, options)
        except DAMAGE as error:
            what = "The DICOM file is damaged, or of an unknown kind"
            raise InputError(what, where=path, found=error, remedy=DAMAGED) from error
        undo.pop_all()
    return image


def other_files(path: Path) -> list[Path]:
    """Return the other files of the slide that a file is a part of.

    Raises
    ------
    InputError
        If it is damaged, or no file of the scan itself is there.
    """
    file = DicomFile(path)
    file.close()
    if not is_slide(file.header):
        return []
    full, others = find_members(path)
    return sorted({*full, *(one for one, _ in others)} - {path})


def _aside(path: Path) -> tuple[str, ...]:
    file = DicomFile(path)
    file.close()
    if not is_slide(file.header):
        return ()
    _, others = find_members(path)
    return tuple(kind for _, kind in others if kind != "VOLUME")


def _open_slide(path: Path, opened: DicomFile, options: ReadOptions, undo: ExitStack) -> Image:
    members, others = find_members(path)
    files = []
    for member in members:
        files.append(opened if member == path else DicomFile(member))
        undo.callback(files[-1].close)
    slide = gather_tiles(files)
    pixels = DicomPixels(slide.shape5, slide.frames)
    warn = _warnings(files)
    pictures = ", ".join(kind for _, kind in others if kind != "VOLUME")
    if pictures:
        warn.append(f"{path.name} has pictures of the slide beside it, left out: {pictures}")
    if slide.missing:
        warn.append(f"{slide.missing} tiles of {path.name} are not stored: they are read as 0")
    metadata = describe_slide(files[0], slide, path, options.axes)
    return _image(files, pixels, metadata, warn)


def _open_stack(path: Path, file: DicomFile, options: ReadOptions) -> Image:
    warn = _warnings([file])
    metadata = describe_stack(file, path, options.axes, warn)
    axis = next((axis for axis in metadata.axes if axis in "TZ"), "C")
    frames = {
        (
            number if axis == "T" else 0,
            number if axis == "C" else 0,
            number if axis == "Z" else 0,
            0,
            0,
        ): (file, number)
        for number in range(file.frames)
    }
    return _image([file], DicomPixels(metadata.shape5, frames), metadata, warn)


def _image(
    files: Sequence[DicomFile], pixels: DicomPixels, metadata: ImageMetadata, warn: list[str]
) -> Image:
    def close() -> None:
        for file in files:
            file.close()

    return Image(
        metadata=metadata,
        pyramid=(pixels,),
        block5=pixels.block5,
        reader=library("pydicom"),
        lossy=is_lossy(files[0].syntax),
        warnings=tuple(warn),
        original_metadata={"dicom.json": _json(files[0].json)},
        close=close,
    )


def _warnings(files: Sequence[DicomFile]) -> list[str]:
    """Return what is to be known about the pixels, and about the header that is kept."""
    header, name = files[0].header, files[0].path.name
    warn = [text for file in files for text in file.warnings]
    if header.get("LossyImageCompression") == "01" or is_lossy(files[0].syntax):
        warn.append(f"{name} was compressed with loss: its pixels are those that are left")
    if files[0].photometric == "MONOCHROME1":
        warn.append(f"In {name} 0 means white: pixels are kept as they are, not inverted")
    if files[0].photometric == "PALETTE COLOR":
        warn.append(f"{name} has a palette: pixels are the numbers of colours, not colours")
    if files[0].bits == 1:
        warn.append(f"{name} has 1 bit a pixel: it is read as uint8, 0 and 1")
    slope, intercept = _rescaling(header)
    if (slope, intercept) != (1, 0):
        warn.append(
            f"{name} states values of {slope:g} x pixel + {intercept:g}: pixels are kept as stored"
        )
    if header.get("PatientName") or header.get("PatientID"):
        warn.append(f"{name} names a patient: the header is kept as it is in OME/dicom.json")
    return warn


def _rescaling(header: Any) -> tuple[float, float]:
    places = [header]
    for shared in header.get("SharedFunctionalGroupsSequence", ()):
        places += shared.get("PixelValueTransformationSequence", ())
    for place in places:
        if "RescaleSlope" in place:
            return float(place.RescaleSlope), float(place.get("RescaleIntercept", 0) or 0)
    return 1, 0


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True).encode() + b"\n"
