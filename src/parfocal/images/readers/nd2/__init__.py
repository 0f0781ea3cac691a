"""Open Nikon ND2 files; each position of the stage is an image."""

from __future__ import annotations

import math
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from parfocal.errors import InputError
from parfocal.images.image import Image, ImageEntry
from parfocal.images.libraries import library
from parfocal.images.rawfile import RawFile
from parfocal.images.readers.dimensions import kept_axes, rows_block
from parfocal.images.readers.nd2.frames import (
    FrameLayout,
    FramePixels,
    find_chunks,
    find_frames,
)
from parfocal.images.readers.nd2.metadata import describe, original_metadata, position_names
from parfocal.images.readers.source import Source
from parfocal.models.image import ImageMetadata

__all__ = ["open_source"]

_DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    TypeError,
    UnboundLocalError,  # where nd2 looks for a dye that is not described
    ValueError,
    struct.error,
    zlib.error,
)
_OLD = b"\x00\x00\x00\x0cjP  "
_LOOPS = {"TimeLoop": "T", "NETimeLoop": "T", "XYPosLoop": "P", "ZStackLoop": "Z"}
_DAMAGED = "The file is truncated or damaged: copy or download it again."
_TINY = 2**16  # pixels of a plane
_BIO_FORMATS = "Read it by Bio-Formats: --set reader=bioformats."


class Nd2Source(Source):
    """What an ND2 file states, and where its frames lie; each position is an image."""

    def _open(self) -> None:
        import nd2

        self.warnings: list[str] = []
        self._raw = raw = RawFile(self.path)
        self._held.callback(raw.close)
        if raw.read_bytes(0, min(8, raw.size())) == _OLD:
            what = "ND2 files of before 2010 (JPEG 2000) are not supported"
            raise InputError(what, where=self.path, remedy=_BIO_FORMATS)
        self.chunks = find_chunks(raw)
        self._frames = find_frames(raw, self.chunks)
        with self._reading():
            self._file = nd2.ND2File(self.path)
            self._held.callback(self._file.close)
            self.attributes = self._file.attributes
            self._loops = [(loop.type, loop.count) for loop in self._file.experiment]
            self.sizes = self._loop_sizes()
            self.layout = self._layout()
            self._missing = self._missing_frames()
            self._titles = position_names(self._file, self.path, self.sizes["P"])

    def names(self) -> list[str]:
        """Return the numbers of the positions."""
        return [str(number) for number in range(self.sizes["P"])]

    def titles(self) -> list[str]:
        """Return what the positions are called."""
        return self._titles

    def entries(self) -> list[ImageEntry]:
        """List the positions."""
        return [
            ImageEntry(name, self.metadata(place, [])) for place, name in enumerate(self.names())
        ]

    def image(self, place: int) -> Image:
        """Return a position."""
        warn: list[str] = []
        metadata = self.metadata(place, warn)
        texts = self.texts()
        layout = self.layout
        pixels = FramePixels(self._raw, layout, self.places(place, warn))
        block5 = rows_block(pixels.shape5, layout.dtype.itemsize * layout.components)
        if layout.compressed:
            block5 = (1, 1, 1, layout.height, layout.width)
        return Image(
            metadata=metadata,
            pyramid=(pixels,),
            block5=(1, len(layout.order), *block5[2:]),
            reader=library("nd2"),
            warnings=(*self.warnings, *warn),
            original_metadata=texts,
            misread_by=self.misread_by(),
        )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Turn what nd2 raises for damaged files into errors, and keep its warnings."""
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            try:
                yield
            except _DAMAGE as error:
                what = "The ND2 file cannot be read"
                text = f"{type(error).__name__}: {error}"
                remedy = f"Copy or download it again; where it is whole: {_BIO_FORMATS}"
                raise InputError(what, where=self.path, found=text, remedy=remedy) from error
        for one in found:
            text = " ".join(str(one.message).split())
            if text not in self.warnings:
                self.warnings.append(text)

    def _loop_sizes(self) -> dict[str, int]:
        """Return the sizes along time, position and Z, which the experiment states as loops."""
        sizes = {"T": 1, "P": 1, "Z": 1}
        seen = set()
        for kind, count in self._loops:
            axis = _LOOPS.get(kind)
            if axis is None or axis in seen:
                what = "The experiment of the ND2 file has loops that are not supported"
                expected = "times, positions and Z, each once at most"
                found = ", ".join(f"{kind} of {count}" for kind, count in self._loops)
                raise InputError(
                    what, where=self.path, expected=expected, found=found, remedy=_BIO_FORMATS
                )
            seen.add(axis)
            sizes[axis] = count
        return sizes

    def _layout(self) -> FrameLayout:
        stated = self.attributes
        bits, components = stated.bitsPerComponentInMemory, stated.componentCount
        if stated.compressionType == "lossy" or bits not in (8, 16, 32):
            what = "The pixels of the ND2 file are stored in a way that is not supported"
            found = f"{bits} bits, compression {stated.compressionType}"
            raise InputError(what, where=self.path, found=found, remedy=_BIO_FORMATS)
        dtype = np.dtype("<f4" if bits == 32 else f"<u{bits // 8}").newbyteorder("=")
        width, height = stated.widthPx or 0, stated.heightPx
        used = width * components * dtype.itemsize
        channels = stated.channelCount or 1
        if min(width, height, components) < 1 or used > (stated.widthBytes or 0):
            what = "The sizes of the ND2 file do not fit together"
            found = f"{width} x {height} pixels of {components} values in {stated.widthBytes} bytes"
            raise InputError(what, where=self.path, found=found, remedy=_DAMAGED)
        order = tuple(range(components))
        if self.is_rgb:  # stored as blue, green, red
            order = (2, 1, 0)
        elif channels != components:
            what = "The channels of the ND2 file hold several values a pixel each"
            found = f"{channels} channels, {components} values"
            raise InputError(what, where=self.path, found=found, remedy=_BIO_FORMATS)
        compressed = stated.compressionType == "lossless"
        row_bytes = int(stated.widthBytes or 0)
        return FrameLayout(height, width, components, row_bytes, dtype, compressed, order)

    @property
    def is_rgb(self) -> bool:
        """Whether pixels are colours."""
        return self.attributes.componentCount == 3 and (self.attributes.channelCount or 1) == 1

    def misread_by(self) -> dict[str, str]:
        """Tell what Bio-Formats is known to read wrongly."""
        layout = self.layout
        padding = layout.row_bytes - layout.width * layout.components * layout.dtype.itemsize
        if self.is_rgb:
            return {"bioformats": "it takes blue for red"}
        if padding not in (0, layout.dtype.itemsize):
            return {"bioformats": "it takes rows for shorter than they are stored"}
        if self._missing:
            return {"bioformats": "it does not know where an acquisition was stopped"}
        if self.sizes["P"] > 1 and layout.height * layout.width < _TINY:
            return {"bioformats": "it guesses the type of pixels from sizes, which are too small"}
        return {}

    def _missing_frames(self) -> int:
        """Return how many frames were not recorded, or refuse the file where some are lost."""
        expected = math.prod(self.sizes.values())
        recorded = int(self.attributes.sequenceCount)
        stored = sorted(self._frames)
        count = len(stored)
        stopped = count < expected and count == recorded
        needed = self.layout.height * self.layout.row_bytes
        short = not self.layout.compressed and any(n < needed for _, n in self._frames.values())
        if (
            stored != list(range(count))
            or not count
            or short
            or (count != expected and not stopped)
        ):
            what = "The frames of the ND2 file are not those of its experiment"
            wanted = f"{expected} frames of {needed} bytes, {recorded} recorded"
            sizes = sorted({size for _, size in self._frames.values()})
            found = f"{count} frames of {sizes[:3]} bytes"
            raise InputError(what, where=self.path, expected=wanted, found=found, remedy=_DAMAGED)
        return expected - count

    def places(self, position: int, warn: list[str]) -> list[list[tuple[int, int] | None]]:
        """Return where the frames (T, Z) of a position lie; None for those not recorded."""
        if self._missing:
            warn.append(
                f"The acquisition of {self.path.name} was stopped: {self._missing} frames were not "
                "recorded, and are read as 0"
            )
        return [
            [self._frames.get(self._number(t, position, z)) for z in range(self.sizes["Z"])]
            for t in range(self.sizes["T"])
        ]

    def _number(self, t: int, position: int, z: int) -> int:
        index = {"T": t, "P": position, "Z": z}
        number = 0
        for kind, count in self._loops:
            number = number * count + index[_LOOPS[kind]]
        return number

    def metadata(self, position: int, warn: list[str]) -> ImageMetadata:
        """Describe a position."""
        sizes = self.sizes
        layout = self.layout
        shape5 = (sizes["T"], len(layout.order), sizes["Z"], layout.height, layout.width)
        firsts: Sequence[int] = [self._number(t, position, 0) for t in range(sizes["T"])]
        with self._reading():
            fields = describe(self._file, self._raw, self.chunks, (position, firsts), warn)
        name = self._titles[position] or self.path.name
        return ImageMetadata(
            name=name, dtype=layout.dtype.name, rgb=self.is_rgb, **kept_axes(shape5), **fields
        )

    def texts(self) -> dict[str, bytes]:
        """Return the metadata of the file as they are."""
        with self._reading():
            return {"nd2.json": original_metadata(self._file)}


open_source = Nd2Source
