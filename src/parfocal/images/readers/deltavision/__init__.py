"""Open DeltaVision files (DV, R3D, D3D).

The pixels lie uncompressed, so they are read from the file as regions ask for them. The
library mrc would map the file instead, takes sequences that it does not know for ZTW, and
reads big endian extended headers in the wrong byte order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from parfocal.images.image import Image
from parfocal.images.libraries import library
from parfocal.images.rawfile import RawFile
from parfocal.images.readers.deltavision.header import DeltaVisionHeader, read_header
from parfocal.images.readers.dimensions import (
    FlippedRows,
    kept_axes,
    positive,
    regular_interval,
    rows_block,
    to_json,
)
from parfocal.images.readers.source import Source
from parfocal.images.readers.tiff.axes import TiffLayout
from parfocal.images.readers.tiff.pixels import ContiguousPixels
from parfocal.models.image import Channel, ImageMetadata

__all__ = ["open_source"]


class DeltaVisionSource(Source):
    """A DeltaVision file, which holds one image.

    Sections are stored from the bottom row to the top one; the top row is returned first.
    """

    def other_files(self) -> list[Path]:
        """Return the log that the microscope wrote beside the file, where there is one."""
        log = _log(self.path)
        return [log] if log.is_file() else []

    def image(self, place: int) -> Image:  # noqa: ARG002
        """Return the image."""
        file = RawFile(self.path)
        self._held.callback(file.close)
        warn: list[str] = []
        header = read_header(file, warn)
        layout = TiffLayout(header.axes, tuple(header.sizes[axis] for axis in header.axes))
        content = {"header": header.fields, "sections": header.sections}
        texts = {"deltavision.json": to_json(content)}
        if _log(self.path).is_file():
            texts["deltavision.log"] = _log(self.path).read_bytes()
        return Image(
            metadata=_describe(self.path, header, layout, warn),
            pyramid=(FlippedRows(ContiguousPixels(layout, header.dtype, file, header.offset)),),
            block5=rows_block(layout.shape5, header.dtype.itemsize),
            reader=library("parfocal", "Parfocal's DeltaVision reader"),
            warnings=tuple(warn),
            original_metadata=texts,
            misread_by=_misread_by(header),
        )


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}.log")


def _misread_by(header: DeltaVisionHeader) -> dict[str, str]:
    """Tell where Bio-Formats divides a time series, if the stage is elsewhere at each time."""
    times = header.sizes["T"]
    if times > 1 and _count_places(header) == times:
        return {"bioformats": "it takes times at other places of the stage for other images"}
    return {}


def _count_places(header: DeltaVisionHeader) -> int:
    """Return at how many places (X, Y) the stage was in all time points."""
    if not header.sections:
        return 0
    places = [header.sections[f"stage_{axis}_um"][:, 0, 0] for axis in "xy"]
    return int(np.unique(np.stack(places), axis=1).shape[1])


def _describe(
    path: Path, header: DeltaVisionHeader, layout: TiffLayout, warn: list[str]
) -> ImageMetadata:
    fields = header.fields
    sizes = {f"{axis}_um": positive(fields[f"d{axis}"]) for axis in "xyz"}
    return ImageMetadata(
        name=path.name,
        dtype=header.dtype.name,
        channels=_channels(header),
        time_increment_s=_interval(header, warn),
        **kept_axes(layout.shape5),
        **sizes,
        **_stage(header, warn),
    )


def _channels(header: DeltaVisionHeader) -> tuple[Channel, ...]:
    """Return the wavelengths; the header has room for those of five channels."""
    found = []
    for c in range(header.sizes["C"]):
        emission = header.fields[f"wave{c + 1}"] if c < 5 else 0
        excitation = None
        if header.sections:
            excitation = positive(float(header.sections["excitation_nm"][0, c, 0]))
        found.append(Channel(emission_nm=positive(emission), excitation_nm=excitation))
    return tuple(found) if any(one != Channel() for one in found) else ()


def _interval(header: DeltaVisionHeader, warn: list[str]) -> float | None:
    if header.sizes["T"] == 1 or not header.sections:
        return None
    times = header.sections["time_s"][:, 0, 0]
    interval = regular_interval(times.tolist())
    if interval is None and times.any():
        warn.append("The times of the DeltaVision file are not regular: no interval is stated")
    return interval


def _stage(header: DeltaVisionHeader, warn: list[str]) -> dict[str, float]:
    """Return where the stage was for the first section."""
    if not header.sections:
        return {}
    places: dict[str, Any] = {axis: header.sections[f"stage_{axis}_um"] for axis in "xyz"}
    if not any(place.any() for place in places.values()):
        return {}
    if not all(np.isfinite(place).all() for place in places.values()):
        warn.append("The extended header has places of the stage that are no numbers: left out")
        return {}
    moved = _count_places(header)
    if moved > 1:
        warn.append(
            f"The stage was at {moved} places in the {header.sizes['T']} time points, which "
            "may be positions or tiles of a mosaic: they are kept as T"
        )
    return {f"stage_{axis}_um": float(place[0, 0, 0]) for axis, place in places.items()}


open_source = DeltaVisionSource
