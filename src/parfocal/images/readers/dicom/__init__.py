"""Open DICOM: whole slides with all files of their series, and other images of one file each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from parfocal.errors import InputError
from parfocal.images.image import Image, ImageEntry
from parfocal.images.libraries import library
from parfocal.images.readers.dicom.codecs import is_lossy
from parfocal.images.readers.dicom.file import DAMAGE, DAMAGED, DicomFile
from parfocal.images.readers.dicom.metadata import describe_slide, describe_stack
from parfocal.images.readers.dicom.pixels import DicomPixels
from parfocal.images.readers.dicom.slide import find_members, gather_tiles, is_full, is_slide
from parfocal.images.readers.source import Source
from parfocal.models.image import ImageMetadata

__all__ = ["open_source"]

_RLE = "1.2.840.10008.1.2.5"


class DicomSource(Source):
    """A DICOM file, or the full resolution of the slide that it is a part of."""

    def _open(self) -> None:
        self._file = DicomFile(self.path)
        self._held.callback(self._file.close)
        self._members: list[Path] = []
        self._others: list[tuple[Path, str]] = []
        if is_slide(self._file.header):
            with self._reading():
                self._members, self._others = find_members(self.path)
        self.aside = tuple(kind for _, kind in self._others if kind != "VOLUME")

    def other_files(self) -> list[Path]:
        """Return the other files of the slide that a file is a part of."""
        return sorted({*self._members, *(one for one, _ in self._others)} - {self.path})

    def entries(self) -> list[ImageEntry]:
        """List the image, and the series that it is one file of."""
        (entry,) = super().entries()
        if self._members or self._file.frames > 1:
            return [entry]
        return [replace(entry, group=str(self._file.header.get("SeriesInstanceUID") or ""))]

    def image(self, place: int) -> Image:  # noqa: ARG002
        """Return the image.

        Raises
        ------
        InputError
            If it is damaged, its pixels cannot be kept, or files of the slide are missing or do
            not fit together.
        """
        with self._reading():
            return self._slide() if self._members else self._stack()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except DAMAGE as error:
            what = "The DICOM file is damaged, or of an unknown kind"
            raise InputError(what, where=self.path, found=error, remedy=DAMAGED) from error

    def _slide(self) -> Image:
        files = []
        for member in self._members:
            files.append(self._file if member == self.path else DicomFile(member))
            self._held.callback(files[-1].close)
        slide = gather_tiles(files)
        name = self.path.name
        warn = _warnings(files)
        if self.aside:
            pictures = ", ".join(self.aside)
            warn.append(f"{name} has pictures of the slide beside it, left out: {pictures}")
        if slide.missing:
            warn.append(f"{slide.missing} tiles of {name} are not stored: they are read as 0")
        metadata = describe_slide(files[0], slide, self.path, self.options.axes)
        return _image(files[0], DicomPixels(slide.shape5, slide.frames), metadata, warn)

    def _stack(self) -> Image:
        file = self._file
        warn = _warnings([file])
        metadata = describe_stack(file, self.path, self.options.axes, warn)
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
        return _image(file, DicomPixels(metadata.shape5, frames), metadata, warn)


def _image(file: DicomFile, pixels: DicomPixels, metadata: ImageMetadata, warn: list[str]) -> Image:
    return Image(
        metadata=metadata,
        pyramid=(pixels,),
        block5=pixels.block5,
        reader=library("pydicom"),
        lossy=is_lossy(file.syntax),
        warnings=tuple(warn),
        original_metadata={"dicom.json": _json(file.json)},
        misread_by=_misread_by(file, metadata),
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


def _misread_by(file: DicomFile, metadata: ImageMetadata) -> dict[str, str]:
    """Tell what Bio-Formats is known to read wrongly."""
    told = []
    if file.photometric == "MONOCHROME1":
        told.append("it inverts pixels of which 0 means white")
    if file.syntax == _RLE:
        told.append("it loses the end of frames that are run-length encoded")
    if metadata.size("T") > 1:
        told.append("it takes time points for planes along Z")
    several = metadata.size("Z") > 1 or metadata.size("C") > file.samples
    if several and is_slide(file.header) and not is_full(file.header):
        told.append("it overlooks at which depth and on which path tiles were taken")
    return {"bioformats": "; ".join(told)} if told else {}


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True).encode() + b"\n"


open_source = DicomSource
