"""Open Zeiss CZI: each scene is an image, and the tiles of a mosaic are one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Region, Shape, region_shape
from parfocal.errors import InputError
from parfocal.images.image import Image
from parfocal.images.libraries import library
from parfocal.images.readers.czi.metadata import CziMetadata
from parfocal.images.readers.czi.tiles import Scene, list_tiles, scenes_of
from parfocal.images.readers.czi_segments import check_sizes
from parfocal.images.readers.dimensions import kept_axes
from parfocal.images.readers.source import Source
from parfocal.models.image import Channel, ImageMetadata

__all__ = ["DAMAGE", "CziSource", "open_source"]

DAMAGE = (RuntimeError, ValueError, IndexError, OverflowError, TypeError, MemoryError)
"""What pylibCZIrw raises when a file is damaged or of an unknown kind."""

_TYPES = {
    "Gray8": ("uint8", 1),
    "Gray16": ("uint16", 1),
    "Gray32Float": ("float32", 1),
    "Bgr24": ("uint8", 3),
    "Bgr48": ("uint16", 3),
    "Bgr96Float": ("float32", 3),
}
_RGB = tuple(
    Channel(name=name, color=color)
    for name, color in (("Red", "FF0000"), ("Green", "00FF00"), ("Blue", "0000FF"))
)
_LOSSLESS = ("UnCompressed", "Zstd0", "Zstd1")
_DIMENSIONS = {
    "R": "rotations",
    "I": "illuminations",
    "H": "phases",
    "V": "views",
    "B": "blocks",
}
_CACHE_BYTES = 32 * 2**20
_SIDE = 1024
_DAMAGED = "The file is truncated or damaged: copy or download it again."
_OTHERWISE = "Try Bio-Formats (reader=bioformats), or export the image as OME-TIFF or another CZI."


class CziSource(Source):
    """A CZI whose tiles are known."""

    def _open(self) -> None:
        from pylibCZIrw import czi

        cache = czi.CacheOptions(max_memory_usage=_CACHE_BYTES)
        try:
            self._reader = czi.CziReader(str(self.path), cache_options=cache)
            self._held.callback(self._reader.close)
            self.scenes = scenes_of(list_tiles(self._reader))
            text = self._reader.raw_metadata
        except DAMAGE as error:
            what = "The CZI cannot be read"
            raise InputError(what, where=self.path, found=_line(error), remedy=_DAMAGED) from error
        self._metadata = CziMetadata(text, self.path)
        self._check_size()
        self._odd_tiles = check_sizes(self.path)

    def _check_size(self) -> None:
        """Refuse a file without tiles, or one too small for those that it lists."""
        if not self.scenes:
            what = "The CZI holds no image at full resolution"
            raise InputError(what, where=self.path, found="no tiles", remedy=_DAMAGED)
        needed = sum(
            tile.box.w * tile.box.h * np.dtype(kind).itemsize * samples
            for scene in self.scenes
            for tile in scene.tiles
            if tile.compression.startswith("UnCompressed")
            for kind, samples in [_TYPES.get(tile.pixel_type, ("uint8", 1))]
        )
        size = self.path.stat().st_size
        if needed > size:
            what = "The CZI is too small for the tiles that it lists"
            expected, found = f"at least {needed} bytes", f"{size} bytes"
            raise InputError(what, where=self.path, expected=expected, found=found, remedy=_DAMAGED)

    def names(self) -> list[str]:
        """Return the numbers of the scenes."""
        return [str(number) for number in range(len(self.scenes))]

    def titles(self) -> list[str]:
        """Return what the scenes are called."""
        return [str(self._metadata.fields(scene, self.path.name)["name"]) for scene in self.scenes]

    def image(self, place: int) -> Image:
        """Return a scene, whose pixels can be read until `close`."""
        scene = self.scenes[place]
        warn: list[str] = []
        where = self.path if scene.number is None else f"{self.path}, scene {scene.number}"
        self._check_dimensions(scene, where)
        self._check_compression(scene, where, warn)
        pixels = CziPixels(self._reader, scene, where, warn)
        self._warn(scene, warn)
        fields = self._metadata.fields(scene, self.path.name)
        channels = _RGB
        if not pixels.is_rgb:
            channels = self._metadata.channels(scene.first[1], scene.sizes[1], warn)
        metadata = ImageMetadata(
            **kept_axes(pixels.shape5),
            dtype=pixels.dtype.name,
            channels=channels,
            rgb=pixels.is_rgb,
            **fields,
        )
        return Image(
            metadata=metadata,
            pyramid=(pixels,),
            block5=pixels.block5,
            reader=library("pylibCZIrw"),
            warnings=tuple(warn),
            lossy=self._is_lossy(scene),
            original_metadata={"czi.xml": self._metadata.text.encode()},
        )

    @staticmethod
    def _check_dimensions(scene: Scene, where: object) -> None:
        several = {name: found for name, found in scene.beyond().items() if len(found) > 1}
        if several:
            what = "The CZI has dimensions that the result cannot keep"
            expected = "T, C, Z, Y and X only"
            found = ", ".join(
                f"{len(several[name])} {_DIMENSIONS.get(name, name)} ({name})"
                for name in sorted(several)
            )
            remedy = "Process them in the software that wrote it, or export one file for each."
            raise InputError(what, where=where, expected=expected, found=found, remedy=remedy)

    def _check_compression(self, scene: Scene, where: object, warn: list[str]) -> None:
        strange = {
            tile.compression for tile in scene.tiles if tile.compression.startswith(("Jpg ", "Inv"))
        }
        if strange:
            what = "The tiles of the CZI are compressed in a way that its library cannot decode"
            expected = "no compression, zstd or JPEG XR"
            found = ", ".join(sorted(strange))
            raise InputError(what, where=where, expected=expected, found=found, remedy=_OTHERWISE)
        if self._is_lossy(scene):
            said = self._metadata.compression()
            warn.append(
                f"{self.path.name} is compressed with JPEG XR, which is lossy or lossless; "
                + (f"it states {said}" if said else "it does not say which it was")
            )

    @staticmethod
    def _is_lossy(scene: Scene) -> bool:
        """Whether compression may have changed pixels."""
        return not {tile.compression.split()[0] for tile in scene.tiles} <= set(_LOSSLESS)

    def _warn(self, scene: Scene, warn: list[str]) -> None:
        """Add what of the scene is bare or doubled, and where its metadata say otherwise."""
        name = self.path.name
        missing, bare, lapped = scene.coverage()
        planes = f"of {int(np.prod(scene.sizes))} planes"
        if self._odd_tiles:
            warn.append(
                f"{name}: in {self._odd_tiles} tiles the sizes of parts do not add up to the "
                "whole; if the file is damaged there, their pixels are shifted"
            )
        if missing:
            warn.append(f"{name}: {missing} {planes} have no tile; they are read as 0")
        if bare:
            warn.append(
                f"{name}: in {bare} {planes} tiles do not cover the whole rectangle around them; "
                "pixels between them are read as 0"
            )
        if lapped:
            warn.append(
                f"{name}: in {lapped} {planes} tiles overlap; there the tile with the higher "
                "number (M) is read"
            )
        stated = self._metadata.sizes()
        if len(self.scenes) == 1:
            found = dict(zip("TCZYX", (*scene.sizes, scene.box.h, scene.box.w), strict=True))
            differ = [a for a in "TCZYX" if a in stated and stated[a] != found[a]]
            if differ:
                text = ", ".join(f"{stated[a]} along {a} and there are {found[a]}" for a in differ)
                warn.append(f"{name}: its metadata state sizes of {text}")


class CziPixels:
    """The pixels of a scene, put together from its tiles; reading is safe in threads.

    Parameters
    ----------
    reader : pylibCZIrw.czi.CziReader
        The open file.
    scene : Scene
        Which scene.
    where : object
        File and scene, for errors.
    warn : list of str
        Where warnings are added.
    """

    def __init__(self, reader: Any, scene: Scene, where: object, warn: list[str]) -> None:
        self._reader = reader
        self._scene = scene
        self._where = where
        self._box = scene.box
        self._types = _channel_types(scene, where)
        kinds = {_TYPES[name] for name in self._types.values()}
        self.dtype = np.result_type(*(kind for kind, _ in kinds))
        samples = {count for _, count in kinds}
        self.is_rgb = 3 in samples
        t, c, z = scene.sizes
        if self.is_rgb and (len(samples) > 1 or c > 1):
            what = "The CZI has colour beside other channels"
            expected, found = "grey channels, or one of colour", sorted(self._types.values())
            raise InputError(what, where=where, expected=expected, found=found, remedy=_OTHERWISE)
        if len(kinds) > 1:
            listed = ", ".join(sorted(kind for kind, _ in kinds))
            warn.append(
                f"Channels are of {listed}: all are read as {self.dtype}, which holds each value"
            )
        self.shape5: Shape = (t, 3 if self.is_rgb else c, z, self._box.h, self._box.w)

    @property
    def block5(self) -> Shape:
        """A block of about the size of a tile."""
        tiles = self._scene.tiles
        height = min(self._box.h, max(_SIDE, *(tile.box.h for tile in tiles), 0))
        width = min(self._box.w, max(_SIDE, *(tile.box.w for tile in tiles), 0))
        return 1, 3 if self.is_rgb else 1, 1, height, width

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X).

        Raises
        ------
        InputError
            If the file is damaged there.
        """
        ts, cs, zs, ys, xs = region
        out = np.empty(region_shape(region), self.dtype)
        box = (self._box.x + xs.start, self._box.y + ys.start, *out.shape[:-3:-1])
        for t in range(ts.start, ts.stop):
            for z in range(zs.start, zs.stop):
                target = out[t - ts.start, :, z - zs.start]
                if self.is_rgb:
                    colors = self._plane(t, 0, z, box)[..., ::-1]  # stored as blue, green, red
                    target[...] = np.moveaxis(colors, -1, 0)[cs]
                    continue
                for number, c in enumerate(range(cs.start, cs.stop)):
                    target[number] = self._plane(t, c, z, box)[..., 0]
        return out

    def _plane(self, t: int, c: int, z: int, box: tuple[int, ...]) -> NDArray[Any]:
        first = self._scene.first
        place = {a: i + low for a, i, low in zip("TCZ", (t, c, z), first, strict=True)}
        name = self._types.get(place["C"])
        if name is None:  # a channel between others that has no tile
            return np.zeros((box[3], box[2], 1), self.dtype)
        scene = self._scene.number
        try:
            pixels = self._reader.read(roi=box, plane=place, scene=scene, pixel_type=name)
        except DAMAGE as error:
            what = "A part of the CZI cannot be decoded"
            where = f"{self._where}, T {t}, C {c}, Z {z}"
            raise InputError(what, where=where, found=_line(error), remedy=_DAMAGED) from error
        expected = (box[3], box[2], _TYPES[name][1]), np.dtype(_TYPES[name][0])
        if (pixels.shape, pixels.dtype) != expected:
            what = "A part of the CZI decodes to other pixels than it should"
            found = (pixels.shape, pixels.dtype)
            raise InputError(what, where=self._where, expected=expected, found=found)
        return np.asarray(pixels)


def _channel_types(scene: Scene, where: object) -> dict[int, str]:
    """Return the type of pixels of each channel by its index; refuse what is not one, known."""
    types = {}
    for channel, found in scene.pixel_types().items():
        if len(found) > 1 or not found <= _TYPES.keys():
            what = "The pixels of the CZI are of a type that is not supported"
            expected = f"one of {', '.join(_TYPES)}"
            text = f"{', '.join(sorted(found))} in channel {channel}"
            raise InputError(what, where=where, expected=expected, found=text, remedy=_OTHERWISE)
        types[channel] = next(iter(found))
    return types


def _line(error: BaseException) -> str:
    """Return an error of libCZI as one line."""
    return " ".join(str(error).split()) or type(error).__name__


open_source = CziSource
