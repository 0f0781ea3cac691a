"""Open Olympus OIB and OIF (FluoView): settings, and a TIFF for each plane."""

from __future__ import annotations

import io
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Region, Shape, region_shape
from parfocal.errors import InputError
from parfocal.images.image import Image
from parfocal.images.libraries import library
from parfocal.images.readers.dimensions import kept_axes
from parfocal.images.readers.olympus.metadata import OlympusSettings
from parfocal.images.readers.source import Source
from parfocal.models.image import ImageMetadata

__all__ = ["OlympusPixels", "OlympusSource", "open_source"]

_PLANE = re.compile(r"(?:.*_)?((?:[A-Z]\d{3,})*)\.tif", re.IGNORECASE)
_INDEX = re.compile(r"([A-Z])(\d{3,})", re.IGNORECASE)
_CACHE_BYTES = 32 * 2**20
_REMEDY = (
    "Copy the whole acquisition again, or export it as OME-TIFF in the software that wrote it."
)


class OlympusSource(Source):
    """An OIB or OIF whose planes are known."""

    def _open(self) -> None:
        from parfocal.images.readers.olympus.files import open_files

        self.files = open_files(self.path)
        self._held.callback(self.files.close)
        self._text = self.files.read(self.files.main)
        self._settings = OlympusSettings(self._text, self.files.main, self.path)
        self.listed = self._settings.listed()
        found = {name: _PLANE.fullmatch(name) for name in self.files.names}
        pictures = {name for name in found if name.lower().endswith(".tif")}
        planes = {name: match[1].upper() for name, match in found.items() if match}
        self._planes = planes
        self.aside = tuple(sorted(pictures - planes.keys()))

    def other_files(self) -> list[Path]:
        """Return the files in the folder of an OIF; an OIB has none."""
        if self.path.suffix.lower() == ".oib":
            return []
        folder = self.path.with_name(f"{self.path.name}.files")
        return sorted(folder / name for name in {*self.files.names, *self.listed})

    def image(self, place: int) -> Image:  # noqa: ARG002
        """Return the image, whose pixels can be read until `close`."""
        warn: list[str] = []
        places = self._places(warn)
        pixels = OlympusPixels(self.files, self.path, places)
        _, c, _, y, x = pixels.shape5
        self._settings.check_plane((y, x), self.path, warn)
        if self.aside:
            names = ", ".join(self.aside)
            warn.append(f"{self.path.name} holds pictures beside its planes, left out: {names}")
        fields = self._settings.fields(pixels.shape5, warn)
        metadata = ImageMetadata(
            name=self.path.name,
            **kept_axes(pixels.shape5),
            dtype=pixels.dtype.name,
            channels=self._settings.channels(c, warn),
            **fields,
        )
        return Image(
            metadata=metadata,
            pyramid=(pixels,),
            block5=(1, 1, 1, y, x),
            reader=library("oiffile"),
            warnings=tuple(warn),
            original_metadata={"olympus.oif": self._text},
            misread_by=self._misread_by(pixels.shape5[:3]),
        )

    def _misread_by(self, sizes: tuple[int, int, int]) -> dict[str, str]:
        """Tell what Bio-Formats is known to read wrongly of an image of sizes T, C, Z."""
        for axis, size in zip("TCZ", sizes, strict=True):
            letter = self._settings.letter(axis, [])
            if self._settings.size(letter) > size and self._settings.is_plane_axis(letter):
                return {"bioformats": "it counts planes that were planned and not taken"}
        listed = self._settings.in_order()
        if listed and not self._tells_axes(listed[0]):
            texts = [dict(_INDEX.findall(PureWindowsPath(name).stem)) for name in listed]
            places = [[one.get(axis, "") for axis in "TCZ"] for one in texts]
            if places != sorted(places):
                return {"bioformats": "it takes planes to be listed by T, C and Z"}
        return {}

    def _tells_axes(self, name: str) -> bool:
        """Whether the settings of a plane tell of all axes, from the first, which is X."""
        from parfocal.images.readers.olympus.files import settings_of

        try:
            return "Axis 0 Parameters" in settings_of(self.files.read(name), name, self.path)
        except InputError:
            return True

    def _places(self, warn: list[str]) -> Mapping[tuple[int, int, int], str]:
        """Return the file of each plane T, C, Z, counted from 0."""
        wanted = self._settings.plane_axes()
        letters = {axis: self._settings.letter(axis, warn) for axis in "TCZ"}
        places: dict[tuple[int, int, int], str] = {}
        for name, text in self._planes.items():
            index = {letter: int(number) - 1 for letter, number in _INDEX.findall(text)}
            if any(index[letter] for letter in index.keys() - set(letters.values())):
                what = "The planes have axes that the result cannot keep"
                expected = f"only {', '.join(wanted)}"
                raise InputError(
                    what, where=self.path, expected=expected, found=name, remedy=_REMEDY
                )
            t, c, z = (index.get(letters[axis], 0) for axis in "TCZ")
            if (t, c, z) in places or min(t, c, z) < 0:
                what = "Two files are the same plane"
                found = f"{places.get((t, c, z))} and {name}"
                raise InputError(what, where=self.path, found=found, remedy=_REMEDY)
            places[t, c, z] = name
        self._check_complete(places, letters, warn)
        return places

    def _check_complete(
        self,
        places: Mapping[tuple[int, int, int], str],
        letters: Mapping[str, str],
        warn: list[str],
    ) -> None:
        """Refuse missing planes; warn where fewer were taken than planned."""
        stems = {PureWindowsPath(name).stem for name in (*self._planes, *self.aside)}
        lost = sorted(name for name in self.listed if PureWindowsPath(name).stem not in stems)
        sizes = [max((place[n] for place in places), default=-1) + 1 for n in range(3)]
        if lost or not places or len(places) != np.prod(sizes):
            what = "Planes of the image are missing"
            expected = f"{max(int(np.prod(sizes)), len(self.listed), 1)} planes"
            found = f"{len(places)} planes" + f", not {lost[0]} and others" * bool(lost)
            raise InputError(what, where=self.path, expected=expected, found=found, remedy=_REMEDY)
        for axis, size in zip("TCZ", sizes, strict=True):
            planned = self._settings.size(letters[axis])
            if planned > size and self._settings.is_plane_axis(letters[axis]):
                warn.append(
                    f"{self.path.name} was to have {planned} along {axis} and has {size}: the "
                    "acquisition was stopped before its end"
                )


class OlympusPixels:
    """Planes that are TIFFs, each decoded whole; the latest are kept.

    Parameters
    ----------
    files : OlympusFiles
        Where the planes lie.
    path : Path
        The source, for errors.
    places : mapping of (int, int, int) to str
        The file of each plane T, C, Z.
    """

    def __init__(self, files: Any, path: Path, places: Mapping[tuple[int, int, int], str]) -> None:
        self._files = files
        self._path = path
        self._places = places
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[int, int, int], NDArray[Any]] = OrderedDict()
        first = self._decode((0, 0, 0))
        t, c, z = (max(place[n] for place in places) + 1 for n in range(3))
        height, width = first.shape
        self.shape5: Shape = (t, c, z, height, width)
        self.dtype = first.dtype

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of `region` as an array (T, C, Z, Y, X).

        Raises
        ------
        InputError
            If a plane is missing or damaged.
        """
        ts, cs, zs, ys, xs = region
        out = np.empty(region_shape(region), self.dtype)
        for t in range(ts.start, ts.stop):
            for c in range(cs.start, cs.stop):
                for z in range(zs.start, zs.stop):
                    plane = self._plane((t, c, z))
                    out[t - ts.start, c - cs.start, z - zs.start] = plane[ys, xs]
        return out

    def _plane(self, place: tuple[int, int, int]) -> NDArray[Any]:
        with self._lock:
            if place in self._cache:
                self._cache.move_to_end(place)
                return self._cache[place]
        plane = self._decode(place)
        if plane.shape != self.shape5[3:] or plane.dtype != self.dtype:
            what = "A plane of the image is unlike the first one"
            expected = f"{self.shape5[3:]} {self.dtype}"
            found = f"{plane.shape} {plane.dtype}"
            where = f"{self._path}, {self._places[place]}"
            raise InputError(what, where=where, expected=expected, found=found, remedy=_REMEDY)
        with self._lock:
            self._cache[place] = plane
            while len(self._cache) > 1 and len(self._cache) * plane.nbytes > _CACHE_BYTES:
                self._cache.popitem(last=False)
        return plane

    def _decode(self, place: tuple[int, int, int]) -> NDArray[Any]:
        """Return a plane (Y, X)."""
        import tifffile

        from parfocal.images.readers.tiff.pixels import DAMAGE

        name = self._places[place]
        content = self._files.read(name)
        try:
            with tifffile.TiffFile(io.BytesIO(content)) as tiff:
                pages = len(tiff.pages)
                page: NDArray[Any] = tiff.pages[0].asarray()
        except (tifffile.TiffFileError, *DAMAGE) as error:
            what = "A plane of the image cannot be decoded"
            where = f"{self._path}, {name}"
            raise InputError(what, where=where, found=error, remedy=_REMEDY) from error
        if pages != 1 or page.ndim != 2 or page.dtype.kind not in "uif":
            what = "A plane of the image is not one of grey values"
            found = f"{pages} pages {page.shape} {page.dtype}"
            where = f"{self._path}, {name}"
            raise InputError(what, where=where, expected="1 page (Y, X)", found=found)
        return page.astype(page.dtype.newbyteorder("="), copy=False)


open_source = OlympusSource
