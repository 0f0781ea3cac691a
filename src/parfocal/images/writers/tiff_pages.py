"""The directories of the pages of an OME-TIFF."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from parfocal.images.writers.tiff_file import Directory, Value
from parfocal.images.writers.tiff_plan import TileGrid
from parfocal.images.writers.tiff_tiles import COMPRESSION, TileEncoder
from parfocal.models.image import ImageMetadata

__all__ = ["LevelTable", "page_directories"]

_SAMPLE_FORMAT = {"u": 1, "i": 2, "f": 3}
_BLACK_IS_ZERO, _RGB = 1, 2
_NO_UNIT, _CENTIMETRE = 1, 3


class LevelTable:
    """Where the tiles of one level lie in the file.

    Parameters
    ----------
    grid : TileGrid
        The level.
    samples : int
        How many channels a page holds as samples: 3 or 1.
    """

    def __init__(self, grid: TileGrid, samples: int) -> None:
        self.grid = grid
        self.samples = samples
        t, c, z, _, _ = grid.shape
        self._planes = (t, c // samples, z)
        self.offsets = np.zeros((math.prod(self._planes), grid.count), np.uint64)
        self.sizes = np.zeros_like(self.offsets)

    def page(self, t: int, c: int, z: int) -> int:
        """Return the number of the page of a plane: Z fastest, then C, then T."""
        return int(np.ravel_multi_index((t, c // self.samples, z), self._planes))

    def note(self, page: int, tile: int, offset: int, size: int) -> None:
        """Take note of where a tile lies."""
        self.offsets[page, tile] = offset
        self.sizes[page, tile] = size

    def most_bytes(self, itemsize: int) -> int:
        """Return a number of bytes that the level does not exceed, however badly it shrinks."""
        stored = self.grid.padded * itemsize
        return stored + stored // 64 + self.offsets.size * 128 + len(self.offsets) * 1024


def page_directories(
    metadata: ImageMetadata, tables: Sequence[LevelTable], encoder: TileEncoder
) -> Iterator[Directory]:
    """Yield a directory for each page, with those of its reduced images below it.

    Parameters
    ----------
    metadata : ImageMetadata
        Its sizes of pixels go into the tags of resolution.
    tables : sequence of LevelTable
        The full resolution first.
    encoder : TileEncoder
        How the tiles were encoded.
    """
    common = [_tags(metadata, level, table, encoder) for level, table in enumerate(tables)]
    for page in range(len(tables[0].offsets)):
        levels = [
            Directory(tags | _places(table, page))
            for tags, table in zip(common, tables, strict=True)
        ]
        yield Directory(levels[0].tags, levels[1:])


def _tags(
    metadata: ImageMetadata, level: int, table: LevelTable, encoder: TileEncoder
) -> dict[int, tuple[str, Value]]:
    """Return the tags that all pages of a level have."""
    samples = table.samples
    tags: dict[int, tuple[str, Value]] = {
        254: ("I", 1 if level else 0),  # a reduced image
        256: ("I", table.grid.shape[4]),
        257: ("I", table.grid.shape[3]),
        258: ("H", [encoder.dtype.itemsize * 8] * samples),
        259: ("H", COMPRESSION[encoder.options.codec]),
        262: ("H", _RGB if samples == 3 else _BLACK_IS_ZERO),
        277: ("H", samples),
        284: ("H", 1),  # samples side by side
        305: ("s", b"Parfocal"),
        317: ("H", encoder.predictor),
        322: ("I", table.grid.tile[1]),
        323: ("I", table.grid.tile[0]),
        339: ("H", [_SAMPLE_FORMAT[encoder.dtype.kind]] * samples),
    }
    return tags | _resolution(metadata, level)


def _resolution(metadata: ImageMetadata, level: int) -> dict[int, tuple[str, Value]]:
    """Return pixels per centimetre, or none where sizes are not known or out of range."""
    ratios = [
        Fraction(10_000 / (size * 2**level)).limit_denominator(2**20) if size else Fraction(0)
        for size in (metadata.x_um, metadata.y_um)
    ]
    unit = _CENTIMETRE
    if not all(0 < ratio.numerator < 2**32 for ratio in ratios):
        ratios, unit = [Fraction(1), Fraction(1)], _NO_UNIT
    return {282: ("R", ratios[0]), 283: ("R", ratios[1]), 296: ("H", unit)}


def _places(table: LevelTable, page: int) -> dict[int, tuple[str, Value]]:
    return {324: ("Q", table.offsets[page]), 325: ("Q", table.sizes[page])}
