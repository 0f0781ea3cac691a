"""How an OME-TIFF is written."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from parfocal.models.base import Parameters

__all__ = ["TiffOptions"]


class TiffOptions(Parameters):
    """Compression and the size of the tiles of an OME-TIFF.

    The defaults are explained in docs/explanation/ome-tiff.md.
    """

    codec: Literal["deflate", "zstd", "none"] = Field(
        default="deflate", description="Compression of tiles, all lossless."
    )
    level: int = Field(default=1, ge=0, le=9, description="Effort of compression.")
    tile_px: int = Field(
        default=512,
        ge=16,
        le=8192,
        multiple_of=16,
        description="Height and width of a tile in pixels; TIFF allows multiples of 16 only.",
    )
