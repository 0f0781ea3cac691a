"""Open whole slides through OpenSlide, as one plane of red, green and blue."""

from __future__ import annotations

import configparser
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Region, Shape, region_shape
from parfocal.errors import InputError
from parfocal.images.image import Image, ImageEntry
from parfocal.images.libraries import library
from parfocal.images.readers.openslide.checks import check_whole
from parfocal.images.readers.source import Source
from parfocal.models.image import Channel, ImageMetadata

if TYPE_CHECKING:
    from openslide import OpenSlide

__all__ = ["open_source"]

_BLOCK_BYTES = 8 * 2**20
_CACHE_BYTES = 32 * 2**20
_LOOK_AT = 4 * 2**20
_CHANNELS = (
    Channel(name="Red", color="FF0000"),
    Channel(name="Green", color="00FF00"),
    Channel(name="Blue", color="0000FF"),
)
_HAMAMATSU = (".vms", ".vmu")
_LOSSY = ("hamamatsu", "leica", "mirax", "ventana")  # whose scanners write JPEG


class _SlidePixels:
    """Full resolution of a slide; OpenSlide may be called from several threads at once."""

    def __init__(self, slide: OpenSlide, path: Path, background: NDArray[np.uint8]) -> None:
        self._slide = slide
        self._path = path
        self._background = background
        width, height = slide.dimensions
        self.shape5: Shape = (1, 3, 1, height, width)
        self.dtype = np.dtype(np.uint8)

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X) uint8.

        Raises
        ------
        InputError
            If the slide is damaged there.
        """
        import openslide

        _, channels, _, ys, xs = region
        if 0 in region_shape(region):
            return np.empty(region_shape(region), self.dtype)
        size = (xs.stop - xs.start, ys.stop - ys.start)
        try:
            pixels = np.asarray(self._slide.read_region((xs.start, ys.start), 0, size))
        except openslide.OpenSlideError as error:
            what = "A part of the slide cannot be decoded"
            where = f"{self._path}, rows {ys.start}-{ys.stop}, columns {xs.start}-{xs.stop}"
            raise _damaged(what, where, error) from error
        planes = np.moveaxis(_opaque(pixels, self._background), -1, 0)
        return np.ascontiguousarray(planes[channels])[np.newaxis, :, np.newaxis]


class OpenSlideSource(Source):
    """A slide; its one image is the scan at full resolution."""

    @cached_property
    def _slide(self) -> OpenSlide:
        return self._held.enter_context(_open(self.path))

    def entries(self) -> list[ImageEntry]:
        """List the image, and the pictures beside it."""
        aside = tuple(sorted(self._slide.associated_images))
        return [ImageEntry("0", self.image(0).metadata, aside)]

    def image(self, place: int) -> Image:  # noqa: ARG002
        """Return the scan.

        Pixels that the scanner left out have the background colour that the slide states, or
        else are 0; where they are partly covered, they are mixed with it.

        Raises
        ------
        InputError
            If OpenSlide does not know the slide, it is damaged, or it holds focal planes or
            pixels that OpenSlide leaves out or changes.
        """
        path, slide = self.path, self._slide
        properties = dict(slide.properties)
        check_whole(path, properties)
        background = properties.get("openslide.background-color", "000000")
        fill = np.frombuffer(bytes.fromhex(background), np.uint8)
        pixels = _SlidePixels(slide, path, fill)
        warn = _warnings(path, slide, properties, background)
        _, _, _, height, width = pixels.shape5
        metadata = ImageMetadata(
            name=path.name,
            axes="CYX",
            shape=(3, height, width),
            dtype="uint8",
            y_um=_size(properties, "openslide.mpp-y"),
            x_um=_size(properties, "openslide.mpp-x"),
            channels=_CHANNELS,
            rgb=True,
        )
        return Image(
            metadata=metadata,
            pyramid=(pixels,),
            block5=_block(properties, height, width),
            reader=library("openslide-bin", "OpenSlide"),
            lossy=properties.get("openslide.vendor") in _LOSSY,
            warnings=tuple(warn),
            original_metadata={"openslide.json": _json(properties)},
        )

    def other_files(self) -> list[Path]:
        """Return the other files of a slide of several: MIRAX, and Hamamatsu VMS and VMU."""
        kind = self.path.suffix.lower()
        if kind == ".mrxs":
            return sorted(one for one in self.path.with_suffix("").rglob("*") if one.is_file())
        return _named_files(self.path) if kind in _HAMAMATSU else []


def _named_files(path: Path) -> list[Path]:
    """Return the files that the index of a Hamamatsu slide names."""
    index = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        index.read_string(path.read_text(errors="replace"))
    except configparser.Error as error:
        what = "The index of the slide cannot be read"
        raise _damaged(what, str(path), error) from error
    return sorted(
        {
            path.with_name(value)
            for section in index.sections()
            for key, value in index.items(section)
            if key.startswith(("imagefile", "mapfile", "optimisationfile", "macroimage")) and value
        }
    )


def _open(path: Path) -> OpenSlide:
    import openslide

    try:
        slide = openslide.OpenSlide(path)
        slide.set_cache(openslide.OpenSlideCache(_CACHE_BYTES))
    except (openslide.OpenSlideError, openslide.OpenSlideUnsupportedFormatError) as error:
        what = "OpenSlide cannot read the slide"
        raise _damaged(what, str(path), error) from error
    return slide


def _damaged(what: str, where: str, error: Exception) -> InputError:
    remedy = "Copy the slide again, with all its files, or read it with --set reader=bioformats."
    return InputError(what, where=where, found=error or "no slide it knows", remedy=remedy)


def _opaque(pixels: NDArray[np.uint8], background: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put pixels (Y, X, RGBA) with plain alpha over a colour."""
    colors, alpha = pixels[..., :3], pixels[..., 3:]
    if (alpha == 255).all():
        return colors
    wide = alpha.astype(np.uint16)
    mixed = (colors * wide + background * (255 - wide) + 127) // 255
    return mixed.astype(np.uint8)


def _warnings(
    path: Path, slide: OpenSlide, properties: Mapping[str, str], background: str
) -> list[str]:
    warn = []
    aside = ", ".join(sorted(slide.associated_images))
    if aside:
        warn.append(f"{path.name} holds pictures of the slide, left out: {aside}")
    regions = sum(key.startswith("openslide.region[") and key.endswith(".x") for key in properties)
    if regions > 1:
        warn.append(f"{path.name} holds {regions} regions: they are one image, each at its place")
    gaps = _gaps(path, slide)
    if gaps:
        stated = "openslide.background-color" in properties
        whence = "the background that it states" if stated else "it states no background"
        warn.append(f"{gaps} of {path.name} have the colour {background.upper()}: {whence}")
    return warn


def _gaps(path: Path, slide: OpenSlide) -> str:
    """Say whether there are pixels that were not scanned, by the smallest resolution."""
    import openslide

    width, height = slide.level_dimensions[-1]
    if width * height > _LOOK_AT:
        return "Unscanned parts, if there are any,"
    try:
        small = slide.read_region((0, 0), slide.level_count - 1, (width, height))
    except openslide.OpenSlideError as error:
        what = "The smallest resolution of the slide cannot be decoded"
        raise _damaged(what, str(path), error) from error
    return "" if (np.asarray(small)[..., 3] == 255).all() else "Unscanned parts"


def _size(properties: Mapping[str, str], key: str) -> float | None:
    """Return a size in micrometres where it is one."""
    try:
        size = float(properties.get(key, "0"))
    except ValueError:
        return None
    return size if 0 < size < float("inf") else None


def _block(properties: Mapping[str, str], height: int, width: int) -> Shape:
    """Return a block of several tiles."""
    down = int(properties.get("openslide.level[0].tile-height", 256))
    across = int(properties.get("openslide.level[0].tile-width", 256))
    while 3 * down * across * 2 <= _BLOCK_BYTES and (down < height or across < width):
        if down < height and (down <= across or across >= width):
            down *= 2
        else:
            across *= 2
    return 1, 3, 1, min(down, height), min(across, width)


def _json(properties: Mapping[str, str]) -> bytes:
    return json.dumps(properties, ensure_ascii=False, indent=1, sort_keys=True).encode() + b"\n"


open_source = OpenSlideSource
