"""Open Leica LIF and LOF, and the images that an XLEF names: each image is a series."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Region, Shape, region_shape
from parfocal.errors import InputError
from parfocal.images.image import Image, ImageEntry
from parfocal.images.libraries import library
from parfocal.images.rawfile import RawFile
from parfocal.images.readers.dimensions import kept_axes
from parfocal.images.readers.lif.layout import LifLayout, interpret_layout
from parfocal.images.readers.lif.metadata import channels_of, fields_of
from parfocal.images.readers.source import Source
from parfocal.models.image import ImageMetadata

__all__ = ["DAMAGE", "LifPixels", "LifSource", "open_source"]

DAMAGE = (
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    MemoryError,
    OSError,
    struct.error,
    ET.ParseError,
)
"""What liffile raises when a file is damaged, or one that it names is missing."""

_BAND_BYTES = 8 * 2**20
_DAMAGED = "The file is truncated or damaged, or files beside it are missing: copy it again."


@dataclass(frozen=True)
class _Found:
    """One image of a file, or one tile of a mosaic: its XML and its pixels' place.

    Parameters
    ----------
    name : str
        Its name, with the folders that it lies in.
    element : Element
        Its XML.
    file : Path
        Where its pixels are.
    offset, size : int
        Their block in that file; size 0 where it is missing.
    tile : int
        Which tile.
    xml : str
        The XML of the file.
    """

    name: str
    element: ET.Element
    file: Path
    offset: int
    size: int
    tile: int
    xml: str


class LifSource(Source):
    """A Leica file whose images are known."""

    def _open(self) -> None:
        import liffile

        self.files: set[Path] = set()
        try:
            with liffile.LifFile(self.path, squeeze=False) as file:
                self.found = list(self._images(file, ""))
        except (liffile.LifFileError, *DAMAGE) as error:
            what = "The Leica file cannot be read"
            found = f"{type(error).__name__}: {error}"
            raise InputError(what, where=self.path, found=found, remedy=_DAMAGED) from error
        if not self.found:
            what = "The Leica file holds no image"
            found = ", ".join(self.aside) or "nothing"
            raise InputError(what, where=self.path, found=found)

    def _images(self, file: Any, folder: str) -> Iterator[_Found]:
        """Yield the images of a file, then those of the files that it names."""
        own = Path(file.filepath)
        self.files.add(own)
        xml = file.xml_header()
        lists = file.type.name in ("XLEF", "XLCF")
        for name, element in () if lists else _elements(file.xml_element, folder):
            if element.find("./Data/Image") is None:
                self.aside += (name,)
                continue
            place, offset, size = self._block(file, own, element)
            tiles = interpret_layout(element, f"{self.path}, {name}", []).tiles
            for tile in range(tiles):
                shown = f"{name}, tile {tile + 1} of {tiles}"
                yield _Found(shown if tiles > 1 else name, element, place, offset, size, tile, xml)
        for child in file.children:
            inner = f"{folder}{file.name}/" if file.type.name == "XLCF" else folder
            yield from self._images(child, inner)

    def _block(self, file: Any, own: Path, element: ET.Element) -> tuple[Path, int, int]:
        """Return in which file and where in it the pixels of an image lie."""
        import liffile

        memory = element.find("./Memory")
        blocks = file.memory_blocks
        if file.type.name in ("LOF", "XLIF"):  # these have one, whatever it is called
            block = next(iter(blocks.values()), None)
        else:
            block = blocks.get("" if memory is None else memory.get("MemoryBlockID", ""))
        if block is None:
            return own, 0, 0
        if not block.frames:
            return own, block.offset, block.size
        if len(block.frames) > 1 or not block.frames[0].file.lower().endswith(".lof"):
            what = "The pixels of the image lie in files that are not LOF"
            remedy = "Open these files instead of the one that names them."
            raise InputError(what, where=own, found=block.frames[0].file, remedy=remedy)
        with liffile.LifFile(own.parent / block.frames[0].file, squeeze=False) as inner:
            self.files.add(Path(inner.filepath))
            return self._block(inner, Path(inner.filepath), element)

    def describe(self, number: int, warn: list[str]) -> ImageMetadata:
        """Return what the file says about the image `number`, and add to `warn`."""
        one = self.found[number]
        layout = interpret_layout(one.element, f"{self.path.name}, {one.name}", warn)
        return ImageMetadata(
            name=one.name,
            **kept_axes(layout.shape5),
            dtype=layout.dtype.newbyteorder("=").name,
            channels=channels_of(one.element, layout),
            rgb=layout.rgb,
            **fields_of(one.element, layout, one.tile, warn),
        )

    def names(self) -> list[str]:
        """Return the numbers of the images, in the order of the XML."""
        return [str(number) for number in range(len(self.found))]

    def titles(self) -> list[str]:
        """Return the names of the images, with the folders that they lie in."""
        return [one.name for one in self.found]

    def entries(self) -> list[ImageEntry]:
        """List the images, whose pixels may be missing."""
        return [
            ImageEntry(name, self.describe(place, []), self.aside)
            for place, name in enumerate(self.names())
        ]

    def other_files(self) -> list[Path]:
        """Return the files that an XLEF names and those that they name."""
        return sorted(self.files - {self.path})

    def image(self, place: int) -> Image:
        """Return an image, whose pixels can be read until `close`."""
        one = self.found[place]
        warn: list[str] = []
        metadata = self.describe(place, warn)
        where = f"{self.path}, {one.name}"
        layout = interpret_layout(one.element, where, [])
        if layout.tiles > 1:
            warn.append(
                f"{self.path.name}, {one.name}: the file does not say how its tiles make up one "
                "image, so each is an image of its own"
            )
        if self.aside:
            names = ", ".join(self.aside)
            warn.append(f"{self.path.name} holds what is no image, left out: {names}")
        file = RawFile(one.file)
        self._held.callback(file.close)
        available = min(one.size, file.size() - one.offset)
        if layout.end > available:
            what = "The pixels of the image are missing or not complete"
            expected, found = f"{layout.end} bytes", f"{max(0, available)} bytes"
            raise InputError(what, where=where, expected=expected, found=found, remedy=_DAMAGED)
        pixels = LifPixels(file, one.offset + one.tile * layout.tile_step, layout)
        return Image(
            metadata=metadata,
            pyramid=(pixels,),
            block5=pixels.block5,
            reader=library("liffile"),
            warnings=tuple(warn),
            original_metadata={"leica.xml": one.xml.encode()},
            misread_by=_misread_by(layout, self._room(one, file.size())),
        )

    def _room(self, one: _Found, size: int) -> int | None:
        """Return the bytes from an image to the next one or the end; None if not in a LIF."""
        if one.file.suffix.lower() != ".lif":
            return None
        later = [o.offset for o in self.found if o.file == one.file and o.offset > one.offset]
        return min(later, default=size) - one.offset


def _misread_by(layout: LifLayout, room: int | None) -> dict[str, str]:
    """Tell what Bio-Formats is known to read wrongly; `room` as LIFs give it."""
    told = []
    if layout.waves:
        told.append("it takes wavelengths for time points")
    if layout.dtype in (np.float16, np.uint32, np.uint64):
        told.append(f"it takes pixels of {8 * layout.dtype.itemsize} bits for another type")
    if layout.red_first:
        told.append("it takes blue to be before red")
    if room is not None and layout.skipped(room) != layout.steps["Y"] - layout.row_bytes:
        told.append("it guesses the length of rows from where the next image begins")
    return {"bioformats": "; ".join(told)} if told else {}


def _elements(root: ET.Element, folder: str) -> Iterator[tuple[str, ET.Element]]:
    """Yield all elements that hold pixels or photons, with their names below that of the file."""
    for top in root.findall("./Element"):
        yield from _with_inner(top, folder, "")


def _with_inner(element: ET.Element, folder: str, below: str) -> Iterator[tuple[str, ET.Element]]:
    """Yield an element, and those in it, whose names begin with `folder` and `below`."""
    kinds = ("./Data/Image", "./Data/SingleMoleculeDetection")
    if any(element.find(kind) is not None for kind in kinds):
        yield folder + element.get("Name", ""), element
    for inner in element.findall("./Children/Element"):
        yield from _with_inner(inner, folder + below, inner.get("Name", "") + "/")


class LifPixels:
    """Pixels that lie uncompressed in a block of a file.

    Parameters
    ----------
    file : RawFile
        The file.
    offset : int
        Where the image begins in it.
    layout : LifLayout
        Where each pixel lies from there.
    """

    def __init__(self, file: RawFile, offset: int, layout: LifLayout) -> None:
        self._file = file
        self._offset = offset
        self._layout = layout
        self.shape5: Shape = layout.shape5
        self.dtype = layout.dtype.newbyteorder("=")

    @property
    def block5(self) -> Shape:
        """Rows that are read at once."""
        _, c, _, y, x = self.shape5
        return 1, c if self._layout.interleaved else 1, 1, min(y, self._rows), x

    @property
    def _rows(self) -> int:
        return max(1, _BAND_BYTES // max(1, self._layout.steps["Y"]))

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X).

        Raises
        ------
        InputError
            If the file is damaged there.
        """
        ts, cs, zs, ys, xs = region
        out = np.empty(region_shape(region), self.dtype)
        channels = range(cs.start, cs.stop)
        groups = [channels] if self._layout.interleaved else [range(c, c + 1) for c in channels]
        steps = self._layout.steps
        for t in range(ts.start, ts.stop):
            for z in range(zs.start, zs.stop):
                start = self._offset + t * steps["T"] + z * steps["Z"]
                for group in groups:
                    for top in range(ys.start, ys.stop, self._rows):
                        rows = slice(top, min(top + self._rows, ys.stop))
                        target = out[
                            t - ts.start,
                            group.start - cs.start : group.stop - cs.start,
                            z - zs.start,
                            rows.start - ys.start : rows.stop - ys.start,
                        ]
                        self._read_rows(start, group, rows, xs, target)
        return out

    def _read_rows(
        self, start: int, channels: range, ys: slice, xs: slice, out: NDArray[Any]
    ) -> None:
        """Fill `out` (C, Y, X) with some rows of some channels, which lie side by side."""
        height, width = out.shape[1:]
        down, across = self._layout.steps["Y"], self._layout.steps["X"]
        offsets = [self._layout.channels[c] for c in channels]
        low = min(offsets)
        first = start + ys.start * down + xs.start * across + low
        reach = (height - 1) * down + (width - 1) * across + max(offsets) - low
        data = np.empty(reach + self.dtype.itemsize, np.uint8)
        self._file.read_into(data, first)
        for number, offset in enumerate(offsets):
            out[number] = np.ndarray(
                (height, width),
                self._layout.dtype,
                buffer=data.data,
                offset=offset - low,
                strides=(down, across),
            )


open_source = LifSource
