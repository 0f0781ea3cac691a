"""Read what Bio-Formats reads: its many formats, and ours once more to prove a conversion."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Region, Shape, region_shape
from parfocal.errors import InputError
from parfocal.images.image import Image, ImageEntry
from parfocal.images.ome_xml import OmeImage, parse_ome_xml
from parfocal.images.readers.bioformats.java import BioFormats, start
from parfocal.images.readers.bioformats.metadata import describe, drop_forbidden, find_wells
from parfocal.images.readers.dimensions import kept_axes
from parfocal.images.readers.source import Source
from parfocal.models.image import ImageMetadata

__all__ = ["BioFormatsSource", "open_source"]

_BAND_BYTES = 32 * 2**20
_BLOCK_BYTES = 8 * 2**20
_DTYPES = {
    "int8": "i1",
    "uint8": "u1",
    "int16": "i2",
    "uint16": "u2",
    "int32": "i4",
    "uint32": "u4",
    "float": "f4",
    "double": "f8",
    "bit": "u1",
}
_DAMAGED = "The file is truncated or damaged: copy, download or save it again."


class BioFormatsSource(Source):
    """A source opened by Bio-Formats, which knows its axes and counts its images."""

    def _open(self) -> None:
        self.java: BioFormats = start(self.path)
        with self.java.calls("Bio-Formats cannot read the source", self.path) as self.told:
            metadata = self.java.new_metadata()
            self.reader = self.java.ImageReader()
            self.reader.setFlattenedResolutions(False)
            self.reader.setMetadataStore(metadata)
            self.reader.setGroupFiles(not self.options.alone)
            self._held.callback(self._close)
            self.reader.setId(str(self.path.absolute()))
            self.xml = drop_forbidden(str(metadata.dumpXML()))
            count = int(self.reader.getSeriesCount())
            self.image_names = [str(metadata.getImageName(n) or "") for n in range(count)]
            thumbnails = [n for n in range(count) if self._at(n).isThumbnailSeries()]
        self._texts = {"METADATA.ome.xml": self.xml.encode()}
        kept = [n for n in range(count) if n not in thumbnails]
        self.numbers = kept or thumbnails
        self.aside = tuple(self.image_names[n] or str(n) for n in thumbnails if kept)

    def _close(self) -> None:
        with self.java.calls("Bio-Formats cannot close the source", self.path):
            self.reader.close()

    def names(self) -> list[str]:
        """Return the numbers of the images; the levels of a pyramid are not images."""
        return [str(number) for number in self.numbers]

    def titles(self) -> list[str]:
        """Return what the images are called."""
        return [self.image_names[number] for number in self.numbers]

    def entries(self) -> list[ImageEntry]:
        """List the images, with their wells."""
        wells = find_wells(self.xml)
        return [
            replace(entry, plate=plate, well=well, field=field)
            for number, entry in zip(self.numbers, super().entries(), strict=True)
            for plate, well, field in [wells.get(number, ("", "", ""))]
        ]

    def _at(self, number: int) -> Any:
        self.reader.setSeries(number)
        return self.reader

    def other_files(self) -> list[Path]:
        """Return the files of all its images but the first."""
        with self.java.calls("Bio-Formats cannot list the files of the source", self.path):
            names = {str(name) for name in self.reader.getUsedFiles()}
        return sorted(Path(name) for name in names - {str(self.path.absolute())})

    @cached_property
    def _stated(self) -> tuple[list[OmeImage], list[str]]:
        """What the OME-XML says about each image, and warnings."""
        told: list[str] = []
        return parse_ome_xml(self.xml, told, all_images=True), told

    @cached_property
    def _file_warnings(self) -> list[str]:
        """Warnings of files that are not there, for whose planes Bio-Formats makes up pixels."""
        made_up = "Bio-Formats reads planes of files that are missing as 0"
        try:
            missing = [file for file in self.other_files() if not file.exists()]
        except InputError:
            # It throws here where files of a plate are missing.
            return [f"The files of {self.path.name} cannot be listed; {made_up}"]
        if not missing:
            return []
        names = ", ".join(file.name for file in missing[:3])
        return [f"{len(missing)} files of {self.path.name} are missing, such as {names}; {made_up}"]

    def image(self, place: int) -> Image:
        """Return an image, whose pixels can be read until `close`."""
        number = self.numbers[place]
        with self.java.calls("Bio-Formats cannot tell about the image", self.path):
            pixels = BioFormatsPixels(self, number)
            warn = [*(f"Bio-Formats: {text}" for text in self.told), *pixels.warnings]
        warn += self._file_warnings
        if self.aside:
            names = ", ".join(self.aside)
            warn.append(f"{self.path.name} holds pictures beside the images, left out: {names}")
        stated, told = self._stated
        warn += told
        described = describe(
            stated, (number, len(self.image_names)), (pixels.shape5[1], pixels.samples), warn
        )
        metadata = ImageMetadata(
            **kept_axes(pixels.shape5),
            dtype=pixels.dtype.name,
            **({"name": self.path.name} | described),
        )
        return Image(
            metadata=metadata,
            pyramid=(pixels,),
            block5=pixels.block5,
            reader=f"Bio-Formats {self.java.version}",
            warnings=tuple(warn),
            original_metadata=self._texts,
        )


class BioFormatsPixels:
    """Pixels of one image, read by regions; one thread at a time.

    Parameters
    ----------
    source : BioFormatsSource
        The open source; its lock is held by the caller.
    number : int
        The image.

    Raises
    ------
    InputError
        If it has axes that have no place among TCZYX.
    """

    def __init__(self, source: BioFormatsSource, number: int) -> None:
        self._source = source
        self._number = number
        self._reader = reader = source.reader
        reader.setSeries(number)
        self._check_axes()
        self.samples = int(reader.getRGBChannelCount())
        self.shape5: Shape = (
            int(reader.getSizeT()),
            int(reader.getSizeC()),
            int(reader.getSizeZ()),
            int(reader.getSizeY()),
            int(reader.getSizeX()),
        )
        if not all(self.shape5):
            what = "The image has no pixels"
            expected = "sizes T, C, Z, Y, X of at least 1"
            raise InputError(
                what, where=source.path, expected=expected, found=self.shape5, remedy=_DAMAGED
            )
        self._is_interleaved = bool(reader.isInterleaved())
        kind = str(source.java.FormatTools.getPixelTypeString(reader.getPixelType()))
        self._is_bit = kind == "bit"
        self._stored = np.dtype(("<" if reader.isLittleEndian() else ">") + _DTYPES[kind])
        self.dtype = self._stored.newbyteorder("=")
        self.block5 = self._block((int(reader.getOptimalTileHeight()), self.shape5[4]))
        self.warnings = self._warnings()

    def _check_axes(self) -> None:
        """Refuse an image in which Z or T stand for more than one axis."""
        for axis, modulo in (("Z", self._reader.getModuloZ()), ("T", self._reader.getModuloT())):
            if modulo.length() > 1:
                what = f"The axis {axis} of the image holds another one too"
                found = f"{modulo.length()} x {modulo.type or 'unknown'}"
                remedy = "Save each of them as an image of its own."
                raise InputError(
                    what,
                    where=self._source.path,
                    expected="T, C, Z, Y, X",
                    found=found,
                    remedy=remedy,
                )

    def _warnings(self) -> list[str]:
        name = self._source.path.name
        warn = []
        if self._is_bit:
            warn.append(f"{name} has 1 bit a pixel: it is read as uint8, 0 and 1")
        if self._reader.isIndexed() and not self._reader.isFalseColor():
            warn.append(f"{name} has a palette: pixels are the numbers of colours, not colours")
        modulo = self._reader.getModuloC()
        if modulo.length() > 1:
            kind = modulo.type or "unknown"
            warn.append(f"{name}: {modulo.length()} x {kind} are kept as channels")
        return warn

    def _block(self, tile: tuple[int, int]) -> Shape:
        """Return a block of whole rows, some of the reader's tiles high."""
        _, _, _, y, x = self.shape5
        rows = max(1, _BLOCK_BYTES // (x * self.samples * self.dtype.itemsize))
        height = max(1, min(tile[0], y))
        return 1, self.samples, 1, min(y, max(height, rows - rows % height)), x

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X).

        Raises
        ------
        InputError
            If Bio-Formats finds the file damaged there.
        """
        times, channels, depths, rows, columns = region
        out: NDArray[Any] = np.empty(region_shape(region), self.dtype)
        if not out.size:
            return out
        planes = itertools.product(
            range(times.start, times.stop),
            range(channels.start // self.samples, -(-channels.stop // self.samples)),
            range(depths.start, depths.stop),
        )
        for t, c, z in planes:
            # One plane of the reader holds all samples of a pixel, of which some may be wanted.
            first = c * self.samples
            start, stop = max(first, channels.start), min(first + self.samples, channels.stop)
            into = out[
                t - times.start,
                start - channels.start : stop - channels.start,
                z - depths.start,
            ]
            for at, box in self._bands(rows, columns):
                into[:, at] = self._plane((t, c, z), box)[start - first : stop - first]
        return out

    def _bands(
        self, rows: slice, columns: slice
    ) -> Iterator[tuple[slice, tuple[int, int, int, int]]]:
        """Divide rows into bands that fit into memory: where they go, and X, Y, width, height."""
        width = columns.stop - columns.start
        most = max(1, _BAND_BYTES // (width * self.samples * self.dtype.itemsize))
        for top in range(rows.start, rows.stop, most):
            height = min(most, rows.stop - top)
            at = top - rows.start
            yield slice(at, at + height), (columns.start, top, width, height)

    def _plane(self, plane: tuple[int, int, int], box: tuple[int, int, int, int]) -> NDArray[Any]:
        """Return the samples (S, Y, X) of a box of a plane (T, C, Z); C counts pixels' samples."""
        _, _, width, height = box
        values = self._values(plane, box, 0)
        row = width * self.samples if self._is_interleaved else width
        if not values[[0, row - 1, -row, -1]].all():
            self._check_filled(plane, box, values)
        if self._is_bit:
            values = (values != 0).astype(np.uint8)
        if self._is_interleaved:
            return np.moveaxis(values.reshape(height, width, self.samples), -1, 0)
        return values.reshape(self.samples, height, width)

    def _check_filled(
        self, plane: tuple[int, int, int], box: tuple[int, int, int, int], values: NDArray[Any]
    ) -> None:
        """Refuse a box of which a part was not read but left at 0.

        Where a file ends too early, many a reader of Bio-Formats leaves the end of its buffer as
        it was, without an error.
        """
        again = self._values(plane, box, -1)
        if not np.array_equal(values.view(np.uint8), again.view(np.uint8)):
            what = "The source ends before its pixels do"
            where = f"{self._source.path}, {self._name(plane)}"
            found = "pixels that Bio-Formats does not read"
            raise InputError(what, where=where, found=found, remedy=_DAMAGED)

    def _name(self, plane: tuple[int, int, int]) -> str:
        t, c, z = plane
        return f"plane T={t}, C={c}, Z={z} of image {self._number}"

    def _values(
        self, plane: tuple[int, int, int], box: tuple[int, int, int, int], fill: int
    ) -> NDArray[Any]:
        """Return the values of a box as stored; bytes that are not read have the value `fill`."""
        t, c, z = plane
        java, path = self._source.java, self._source.path
        what = f"Bio-Formats cannot read the {self._name(plane)}"
        size = box[2] * box[3] * self.samples * self._stored.itemsize
        with java.calls(what, path) as told:
            self._reader.setSeries(self._number)
            buffer = java.bytes(size)
            java.fill_bytes(buffer, fill)
            data = self._reader.openBytes(self._reader.getIndex(z, c, t), buffer, *box)
            values = np.frombuffer(memoryview(data), np.uint8).view(self._stored)
        if told:
            # Such as "attempted to read beyond end of file", after which it goes on.
            raise InputError(what, where=path, found="; ".join(told[:3]), remedy=_DAMAGED)
        return values


open_source = BioFormatsSource
