"""Cut blocks of pixels into the tiles of a TIFF, and encode these."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.images.writers.tiff_plan import TileGrid
from parfocal.models.tiff_options import TiffOptions

__all__ = ["COMPRESSION", "TileEncoder"]

COMPRESSION = {"none": 1, "deflate": 8, "zstd": 50000}
"""Numbers of the codecs in the tag Compression."""


@dataclass(frozen=True)
class TileEncoder:
    """Encodes tiles.

    Parameters
    ----------
    options : TiffOptions
        The codec and its effort.
    dtype : numpy.dtype
        Type of the pixels.
    """

    options: TiffOptions
    dtype: np.dtype[Any]

    @property
    def predictor(self) -> int:
        """The tag Predictor: 2 where each pixel is stored as its difference from the one left.

        This is so for compressed integers: the tiles of a noisy stack are 9 % smaller, at the
        same speed.
        """
        return 2 if self.dtype.kind in "iu" and self.options.codec != "none" else 1

    def tiles(
        self, block: NDArray[Any], grid: TileGrid, corner: tuple[int, int]
    ) -> Iterator[tuple[int, bytes]]:
        """Yield the number and the bytes of each tile of a part of a page.

        Parameters
        ----------
        block : (C, Y, X) array
            Pixels whose C become samples.
        grid : TileGrid
            The level that it is a part of.
        corner : tuple of int
            Its place (Y, X) in the page, at the corner of a tile.
        """
        height, width = grid.tile
        for y in range(0, block.shape[1], height):
            for x in range(0, block.shape[2], width):
                part = block[:, y : y + height, x : x + width]
                number = (corner[0] + y) // height * grid.across + (corner[1] + x) // width
                yield number, self._encode(_tile(part, grid.tile))

    def _encode(self, tile: NDArray[Any]) -> bytes:
        import imagecodecs

        pixels: Any = tile
        if self.predictor == 2:
            pixels = imagecodecs.delta_encode(tile, axis=1)
        if self.options.codec == "deflate":
            return bytes(imagecodecs.deflate_encode(pixels, self.options.level))
        if self.options.codec == "zstd":
            return bytes(imagecodecs.zstd_encode(pixels, self.options.level))
        return tile.tobytes()


def _tile(part: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Return pixels (C, Y, X) as a tile (Y, X) or (Y, X, C), with zeros beyond the edges."""
    samples, height, width = part.shape
    if samples == 1 and (height, width) == size:
        return np.ascontiguousarray(part[0])
    tile = np.zeros((*size, samples), part.dtype)
    for sample, pixels in enumerate(part):  # much faster than to transpose all at once
        tile[:height, :width, sample] = pixels
    return tile if samples > 1 else tile[..., 0]
