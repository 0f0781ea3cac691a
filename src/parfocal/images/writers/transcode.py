"""Take compressed chunks of an OME-Zarr 0.4 over into shards as they are."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.core.blocks import Readable, Region, Shape
from parfocal.images.image import Image
from parfocal.images.stores import ZarrLevel
from parfocal.images.writers.layout import LevelLayout
from parfocal.models.image import AXES
from parfocal.models.zarr_options import ZarrOptions

__all__ = ["StoredChunks", "find_stored"]

_NARROWEST_PX, _WIDEST_PX = 16, 2048
_SHUFFLES = (1, -1)  # byte shuffle; chosen by Blosc


class StoredChunks:
    """The chunks of an OME-Zarr 0.4 in the form in which they are stored.

    Parameters
    ----------
    levels : list of (ZarrLevel, dict)
        Each level and its ``.zarray``.
    """

    def __init__(self, levels: list[tuple[ZarrLevel, dict[str, Any]]]) -> None:
        self._levels = levels

    def reuse(
        self, number: int, layout: LevelLayout, place: Shape, part: Region, pixels: NDArray[Any]
    ) -> bytes | None:
        """Return the stored bytes of a chunk, None if they are not those of `pixels`.

        Parameters
        ----------
        number : int
            The level.
        layout : LevelLayout
            As it is written.
        place, part : tuple
            Place of the chunk in the grid, and its region.
        pixels : (T, C, Z, Y, X) array
            What the chunk has to hold.
        """
        if number >= len(self._levels):
            return None
        level, document = self._levels[number]
        if level.shape5 != layout.shape or _chunk5(level, document) != layout.chunk:
            return None
        # The full resolution was read from these chunks; other levels may follow another rule.
        if number and level.read(part).tobytes() != pixels.tobytes():
            return None
        kept = [str(place[AXES.index(axis)]) for axis in level.axes]
        file = level.path / document.get("dimension_separator", ".").join(kept)
        return file.read_bytes() if file.is_file() else None


def find_stored(source: Readable, options: ZarrOptions) -> tuple[ZarrOptions, StoredChunks] | None:
    """Tell whether chunks can be taken over, and with which options.

    They can where the target is 0.5 with shards and the default codec, level and chunks; and the
    source is an OME-Zarr of Zarr 2 in C order, little-endian, without filters, whose chunks are
    square pieces of one plane of at most 2048 pixels, or narrower where the image is,
    compressed by Blosc (zstd or lz4, byte shuffle), zstd, gzip or not at all.

    Parameters
    ----------
    source : Readable
        An image.
    options : ZarrOptions
        As they were asked for.

    Returns
    -------
    (ZarrOptions, StoredChunks) or None
        Options with the codec and the chunks of the source.
    """
    default = ZarrOptions()
    asked = options.model_dump(include={"codec", "level", "chunk_px", "ngff"})
    wanted = all(asked[name] == getattr(default, name) for name in asked) and options.shard_mib
    if not wanted or not isinstance(source, Image):
        return None
    levels = []
    for level in source.pyramid:
        if not isinstance(level, ZarrLevel) or not (level.path / ".zarray").is_file():
            return None
        document = json.loads((level.path / ".zarray").read_text(encoding="utf-8"))
        levels.append((level, document))
    found = _options(*levels[0])
    if found is None:
        return None
    first = levels[0][1]
    same = itertools.takewhile(lambda one: _is_plain(one[1]) and _alike(one[1], first), levels)
    return options.model_copy(update=found), StoredChunks(list(same))


def _alike(document: dict[str, Any], first: dict[str, Any]) -> bool:
    return all(document.get(name) == first.get(name) for name in ("compressor", "dtype"))


def _options(level: ZarrLevel, document: dict[str, Any]) -> dict[str, Any] | None:
    """Return codec, level and chunk_px of a level, None where they cannot be kept."""
    _, _, _, height, width = chunk = _chunk5(level, document)
    codec = _codec(document.get("compressor"))
    side = max(height, width)
    planned = (1, 1, 1, *(min(side, size) for size in level.shape5[3:]))
    fits = chunk == planned and _NARROWEST_PX <= side <= _WIDEST_PX
    if codec is None or not fits or not _is_plain(document):
        return None
    return {"codec": codec[0], "level": codec[1], "chunk_px": side}


def _is_plain(document: dict[str, Any]) -> bool:
    dtype = np.dtype(document["dtype"])
    little = dtype.byteorder != ">" and dtype != np.bool_
    return little and document["order"] == "C" and not document.get("filters")


def _codec(compressor: dict[str, Any] | None) -> tuple[str, int] | None:
    if compressor is None:
        return "none", ZarrOptions().level
    name = compressor.get("id")
    level = int(compressor.get("level", compressor.get("clevel", -1)))
    if not 0 <= level <= 9:
        return None
    if name in ("zstd", "gzip"):
        return name, level
    inner = {"zstd": "blosc-zstd", "lz4": "lz4"}.get(str(compressor.get("cname")))
    if name == "blosc" and inner and compressor.get("shuffle") in _SHUFFLES:
        return inner, level
    return None


def _chunk5(level: ZarrLevel, document: dict[str, Any]) -> Shape:
    sizes = dict(zip(level.axes, document["chunks"], strict=True))
    t, c, z, y, x = (int(sizes.get(axis, 1)) for axis in AXES)
    return t, c, z, y, x
