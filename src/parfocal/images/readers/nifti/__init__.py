"""Open NIfTI-1 and NIfTI-2 files (nii, nii.gz).

Values are kept as they are stored: slope and intercept are told, not applied. Voxels are kept in
the order in which they are stored: the orientation is in the original metadata.
"""

from __future__ import annotations

import gzip
import math
import os
import tempfile
import zlib
from pathlib import Path
from typing import IO, Any

from parfocal.errors import InputError
from parfocal.images.image import Image, ImageEntry
from parfocal.images.libraries import library
from parfocal.images.rawfile import RawFile, storage_error
from parfocal.images.readers.dimensions import (
    check_extent,
    kept_axes,
    positive,
    rows_block,
    to_json,
)
from parfocal.images.readers.nifti.header import NiftiHeader, parse_header
from parfocal.images.readers.source import Source
from parfocal.images.readers.tiff.axes import TiffLayout, interpret_axes
from parfocal.images.readers.tiff.pixels import ContiguousPixels
from parfocal.models.image import Channel, ImageMetadata

__all__ = ["open_source"]

_HEAD_BYTES = 544
_COPY_BYTES = 2**20
_GZIP = b"\x1f\x8b"
_RGB = (("Red", "FF0000"), ("Green", "00FF00"), ("Blue", "0000FF"), ("Alpha", None))
_DAMAGED = "The file is truncated or damaged: copy or download it again."


class NiftiSource(Source):
    """A NIfTI file, which holds one image."""

    def entries(self) -> list[ImageEntry]:
        """List the image; only its header is read."""
        header = parse_header(_head(self.path), self.path)
        layout = _layout(self.path, header, self.options.axes, [])
        return [ImageEntry("0", _describe(self.path, header, layout, []))]

    def image(self, place: int) -> Image:  # noqa: ARG002
        """Return the image; a compressed file is decompressed into a temporary one.

        Raises
        ------
        InputError
            If it is damaged, or its axes or values are not supported.
        StorageError
            If there is no room for the temporary file.
        """
        path = self.path
        header = parse_header(_head(path), path)
        warn: list[str] = []
        layout = _layout(path, header, self.options.axes, warn)
        metadata = _describe(path, header, layout, warn)
        file = _decompressed(path) if _is_gzip(path) else RawFile(path)
        self._held.callback(file.close)
        pixel_bytes = layout.size("S") * header.dtype.itemsize
        needed = header.offset + math.prod(layout.sizes) * header.dtype.itemsize
        check_extent(file, needed, layout.size("Y") * layout.size("X") * pixel_bytes, warn)
        extensions = file.read_bytes(header.size, header.offset - header.size)
        texts = {"nifti.json": to_json(header.fields)}
        if any(extensions[:1]):
            texts["nifti-extensions.bin"] = extensions
        return Image(
            metadata=metadata,
            pyramid=(ContiguousPixels(layout, header.dtype, file, header.offset),),
            block5=rows_block(layout.shape5, pixel_bytes),
            reader=library("nibabel"),
            warnings=tuple(warn),
            original_metadata=texts,
            misread_by=_misread_by(header, layout),
        )


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == _GZIP


def _head(path: Path) -> bytes:
    """Return the first bytes, decompressed."""
    with path.open("rb") as file:
        if not _is_gzip(path):
            return file.read(_HEAD_BYTES)
        try:
            with gzip.open(file) as decompressed:
                return decompressed.read(_HEAD_BYTES)
        except (EOFError, OSError, zlib.error) as error:
            raise _bad_gzip(path, error) from error


def _bad_gzip(path: Path, error: Exception) -> InputError:
    what = "The compressed file cannot be read"
    return InputError(what, where=path, found=error, remedy=_DAMAGED)


def _decompressed(path: Path) -> RawFile:
    """Return the decompressed content as a file without a name, which goes when it is closed."""
    descriptor, name = tempfile.mkstemp(prefix="parfocal-", suffix=".nii")
    scratch = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as out, gzip.open(path) as file:
            _copy(file, out, path, scratch)
        found = RawFile(scratch)
    finally:
        scratch.unlink()
    found.path = path  # what errors tell
    return found


def _copy(file: gzip.GzipFile, out: IO[bytes], path: Path, scratch: Path) -> None:
    while True:
        try:
            content = file.read(_COPY_BYTES)
        except (EOFError, OSError, zlib.error) as error:
            raise _bad_gzip(path, error) from error
        if not content:
            break
        try:
            out.write(content)
            out.flush()
        except OSError as error:
            raise storage_error(error, scratch) from error


def _layout(path: Path, header: NiftiHeader, stated: str | None, warn: list[str]) -> TiffLayout:
    """Return the axes, the slowest first; NIfTI states the fastest first."""
    sizes = [*header.sizes, *[1] * (7 - len(header.sizes))][::-1]
    letters = "UVCTZYX"  # the sixth and the seventh have no meaning here
    if header.spectral and header.sizes[3:4] > (1,) and stated is None:
        what = "The fourth axis of the NIfTI file is no time"
        remedy = "State what the axes are, such as --set axes=CZYX."
        raise InputError(what, where=path, found=header.spectral, remedy=remedy)
    layout = interpret_axes(letters, sizes, stated, path, warn)
    if header.samples > 1:
        layout = TiffLayout(f"{layout.axes}S", (*layout.sizes, header.samples))
    return layout


def _misread_by(header: NiftiHeader, layout: TiffLayout) -> dict[str, str]:
    """Tell what Bio-Formats reads in another way than the standard states."""
    if header.samples > 1:
        return {"bioformats": "it takes colours for signed numbers"}
    if layout.size("C") > 1 and max(layout.size("T"), layout.size("Z")) > 1:
        return {"bioformats": "it takes the fifth axis for faster than the third and the fourth"}
    return {}


def _describe(
    path: Path, header: NiftiHeader, layout: TiffLayout, warn: list[str]
) -> ImageMetadata:
    warn += header.notes(path.name)
    known: dict[str, Any] = {}
    if header.unit_um is not None:
        steps = [positive(step) for step in header.steps[:3]]
        known = {
            f"{axis}_um": step * header.unit_um
            for axis, step in zip("xyz", steps, strict=False)
            if step is not None
        }
    elif any(step not in (0, 1) for step in header.steps[:3]):
        sizes = ", ".join(f"{step:g}" for step in header.steps[:3])
        warn.append(f"{path.name} states voxels of {sizes} without a unit: sizes are left out")
    step = positive(header.steps[3]) if len(header.steps) > 3 else None
    if layout.size("T") > 1 and header.unit_s is not None and step is not None:
        known["time_increment_s"] = step * header.unit_s
    count = layout.shape5[1]
    colored = header.samples > 1 and count == header.samples
    return ImageMetadata(
        name=path.name,
        dtype=header.dtype.name,
        channels=tuple(Channel(name=n, color=c) for n, c in _RGB[:count]) if colored else (),
        rgb=colored and count == 3,
        **kept_axes(layout.shape5),
        **known,
    )


open_source = NiftiSource
